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
	"github.com/gr2/gr2/internal/nn"
)

// Names of the files of a training that last; the others are weights.
const (
	stateName = "state.json"
	LogName   = "metrics.jsonl"
)

// Saved is what every training's state names: together with its own counters
// and the files named here it is all that is needed to go on to the same bits.
// It is written after the files, so it never names a missing one.
type Saved struct {
	AdamStep int    `json:"adam_step"`
	LogBytes int64  `json:"log_bytes"`
	Weights  string `json:"weights"` // parameters, and moments until finished
	Best     string `json:"best,omitempty"`
	Finished bool   `json:"finished"`
}

// Store keeps a training under way in a folder. State is a pointer to the
// training's state, which is written as JSON; Saved points into it.
type Store struct {
	Dir   string
	Model *lm.Model
	Adam  *nn.AdamW
	// Params are those of the optimiser, in the order of the model's tensors.
	Params []*nn.Param
	More   []*lm.Tensor // what else a checkpoint has to hold
	State  any
	Saved  *Saved
	// Log is metrics.jsonl, open from Resume on.
	Log *durable.Log
}

// Resume loads the last checkpoint, if any, into state, model and optimiser, and
// opens the log where that checkpoint left it.
func (s *Store) Resume() error {
	path := filepath.Join(s.Dir, stateName)
	b, err := os.ReadFile(path)
	if err == nil {
		err = s.restore(b, path)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	s.Log, err = durable.OpenLog(filepath.Join(s.Dir, LogName), s.Saved.LogBytes)
	return err
}

func (s *Store) restore(state []byte, path string) error {
	if err := json.Unmarshal(state, s.State); err != nil {
		return fault.Corruptf("%s: %w; remove the folder to train anew", path, err)
	}
	into := s.Model.Tensors()
	if !s.Saved.Finished {
		into = s.tensors()
	}
	if err := s.load(s.Saved.Weights, into); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return fault.Corruptf("%s names %s, which is missing; remove the folder to train anew", path, s.Saved.Weights)
		}
		return err
	}
	s.Adam.SetSteps(s.Saved.AdamStep)
	return nil
}

// tensors are the parameters, both moments and More: what a checkpoint holds.
func (s *Store) tensors() []*lm.Tensor {
	all := append([]*lm.Tensor{}, s.Model.Tensors()...)
	m, v := s.Adam.Moments()
	for i, p := range s.Params {
		shape := []int{p.Rows, p.Cols}
		all = append(all,
			&lm.Tensor{Name: "first_moment." + p.Name, Shape: shape, Data: m[i]},
			&lm.Tensor{Name: "second_moment." + p.Name, Shape: shape, Data: v[i]})
	}
	return append(all, s.More...)
}

// Checkpoint writes the weights after so many steps and then the state that
// names them.
func (s *Store) Checkpoint(steps int) error {
	s.Saved.AdamStep = s.Adam.Steps()
	s.Saved.Weights = fmt.Sprintf("step-%08d.safetensors", steps)
	return s.write(s.tensors())
}

// KeepBest stores a copy of the parameters. The state that names it follows with
// the next checkpoint; until then a resumed run makes the same copy again.
func (s *Store) KeepBest(steps int) error {
	s.Saved.Best = fmt.Sprintf("best-%08d.safetensors", steps)
	return s.save(s.Saved.Best, s.Model.Tensors())
}

// Finish leaves the best weights, or the last where none were kept, in the model
// and in the folder.
func (s *Store) Finish() error {
	if s.Saved.Best != "" {
		if err := s.load(s.Saved.Best, s.Model.Tensors()); err != nil {
			return err
		}
	}
	s.Saved.Finished, s.Saved.Weights, s.Saved.Best = true, "final.safetensors", ""
	return s.write(s.Model.Tensors())
}

func (s *Store) write(tensors []*lm.Tensor) error {
	if err := s.Log.Sync(); err != nil {
		return err
	}
	s.Saved.LogBytes = s.Log.Size()
	if err := s.save(s.Saved.Weights, tensors); err != nil {
		return err
	}
	if err := durable.WriteJSON(filepath.Join(s.Dir, stateName), s.State); err != nil {
		return err
	}
	return s.prune()
}

func (s *Store) save(name string, tensors []*lm.Tensor) error {
	return durable.Write(filepath.Join(s.Dir, name), func(w io.Writer) error {
		return lm.WriteSafetensors(w, tensors, nil)
	})
}

// prune removes weights that the state no longer names.
func (s *Store) prune() error {
	entries, err := os.ReadDir(s.Dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := e.Name()
		if !strings.HasSuffix(name, ".safetensors") || name == s.Saved.Weights || name == s.Saved.Best {
			continue
		}
		if err := os.Remove(filepath.Join(s.Dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// load reads a file of tensors into place; names and sizes must agree.
func (s *Store) load(name string, into []*lm.Tensor) error {
	path := filepath.Join(s.Dir, name)
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
