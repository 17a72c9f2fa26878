package cli_test

import (
	"errors"
	"os/exec"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// exits CODE COMMAND... runs a command and demands its exit code, and for a
// failure exactly one line on stderr and nothing on stdout.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var failed *exec.ExitError
		if !errors.As(err, &failed) {
			ts.Fatalf("%v", err)
		}
		got = failed.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
	if want == 0 {
		return
	}
	message := ts.ReadFile("stderr")
	if strings.Count(message, "\n") != 1 || !strings.HasPrefix(message, "gr2: ") {
		ts.Fatalf("stderr must be one line of gr2, is %q", message)
	}
	if out := ts.ReadFile("stdout"); out != "" {
		ts.Fatalf("stdout must be empty, is %q", out)
	}
}
