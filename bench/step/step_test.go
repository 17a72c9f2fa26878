package step

import (
	"testing"

	"github.com/gr2/gr2/bench/compare/comparetest"
	"github.com/gr2/gr2/internal/lm"
	"github.com/gr2/gr2/internal/nn"
)

func TestPeerUnderstandsTasks(t *testing.T) {
	comparetest.ReadEveryField(t, tasks()[0], source, "peer.py")
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
