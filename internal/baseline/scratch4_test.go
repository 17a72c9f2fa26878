package baseline

import (
	"context"
	"os"
	"testing"
	"time"
)

func TestScratchSuite(t *testing.T) {
	ds, split := beauty(t)
	cfg := DefaultConfig()
	t0 := time.Now()
	s, err := Train(context.Background(), ds, split, cfg, Options{Dir: os.Getenv("BLDIR"), Progress: func(p Progress) { say("%6.1f %+v", time.Since(t0).Seconds(), p) }})
	if err != nil {
		t.Fatal(err)
	}
	say("%+v", s.Config())
	for _, o := range Orders() {
		r, _ := s.Ranker(o)
		say("%-12s V %v T %v  %.1f", o, Evaluate(r, split.Valid, ds.Catalog.Len(), false), Evaluate(r, split.Test, ds.Catalog.Len(), false), time.Since(t0).Seconds())
	}
	for _, o := range []string{OrderSASRec, OrderBPR, OrderBlend} {
		set, err := s.BuildSlates(context.Background(), o)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range []Part{set.Train, set.Valid, set.Test} {
			var r1, r3 float64
			for _, sl := range p.Slates {
				for i, g := range sl.Grades {
					if g > 0 && i == 0 {
						r1++
					}
					if g > 0 && i < 3 {
						r3++
					}
				}
			}
			n := float64(len(p.Slates))
			say("%s events %d kept %d full %v cond R@1 %.3f R@3 %.3f   %.1f", o, p.Events, len(p.Slates), p.Full, r1/n, r3/n, time.Since(t0).Seconds())
		}
	}
}
