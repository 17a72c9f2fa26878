package pipeline

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/gr2/gr2/internal/control"
	"github.com/gr2/gr2/internal/evidence"
	"github.com/gr2/gr2/internal/market"
)

// TestEvidenceIsWorthWhatItTells: where the positive is the candidate with the most
// events, the number of events is worth nearly all there is, more than nothing
// without it and less than nothing to take away; and N@3 is that of the held-out
// users' slates.
func TestEvidenceIsWorthWhatItTells(t *testing.T) {
	for _, shown := range [][]string{{"co"}, {"co", "pop"}} {
		w := newTestWorld(t, func(o *Options) { o.Eval.Bootstrap = 200 })
		pop := slices.Index(evidence.Names(), "pop")
		for _, set := range w.orders {
			for _, slates := range [][]market.Slate{set.train.Slates, set.valid.Slates} {
				for i := range slates {
					most := 0
					raw := w.stats.Raw(&slates[i], evidence.None)
					for k := range raw {
						if raw[k][pop] > raw[most][pop] {
							most = k
						}
					}
					clear(slates[i].Grades)
					slates[i].Grades[most] = market.GradeConvert
				}
			}
		}
		fits, err := w.evidenceFits()
		if err != nil {
			t.Fatal(err)
		}
		rows, err := weigh(t.Context(), w.job, fits, control.ShownFeatures(shown))
		if err != nil {
			t.Fatal(err)
		}
		if len(rows) != 4+len(evidence.Names())+2 || rows[0].Values != "shown" || rows[1].Values != "all" ||
			rows[2].Values != "trees on shown" || rows[3].Values != "trees on all" {
			t.Fatalf("%d rows: %+v", len(rows), rows[:4])
		}
		held := 0
		for _, set := range w.orders {
			for i := range set.valid.Slates {
				if w.heldOut(&set.valid.Slates[i]) {
					held++
				}
			}
		}
		for _, r := range rows {
			mean := 0.0
			for _, f := range fits {
				mean += r.Orders[f.order] * float64(len(f.ranked)) / float64(held)
			}
			if r.Slates != held || math.Abs(mean-r.N3) > 1e-9 || math.Abs(r.N3-rows[0].N3-r.Over.Value) > 1e-9 {
				t.Errorf("%s: %d slates of %d, N@3 %v, by order %v, over shown %+v", r.Values, r.Slates, held, r.N3, r.Orders, r.Over)
			}
			switch known := len(shown) == 2; {
			case strings.HasSuffix(r.Values, "all") && r.N3 < .9:
				t.Errorf("%s: N@3 %v", r.Values, r.N3)
			case r.Values == "shown + pop" && (known || r.Over.Low <= 0), r.Values == "shown - pop" && (!known || r.Over.High >= 0):
				t.Errorf("beside %v %s: %+v", shown, r.Values, r.Over)
			}
		}
	}
}
