package compare

import (
	"bufio"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
)

// Peer is a Python script that measures the same cases. It is told them on its
// standard input and answers on its standard output, a line of JSON each:
//
//	(start)                      {"version": "..."}
//	{"case": {...}}              {}
//	{"repeat": 3}                {"seconds": 0.25}
//
// It ends when its input does.
type Peer struct {
	Name   string
	Source embed.FS // holds the script
	Script string
	Args   []string
}

// process is a peer at work.
type process struct {
	name    string
	version string
	cmd     *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Scanner
}

// start runs the script and waits for its greeting.
func (p Peer) start(ctx context.Context, o Options, files string) (*process, error) {
	source, err := p.Source.ReadFile(p.Script)
	if err != nil {
		return nil, err
	}
	threads := strconv.Itoa(o.Threads)
	cmd := exec.CommandContext(ctx, o.Python, append([]string{"-c", string(source)}, p.Args...)...)
	cmd.Env = append(os.Environ(), "OMP_NUM_THREADS="+threads, "MKL_NUM_THREADS="+threads,
		"OPENBLAS_NUM_THREADS="+threads, "BENCH_FILES="+files)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	proc := &process{name: p.Name, cmd: cmd, in: in, out: bufio.NewScanner(out)}
	var greeting struct{ Version string }
	if err := proc.read(&greeting); err != nil {
		proc.stop()
		return nil, err
	}
	proc.version = greeting.Version
	return proc, nil
}

func (p *process) prepare(request any) error {
	return p.ask(map[string]any{"case": request}, &struct{}{})
}

func (p *process) sample(n int) (float64, error) {
	var answer struct{ Seconds float64 }
	err := p.ask(map[string]any{"repeat": n}, &answer)
	if err == nil && answer.Seconds <= 0 {
		err = fmt.Errorf("%s took %g seconds", p.name, answer.Seconds)
	}
	return answer.Seconds, err
}

func (p *process) ask(question, answer any) error {
	if err := json.NewEncoder(p.in).Encode(question); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	return p.read(answer)
}

func (p *process) read(answer any) error {
	if !p.out.Scan() {
		return errors.Join(fmt.Errorf("%s ended early", p.name), p.out.Err())
	}
	if err := json.Unmarshal(p.out.Bytes(), answer); err != nil {
		return fmt.Errorf("%s answered %q: %w", p.name, p.out.Text(), err)
	}
	return nil
}

// stop ends the peer; how it ends does not matter any more.
func (p *process) stop() {
	_ = p.in.Close()
	_ = p.cmd.Wait()
}
