//go:build unix

package cli_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/gr2/gr2/api"
)

// served is a finished run, with these flags, and some slates of its market.
func served(t *testing.T, more ...string) (run string, slates []api.Slate) {
	t.Helper()
	data := synthetic(t)
	run = filepath.Join(t.TempDir(), "run")
	gr2(t, runArgs(data, run, more...)...)
	zip, err := gzip.NewReader(bytes.NewReader(content(t, data, "slates.jsonl.gz")))
	if err != nil {
		t.Fatal(err)
	}
	for dec := json.NewDecoder(zip); len(slates) < 5; {
		var s api.Slate
		if err := dec.Decode(&s); err != nil {
			t.Fatal(err)
		}
		slates = append(slates, s)
	}
	return run, slates
}

// serve starts a server on a free port and returns it with its address.
func serve(t *testing.T, run string) (*exec.Cmd, string) {
	t.Helper()
	cmd := process(t, "-q", "serve", "--run", run, "--addr", "127.0.0.1:0", "--timeout", "30s")
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	address, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	if err != nil || !ok {
		t.Fatalf("the server says %q (%v)", line, err)
	}
	return cmd, address
}

// answers are the rankings of gr2 rerank.
func answers(t *testing.T, run string, slates []api.Slate) []api.Ranking {
	t.Helper()
	var in bytes.Buffer
	enc := json.NewEncoder(&in)
	for _, s := range slates {
		if err := enc.Encode(s); err != nil {
			t.Fatal(err)
		}
	}
	cmd := process(t, "rerank", "--run", run)
	cmd.Stdin = &in
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var rankings []api.Ranking
	for dec := json.NewDecoder(bytes.NewReader(out)); dec.More(); {
		var r api.Ranking
		if err := dec.Decode(&r); err != nil {
			t.Fatal(err)
		}
		rankings = append(rankings, timeless(r))
	}
	if len(rankings) != len(slates) {
		t.Fatalf("%d rankings of %d slates", len(rankings), len(slates))
	}
	return rankings
}

// timeless is the ranking without what its computation took.
func timeless(r api.Ranking) api.Ranking {
	r.Millis, r.Phases = 0, api.Phases{}
	return r
}

func TestServerAnswersAsTheCommandLineDoes(t *testing.T) {
	run, slates := served(t)
	want := answers(t, run, slates)
	cmd, address := serve(t, run)
	client := api.NewClient(address)
	batch, err := client.RerankAll(t.Context(), slates)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range slates {
		single, err := client.Rerank(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(timeless(single), want[i]) {
			t.Errorf("alone: %+v, want %+v", single, want[i])
		}
		if !reflect.DeepEqual(timeless(batch[i]), want[i]) {
			t.Errorf("in a batch: %+v, want %+v", batch[i], want[i])
		}
	}
	checkRefusal(t, client, slates[0])
	for path, text := range map[string]string{
		"/healthz": `{"status":"ok"}`, "/readyz": want[0].Model, "/metrics": "gr2_",
	} {
		if body := get(t, address+path); !strings.Contains(body, text) {
			t.Errorf("%s answers %.200q, want %q in it", path, body, text)
		}
	}
	stop(t, cmd)
	if err := client.Ready(t.Context()); err == nil {
		t.Error("the server is still there")
	}
}

// TestPolicyOfThePresets: what the presets train and tiny.yaml leaves out, trees
// for a teacher, judgements below the top and a head that points, is sealed,
// opened and read by the ranking that it writes.
func TestPolicyOfThePresets(t *testing.T) {
	var set []string
	for _, s := range []string{
		"model.layers=2", "model.hidden=32", "sft.teacher_epochs=1", "sft.teacher_trees=true", "sft.teacher_judges=true",
		"sft.judge_layers=-1", "sft.pointer=true", "eval.decode=generate", "prompt.evidence_names=[co,recent30,scoreGap]",
	} {
		set = append(set, "--set", s)
	}
	run, slates := served(t, set...)
	var card struct {
		Mode        string
		JudgeLayers int `json:"judge_layers"`
	}
	if err := json.Unmarshal(content(t, run, "prompt.json"), &card); err != nil || card.Mode != "generate" || card.JudgeLayers != 1 {
		t.Errorf("the card says %+v (%v), want generate and 1 of 2 layers", card, err)
	}
	for i, r := range answers(t, run, slates) {
		order := slices.Sorted(slices.Values(r.Order))
		for place, c := range order {
			if c != place {
				t.Fatalf("slate %d: order %v is no permutation", i, r.Order)
			}
		}
		if len(order) != len(slates[i].Candidates) || r.Fallback || r.Tokens.Output == 0 {
			t.Errorf("slate %d: %+v, want a written ranking of %d", i, r, len(slates[i].Candidates))
		}
	}
	for i := range slates[0].Candidates {
		slates[0].Candidates[i].Score = 0
	}
	line, err := json.Marshal(slates[0])
	if err != nil {
		t.Fatal(err)
	}
	cmd := process(t, "rerank", "--run", run)
	cmd.Stdin = bytes.NewReader(line)
	if said := fails(t, cmd, 2); !strings.Contains(said, "scoreGap") {
		t.Errorf("a slate without scores: %q", said)
	}
}

// checkRefusal demands 400 for an unknown item, which names the field.
func checkRefusal(t *testing.T, client *api.Client, s api.Slate) {
	t.Helper()
	s.Candidates = append([]api.Candidate{{Item: "nope"}}, s.Candidates[1:]...)
	var refused *api.Error
	_, err := client.Rerank(t.Context(), s)
	if !errors.As(err, &refused) || refused.Status != http.StatusBadRequest || refused.Field != "candidates[0].item" {
		t.Errorf("an unknown item is answered by %v", err)
	}
}

func get(t *testing.T, url string) string {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Errorf("%s: %s, %v", url, res.Status, err)
	}
	return string(body)
}

// stop sends SIGTERM and demands a graceful end.
func stop(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("SIGTERM ends the server with %v", err)
	}
}

func TestServerDoesNotStartOnAPortInUse(t *testing.T) {
	run, _ := served(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	address := taken.Addr().String()
	line := fails(t, process(t, "serve", "--run", run, "--addr", address), 1)
	if !strings.Contains(line, address) || !strings.Contains(line, "in use") {
		t.Errorf("message %q", line)
	}
	line = fails(t, process(t, "serve", "--run", run, "--addr", "nowhere"), 2)
	if !strings.Contains(line, "host:port") {
		t.Errorf("message %q", line)
	}
	line = fails(t, process(t, "serve", "--run", filepath.Join(os.TempDir(), "gr2-no-such-run")), 2)
	if !strings.Contains(line, "no finished run") {
		t.Errorf("message %q", line)
	}
}
