package step

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/gr2/gr2/internal/lm"
	"github.com/gr2/gr2/internal/nn"
)

// The script reads every field of a request.
func TestPeerUnderstandsTasks(t *testing.T) {
	script, err := source.ReadFile("peer.py")
	if err != nil {
		t.Fatal(err)
	}
	request, err := json.Marshal(tasks()[0])
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(request, &fields); err != nil {
		t.Fatal(err)
	}
	if len(fields) != 7 {
		t.Errorf("a request has %d fields, want 7: %s", len(fields), request)
	}
	for name := range fields {
		if !strings.Contains(string(script), `c["`+name+`"]`) {
			t.Errorf("peer.py does not read %q", name)
		}
	}
}

// Steps run on batches that the decoder accepts, and the task of 30M parameters
// has them.
func TestTasksAreWhatTheyAreNamedFor(t *testing.T) {
	small := task{"small", 32, 2, 2, 48, 64, 2, 12}
	model, err := lm.New(small.config(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := nn.NewDecoder(model).Check(small.tokens()); err != nil {
		t.Error(err)
	}
	small.prepare()()
	big := tasks()[1]
	params := big.Vocab*big.Hidden + big.Layers*(4*big.Hidden*big.Hidden+3*big.Hidden*big.Inner)
	if params < 29e6 || params > 31e6 {
		t.Errorf("%s has %d parameters", big.name, params)
	}
}
