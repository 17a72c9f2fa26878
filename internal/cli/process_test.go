//go:build unix

package cli_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// process is gr2 with these arguments, in a process of its own.
func process(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	return exec.CommandContext(t.Context(), "gr2", args...) // TestMain puts it into PATH
}

// gr2 runs a command that must end well and returns its standard output.
func gr2(t *testing.T, args ...string) []byte {
	t.Helper()
	var out, messages bytes.Buffer
	cmd := process(t, args...)
	cmd.Stdout, cmd.Stderr = &out, &messages
	if err := cmd.Run(); err != nil {
		t.Fatalf("gr2 %s: %v\n%s", strings.Join(args, " "), err, messages.String())
	}
	return out.Bytes()
}

// fails runs a command that must end with this code and one line on stderr.
func fails(t *testing.T, cmd *exec.Cmd, code int) string {
	t.Helper()
	var messages bytes.Buffer
	cmd.Stderr = &messages
	err := cmd.Run()
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != code {
		t.Fatalf("%v: %v, want exit code %d; %s", cmd.Args, err, code, messages.String())
	}
	line := messages.String()
	if strings.Count(line, "\n") != 1 || !strings.HasPrefix(line, "gr2: ") {
		t.Fatalf("%v: stderr must be one line of gr2, is %q", cmd.Args, line)
	}
	return line
}

// synthetic makes the small synthetic market.
func synthetic(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "market")
	gr2(t, "data", "synth", "--items", "80", "--users", "120", "--out", dir)
	return dir
}

// logs makes the small market without impressions.
func logs(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	items, events := smallLog()
	for name, data := range map[string][]byte{"items": items, "events": events} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(dir, "market")
	gr2(t, "data", "import", "jsonl", "--items", filepath.Join(dir, "items"), "--events", filepath.Join(dir, "events"), "--out", out)
	return out
}

// runArgs is a whole run with the tiny configuration.
func runArgs(data, out string, more ...string) []string {
	return append([]string{"-q", "run", "--data", data, "--out", out, "-c", filepath.Join("testdata", "tiny.yaml")}, more...)
}

