package train

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/gr2/gr2/internal/durable"
	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/lm"
)

const stateName = "state.json"

// state is all that a run needs to go on to the same bits, together with the
// files it names. It is written after them, so it never names a missing one.
type state struct {
	Result
	Next        int    `json:"next"` // examples handed out
	AdamStep    int    `json:"adam_step"`
	Validations int    `json:"validations"`
	Stale       int    `json:"stale"` // validations since the best one
	LogBytes    int64  `json:"log_bytes"`
	Weights     string `json:"weights"` // parameters, and moments until finished
	Best        string `json:"best,omitempty"`
	Finished    bool   `json:"finished"`
}

// resume loads the last checkpoint, if any, into model and optimiser.
func (l *loop) resume() error {
	b, err := os.ReadFile(filepath.Join(l.Dir, stateName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, &l.state); err != nil {
		return fault.Corruptf("%s: %w; remove the folder to train anew", filepath.Join(l.Dir, stateName), err)
	}
	into := l.Model.Tensors()
	if !l.state.Finished {
		into = l.tensors()
	}
	if err := l.load(l.state.Weights, into); err != nil {
		return err
	}
	l.feed.next = l.state.Next
	l.adam.SetSteps(l.state.AdamStep)
	return nil
}

// tensors are the parameters and both moments: what a checkpoint holds.
func (l *loop) tensors() []*lm.Tensor {
	all := append([]*lm.Tensor{}, l.Model.Tensors()...)
	m, v := l.adam.Moments()
	for i, p := range l.decoder.Params() {
		shape := []int{p.Rows, p.Cols}
		all = append(all,
			&lm.Tensor{Name: "first_moment." + p.Name, Shape: shape, Data: m[i]},
			&lm.Tensor{Name: "second_moment." + p.Name, Shape: shape, Data: v[i]})
	}
	return all
}

// checkpoint writes the weights and then the state that names them.
func (l *loop) checkpoint() error {
	if err := l.log.Sync(); err != nil {
		return err
	}
	l.state.Next, l.state.LogBytes, l.state.AdamStep = l.feed.next, l.log.Size(), l.adam.Steps()
	l.state.Weights = fmt.Sprintf("step-%08d.safetensors", l.state.Steps)
	return l.write(l.tensors())
}

// keepBest stores a copy of the parameters. The state that names it follows
// with the next checkpoint; until then a resumed run makes the same copy again.
func (l *loop) keepBest() error {
	l.state.Best = fmt.Sprintf("best-%08d.safetensors", l.state.BestStep)
	return l.save(l.state.Best, l.Model.Tensors())
}

// finish leaves the chosen weights in the model and in the folder.
func (l *loop) finish() error {
	if l.state.Best != "" {
		if err := l.load(l.state.Best, l.Model.Tensors()); err != nil {
			return err
		}
	}
	if err := l.log.Sync(); err != nil {
		return err
	}
	l.state.Next, l.state.LogBytes, l.state.Finished = l.feed.next, l.log.Size(), true
	l.state.Weights, l.state.Best = "final.safetensors", ""
	return l.write(l.Model.Tensors())
}

func (l *loop) write(tensors []*lm.Tensor) error {
	if err := l.save(l.state.Weights, tensors); err != nil {
		return err
	}
	if err := durable.WriteJSON(filepath.Join(l.Dir, stateName), &l.state); err != nil {
		return err
	}
	return l.prune()
}

func (l *loop) save(name string, tensors []*lm.Tensor) error {
	return durable.Write(filepath.Join(l.Dir, name), func(w io.Writer) error {
		return lm.WriteSafetensors(w, tensors, nil)
	})
}

// prune removes weights that the state no longer names.
func (l *loop) prune() error {
	entries, err := os.ReadDir(l.Dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := e.Name()
		if !strings.HasSuffix(name, ".safetensors") || name == l.state.Weights || name == l.state.Best {
			continue
		}
		if err := os.Remove(filepath.Join(l.Dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// load reads a file of tensors into place; names and sizes must agree.
func (l *loop) load(name string, into []*lm.Tensor) error {
	path := filepath.Join(l.Dir, name)
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	read, err := lm.ReadSafetensors(f, info.Size())
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	byName := make(map[string]*lm.Tensor, len(read))
	for _, t := range read {
		byName[t.Name] = t
	}
	for _, t := range into {
		from := byName[t.Name]
		if from == nil || len(from.Data) != len(t.Data) {
			return fault.Corruptf("%s: tensor %s is missing or has another size; remove the folder to train anew", path, t.Name)
		}
		copy(t.Data, from.Data)
	}
	return nil
}
