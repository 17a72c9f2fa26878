package pipeline

import (
	"math"
	"reflect"
	"testing"

	"github.com/gr2/gr2/internal/market"
)

// TestFreeDecodingCountsAndCredits: what partial credit would pay an answer that
// says nothing is the incoming order's own AUC.
func TestFreeDecodingCountsAndCredits(t *testing.T) {
	slate := &market.Slate{Candidates: make([]market.Candidate, 3), Grades: []uint8{0, 1, 0}}
	flat := &market.Slate{Candidates: make([]market.Candidate, 3), Grades: []uint8{0, 0, 0}}
	f := freeDecoding([]*market.Slate{slate, slate, slate, slate, flat}, []string{
		`{"ranking":[1,2,3]}`, `{"ranking":[2,1,3]}`, // valid, the first one a copy
		"nothing", `{"ranking":[2`, // the second one puts the positive first
		"nothing", // of a slate that no order ranks better or worse
	})
	if f.N != 5 || f.ValidRate != .4 || f.CopyRate != .5 || !reflect.DeepEqual(f.Invalid, map[string]int{"not_json": 3}) {
		t.Errorf("%+v", f)
	}
	if p := f.Partial; p == nil || p.N != 2 || math.Abs(p.Credit-.75) > 1e-12 || math.Abs(p.Incoming-.5) > 1e-12 {
		t.Errorf("partial credit %+v, want .75 of .5", p)
	}
	if f := freeDecoding([]*market.Slate{slate}, []string{`{"ranking":[1,2,3]}`}); f.Partial != nil {
		t.Errorf("valid answers have partial credit %+v", f.Partial)
	}
}
