//go:build unix

package cli_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// learning is a run in which reinforcement learning takes most of the time and
// rollouts most of that.
func learning(data, out string, more ...string) []string {
	set := []string{
		"eval.decode=generate", "rl.steps=20", "rl.prompts=10", "rl.group=16", "rl.attempts=2", "rl.decode=free", "rl.margin=40",
		"rl.updates=1", "rl.checkpoint=3", "rl.validate=5", "rl.lr=0.003",
	}
	args := runArgs(data, out)
	for _, s := range set {
		args = append(args, "--set", s)
	}
	return append(args, more...)
}

// TestKilledRolloutsGoOn: a run that dies amid its rollouts ends with the table,
// curves and weights of one that does not.
func TestKilledRolloutsGoOn(t *testing.T) {
	data, dir := synthetic(t), t.TempDir()
	whole, broken := filepath.Join(dir, "whole"), filepath.Join(dir, "broken")
	gr2(t, learning(data, whole)...)
	took := mostlyRollouts(t, whole)

	const seed, kills = 20260102, 8
	draw := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d, the steps take %s", seed, took)
	for range kills {
		cmd := process(t, learning(data, broken, "--quiet=false")...)
		lines := started(t, cmd)
		waitFor(t, lines, "RL: dapo")
		time.Sleep(time.Duration(draw.Float64() * .3 * float64(took)))
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		cmd.Wait()
		if _, err := os.Stat(filepath.Join(broken, "rl", "stage.json")); err == nil {
			break // it was over before
		}
	}
	gr2(t, learning(data, broken)...)
	if got, want := tableOf(t, broken), tableOf(t, whole); got != want {
		t.Errorf("a run that was killed ends with another table:\n%s\nwant\n%s", got, want)
	}
	for _, name := range []string{"rl/state/metrics.jsonl", "rl/model/model.safetensors"} {
		if !bytes.Equal(content(t, broken, name), content(t, whole, name)) {
			t.Errorf("%s differs from that of an unbroken run", name)
		}
	}
	if names := leftovers(t, broken); names != nil {
		t.Errorf("temporary files are left: %v", names)
	}
}

// mostlyRollouts says how long the steps of a finished run took, of which rollouts
// must be the larger part: a kill at a random time then falls into one.
func mostlyRollouts(t *testing.T, run string) time.Duration {
	t.Helper()
	var rollouts, all float64
	for line := range bytes.Lines(content(t, run, "rl/state/speed.jsonl")) {
		var row struct {
			Rollout float64 `json:"rollout_seconds"`
			Update  float64 `json:"update_seconds"`
		}
		if err := json.Unmarshal(line, &row); err != nil {
			t.Fatal(err)
		}
		rollouts, all = rollouts+row.Rollout, all+row.Rollout+row.Update
	}
	if rollouts < all/2 {
		t.Errorf("%.2f of %.2f seconds are rollouts: too few kills would fall into one", rollouts, all)
	}
	return time.Duration(all * float64(time.Second))
}

