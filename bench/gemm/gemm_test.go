package gemm

import (
	"testing"

	"github.com/gr2/gr2/bench/compare/comparetest"
)

func TestPeerUnderstandsCases(t *testing.T) {
	comparetest.ReadEveryField(t, shapes()[0], source, "peer.py")
}

func TestCasesRun(t *testing.T) {
	for _, role := range []shape{{TransB: true}, {}, {TransA: true}} {
		role.M, role.N, role.K = 70, 40, 20
		role.prepare()()
	}
	names := map[string]bool{}
	for _, c := range Suite().Cases {
		if names[c.Name] || c.Work <= 0 {
			t.Errorf("case %s is there twice or has no work", c.Name)
		}
		names[c.Name] = true
	}
}
