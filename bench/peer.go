package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// peerScript runs a script of bench/peers, which prints one line of JSON last,
// and decodes that line into v.
func (s *setup) peerScript(ctx context.Context, v any, script string, args ...string) error {
	cmd := exec.CommandContext(ctx, s.python, append([]string{filepath.Join("bench", "peers", script)}, args...)...)
	threads := strconv.Itoa(s.threads)
	cmd.Env = append(os.Environ(), "OMP_NUM_THREADS="+threads, "MKL_NUM_THREADS="+threads, "OPENBLAS_NUM_THREADS="+threads, "TOKENIZERS_PARALLELISM=false")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w\n%s", script, err, errs.String())
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), v); err != nil {
		return fmt.Errorf("%s: its last line is no JSON: %w", script, err)
	}
	return nil
}