// TestRLRun: the stage has its rows, its curves and its place among the policies.
func TestRLRun(t *testing.T) {
	data, out := synthetic(t), filepath.Join(t.TempDir(), "run")
	gr2(t, learning(data, out, "--set", "rl.steps=3", "--set", "rl.decode=grammar")...)
	table := tableOf(t, out)
	for _, policy := range []string{"sft", "rl"} {
		if !strings.Contains(table, fmt.Sprintf("%q", policy)) {
			t.Errorf("no row of %s in\n%s", policy, table)
		}
	}
	warned := "WARNING of rl: rl.validate is"
	var report struct{ Warnings []string }
	if err := json.Unmarshal(content(t, out, "report.json"), &report); err != nil || len(report.Warnings) == 0 || !strings.HasPrefix(report.Warnings[0], warned) {
		t.Errorf("report.json warns of %q (%v), want %q", report.Warnings, err, warned)
	}
	if first, _, _ := strings.Cut(string(gr2(t, "eval", "--run", out)), "\n"); !strings.HasPrefix(first, warned) {
		t.Errorf("the table of gr2 eval begins with %q, want %q", first, warned)
	}
	if first, _, _ := strings.Cut(string(gr2(t, "eval", "--run", out, "--probe")), "\n"); !strings.HasPrefix(first, warned) {
		t.Errorf("the probes begin with %q, want %q", first, warned)
	}
	var stage struct {
		Slates struct {
			Used       int
			NoPositive int `json:"no_positive"`
		}
	}
	if err := json.Unmarshal(content(t, out, "rl/training.json"), &stage); err != nil || stage.Slates.Used == 0 || stage.Slates.NoPositive == 0 {
		t.Errorf("training.json counts %+v (%v), want slates to learn from and requests without a positive", stage.Slates, err)
	}
	for _, line := range [][]string{{"run"}, {"train", "rl"}} {
		var said struct {
			Warnings  []string
			Artifacts map[string]string
		}
		again := gr2(t, append(line, "--data", data, "--out", out, "--json", "-q")...) // the stored configuration stands
		if err := json.Unmarshal(again, &said); err != nil || len(said.Warnings) == 0 || said.Artifacts["run"] != out {
			t.Errorf("gr2 %v --json prints %s (%v), want the run and what it warned of", line, again, err)
		}
	}
	if over := "lift over the stage before"; !strings.Contains(string(gr2(t, "eval", "--run", out)), over) {
		t.Errorf("the table of gr2 eval has no %s", over)
	}
	if over := "lift over the same policy in the other runs"; !strings.Contains(string(gr2(t, "eval", "--run", out, "--against", out)), over) {
		t.Errorf("the table of gr2 eval --against has no %s", over)
	}
	if over := "lift over control/linear-shown"; !strings.Contains(string(gr2(t, "eval", "--run", out, "--over", "control/linear-shown")), over) {
		t.Errorf("the table of gr2 eval --over has no %s", over)
	}
	if err := os.Remove(filepath.Join(out, "eval", "rankings.jsonl.gz")); err != nil {
		t.Fatal(err)
	}
	if line := fails(t, process(t, "eval", "--run", out, "--against", out), 2); !strings.Contains(line, "rankings.jsonl.gz") {
		t.Errorf("message %q", line)
	}
	page := string(content(t, out, "report.html"))
	for _, curve := range []string{
		"reward.total", "reward.rank", "reward.format", "valid", "ranking.copied", "policy.entropy", "policy.clip_high", "policy.kl", "length",
		"groups.flat", "rollout_tokens_per_second", "update_tokens_per_second",
	} {
		if !strings.Contains(page, "<figcaption>"+curve+": ") {
			t.Errorf("the report has no curve of %s", curve)
		}
	}
	probes := string(gr2(t, "eval", "--run", out, "--probe"))
	for _, want := range []string{"logged / position / shuffled", "logged / position / reversed", "logged / labels", "copy_rate", "moved_one_order", "credit", "policy  "} {
		if !strings.Contains(probes, want) {
			t.Errorf("--probe does not print %q:\n%s", want, probes)
		}
	}
	var training struct {
		Slates struct{ Used, Held int }
		Result struct{ Steps int }
	}
	if err := json.Unmarshal(content(t, out, "rl/training.json"), &training); err != nil || training.Slates.Used == 0 || training.Slates.Held == 0 || training.Result.Steps != 3 {
		t.Errorf("rl/training.json says %+v (%v)", training, err)
	}
	var card struct{ Stage string }
	if err := json.Unmarshal(content(t, out, "prompt.json"), &card); err != nil || card.Stage != "rl" {
		t.Errorf("the run serves %q (%v), want rl", card.Stage, err)
	}
	none := filepath.Join(t.TempDir(), "none")
	if line := fails(t, process(t, "-q", "train", "rl", "--data", data, "--out", none), 2); !strings.Contains(line, "rl.steps is 0") {
		t.Errorf("message %q", line)
	}
	if _, err := os.Stat(none); err == nil {
		t.Error("a run folder is left of a stage that there is not")
	}
	line := fails(t, process(t, runArgs(data, out, "--set", "rl.steps=2", "--set", "eval.decode=judge")...), 2)
	if !strings.Contains(line, "eval.decode") {
		t.Errorf("message %q", line)
	}
}

// TestRunsBeside: a copy of a run goes on with another reward, its comparisons say what
// it differs in, and a report of both takes the place of nothing else.
func TestRunsBeside(t *testing.T) {
	data, root := synthetic(t), t.TempDir()
	out, other := filepath.Join(root, "a"), filepath.Join(root, "naive")
	gr2(t, learning(data, out, "--set", "rl.steps=2", "--set", "rl.decode=grammar")...)
	if err := os.CopyFS(other, os.DirFS(out)); err != nil {
		t.Fatal(err)
	}
	gr2(t, "run", "--data", data, "--out", other, "--set", "rl.reward=naive", "--set", "rl.alpha=1e-1")
	change, page := "rl.reward: a -> naive", filepath.Join(root, "both.html")
	if table := string(gr2(t, "eval", "--run", other, "--against", out)); !strings.Contains(table, "differs from the other runs in "+change+"\n") || strings.Contains(table, "rl.alpha") {
		t.Errorf("the comparison does not say that %s alone:\n%s", change, table)
	}
	if line := fails(t, process(t, "eval", "--run", other, "--against", out, "--probe"), 2); !strings.Contains(line, "--against") {
		t.Errorf("message %q", line)
	}
	if page := string(content(t, other, "report.html")); !strings.Contains(page, "WARNING of rl") || !strings.Contains(page, "<h3>rl</h3>") {
		t.Error("the page has no curves and warnings of reinforcement learning")
	}
	own := content(t, out, "report.html")
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	relative, err := filepath.Rel(here, filepath.Join(out, "report.html"))
	if err != nil {
		t.Fatal(err)
	}
	report := []string{"report", "--run", out, "--beside", other}
	for _, more := range [][]string{nil, {"--out", out + "/./report.html"}, {"--out", relative}, {"--out", filepath.Join(out, "rl", "stage.json")}, {"--out", filepath.Join(other, "report.html")}} {
		if line := fails(t, process(t, append(report, more...)...), 2); !strings.Contains(line, "with --out") {
			t.Errorf("message %q", line)
		}
	}
	for range 2 { // a report may take the place of a report
		gr2(t, append(report, "--out", page)...)
	}
	if page := string(content(t, root, "both.html")); !strings.Contains(page, `<b class="run1">B</b> naive`) || !strings.Contains(page, "rl.reward: a -&gt; naive") {
		t.Error("the report of two runs does not name the second and what it differs in")
	}
	if !bytes.Equal(content(t, out, "report.html"), own) {
		t.Error("a report of two runs has changed that of the first")
	}
	gr2(t, "run", "--data", data, "--out", other, "--set", "rl.steps=0")
	if page := string(content(t, other, "report.html")); strings.Contains(page, "WARNING of rl") || strings.Contains(page, "<h3>rl</h3>") {
		t.Error("the page of a run that leaves reinforcement learning out shows what an earlier one has left")
	}
}