// leftovers lists temporary files below dir.
func leftovers(t *testing.T, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if strings.Contains(path, "gr2tmp") {
			names = append(names, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestSeedDecidesTheTableAndThreadsDoNot(t *testing.T) {
	for name, c := range map[string]struct {
		data string
		set  []string
	}{
		"logged":        {synthetic(t), nil},
		"leave-one-out": {logs(t), []string{"--set", "slates.orders=[blend]", "--set", "slates.folds=2", "--set", "slates.epochs=2"}},
	} {
		dir := t.TempDir()
		run := func(out string, more ...string) string {
			out = filepath.Join(dir, out)
			gr2(t, runArgs(c.data, out, append(more, c.set...)...)...)
			return out
		}
		first, again, single, other := run("first"), run("again"), run("single", "--threads", "1"), run("other", "--seed", "2")
		want := tableOf(t, first)
		if tableOf(t, again) != want {
			t.Errorf("%s: two runs of one seed have different tables", name)
		}
		if tableOf(t, single) != want {
			t.Errorf("%s: the table depends on the number of threads", name)
		}
		if tableOf(t, other) == want {
			t.Errorf("%s: another seed has the same table", name)
		}
		const weights = "sft/model/model.safetensors"
		for _, out := range []string{again, single} {
			if !bytes.Equal(content(t, first, weights), content(t, out, weights)) {
				t.Errorf("%s: the weights of %s differ", name, filepath.Base(out))
			}
		}
	}
}

func content(t *testing.T, dir, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestKilledRunsEndWithTheTableOfAnUnbrokenOne(t *testing.T) {
	for name, c := range map[string]struct {
		data string
		set  []string
	}{
		"logged":        {synthetic(t), []string{"--set", "sft.epochs=3", "--set", "sft.checkpoint=1", "--set", "sft.validations=6"}},
		"leave-one-out": {logs(t), []string{"--set", "slates.orders=[blend]", "--set", "slates.folds=2", "--set", "slates.epochs=2"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			whole := filepath.Join(dir, "whole")
			began := time.Now()
			gr2(t, runArgs(c.data, whole, c.set...)...)
			k := killer{data: c.data, set: c.set, took: time.Since(began), want: tableOf(t, whole)}
			k.killTenTimes(t, dir)
		})
	}
}

// killer kills runs of one market and lets them go on.
type killer struct {
	data string
	set  []string
	took time.Duration // of an unbroken run
	want string        // its table
}

// killTenTimes spends ten kills on as many runs as that takes: a run goes on
// after each kill until it ends, then a fresh one begins.
func (k *killer) killTenTimes(t *testing.T, dir string) {
	const seed, kills = 20260101, 10
	draw := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d, an unbroken run takes %s", seed, k.took)
	killed, runs := 0, 0
	for killed < kills {
		out := filepath.Join(dir, fmt.Sprintf("run%d", runs))
		runs++
		for killed < kills {
			delay := time.Duration(draw.Float64() * 0.6 * float64(k.took))
			if !killAfter(t, process(t, runArgs(k.data, out, k.set...)...), delay) {
				break
			}
			killed++
			t.Logf("killed %s after %s", filepath.Base(out), delay.Round(time.Millisecond))
		}
		gr2(t, runArgs(k.data, out, k.set...)...)
		if got := tableOf(t, out); got != k.want {
			t.Errorf("after %d kills %s ends with another table:\n%s\nwant\n%s", killed, filepath.Base(out), got, k.want)
		}
		if names := leftovers(t, out); names != nil {
			t.Errorf("temporary files are left: %v", names)
		}
	}
}

// killAfter starts cmd and sends SIGKILL; it reports whether that came before
// the end of the process, which must be a good one.
func killAfter(t *testing.T, cmd *exec.Cmd, delay time.Duration) bool {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(delay, func() { cmd.Process.Kill() })
	defer timer.Stop()
	err := cmd.Wait()
	status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if err != nil && !(status.Signaled() && status.Signal() == syscall.SIGKILL) {
		t.Fatalf("a resumed run failed: %v", err)
	}
	return err != nil
}

func TestInterruptedRunGoesOn(t *testing.T) {
	data, dir := synthetic(t), t.TempDir()
	whole, broken := filepath.Join(dir, "whole"), filepath.Join(dir, "broken")
	more := []string{"--set", "sft.epochs=4"}
	gr2(t, runArgs(data, whole, more...)...)

	cmd := process(t, append(runArgs(data, broken, more...), "--quiet=false")...)
	lines := started(t, cmd)
	waitFor(t, lines, "SFT on")
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	waitFor(t, lines, "interrupted; the same command goes on from here")
	cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 1 {
		t.Errorf("an interrupted run ends with %d", code)
	}
	gr2(t, runArgs(data, broken, more...)...)
	if tableOf(t, broken) != tableOf(t, whole) {
		t.Error("an interrupted run ends with another table")
	}
}

// started starts cmd and returns its stderr.
func started(t *testing.T, cmd *exec.Cmd) *bufio.Scanner {
	t.Helper()
	pipe, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	return bufio.NewScanner(pipe)
}

func waitFor(t *testing.T, lines *bufio.Scanner, text string) {
	t.Helper()
	for lines.Scan() {
		if strings.Contains(lines.Text(), text) {
			return
		}
	}
	t.Fatalf("no line with %q came", text)
}

func TestRunFolderInUseIsRefused(t *testing.T) {
	data, out := synthetic(t), filepath.Join(t.TempDir(), "run")
	cmd := process(t, append(runArgs(data, out), "--quiet=false")...)
	waitFor(t, started(t, cmd), "catalog")
	// Stopped, not ended: it still holds the folder.
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	before := content(t, out, "config.yaml")
	line := fails(t, process(t, runArgs(data, out, "--set", "sft.lr=0.01")...), 2)
	if !strings.Contains(line, out) || !strings.Contains(line, "in use") {
		t.Errorf("message %q", line)
	}
	if !bytes.Equal(before, content(t, out, "config.yaml")) {
		t.Error("the refused run has replaced the configuration of the other")
	}
	cmd.Process.Kill()
	cmd.Wait()
	gr2(t, runArgs(data, out)...)
}

func TestRunKilledBeforeItsConfigurationGoesOn(t *testing.T) {
	data, out := synthetic(t), t.TempDir()
	for _, name := range []string{".lock", "config.yaml.gr2tmp-123"} {
		if err := os.WriteFile(filepath.Join(out, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	gr2(t, runArgs(data, out)...)
	if names := leftovers(t, out); names != nil {
		t.Errorf("temporary files are left: %v", names)
	}
}

func TestResultsThatDoNotFitEndWithAnError(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("no /dev/full here")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	data, out := synthetic(t), filepath.Join(t.TempDir(), "run")
	gr2(t, runArgs(data, out)...)
	for _, args := range [][]string{{"eval", "--run", out}, {"sid", "stats", "--run", out}, {"data", "stats", data}, {"report", "--run", out}} {
		cmd := process(t, args...)
		cmd.Stdout = full
		if line := fails(t, cmd, 1); !strings.Contains(line, "no space left") {
			t.Errorf("%v: %q", args, line)
		}
	}
}
