package baseline

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/rng"
)

func say(f string, a ...any) { fmt.Fprintf(os.Stderr, f+"\n", a...) }

func (m Measures) String() string {
	return fmt.Sprintf("%.4f %.4f %.4f %.4f", m.R1, m.R5, m.R10, m.N10)
}

func sample(ts []market.Target, n int) []market.Target {
	var out []market.Target
	for _, t := range ts {
		if rng.Hash(5, uint64(t.User))%uint64(len(ts)) < uint64(n) {
			out = append(out, t)
		}
	}
	return out
}

func TestScratchKNN(t *testing.T) {
	ds, split := beauty(t)
	n := ds.Catalog.Len()
	log := newTrainLog(split, n)
	base := KNNConfig{Window: 10, Gap: .85, Damp: 0, SameTime: 1, PopPower: .2, QueryPower: .2, Decay: .7, Backoff: .03}
	valid := sample(split.Valid, 8000)
	cnt := log.counts()
	ax := []axis[KNNConfig]{
		{[]float64{.7, .8, .9}, func(c *KNNConfig, v float64) { c.Gap = v }},
		{[]float64{0, .2, .35}, func(c *KNNConfig, v float64) { c.Damp = v }},
		{[]float64{1, 1.5}, func(c *KNNConfig, v float64) { c.SameTime = v }},
		{[]float64{0, .1, .2, .3, .4}, func(c *KNNConfig, v float64) { c.PopPower = v }},
		{[]float64{0, .2, .4, .6}, func(c *KNNConfig, v float64) { c.QueryPower = v }},
		{[]float64{.6, .7, .8}, func(c *KNNConfig, v float64) { c.Decay = v }},
	}
	c, _ := descend(base, ax, 2, func(c KNNConfig) (float64, error) {
		t0 := time.Now()
		k := newItemKNN(c, countPairs(log, c), cnt)
		t1 := time.Since(t0)
		m := Evaluate(k, valid, n, false)
		say("%+v %v %v %v", c, m, t1, time.Since(t0))
		return m.N10, nil
	})
	k := newItemKNN(c, countPairs(log, c), cnt)
	say("BEST %+v V %v T %v", c, Evaluate(k, split.Valid, n, false), Evaluate(k, split.Test, n, false))
}

func TestScratchIALS(t *testing.T) {
	ds, split := beauty(t)
	n := ds.Catalog.Len()
	log := newTrainLog(split, n)
	valid := sample(split.Valid, 8000)
	base := IALSConfig{Dim: 64, Sweeps: 8, Unobserved: .1, Reg: .03, RegPower: 1, Decay: .8}
	try := func(c IALSConfig) {
		t0 := time.Now()
		m, _ := fitIALS(log, c, 1, func(int) error { return nil })
		t1 := time.Since(t0)
		say("%+v V %v %v %v", c, Evaluate(m, valid, n, false), t1, time.Since(t0))
	}
	_ = try
	ax := []axis[IALSConfig]{
		{[]float64{.003, .006, .012, .024, .05}, func(c *IALSConfig, v float64) { c.Unobserved = v }},
		{[]float64{.003, .006, .012, .024, .05}, func(c *IALSConfig, v float64) { c.Reg = v }},
		{[]float64{1, .75, .5}, func(c *IALSConfig, v float64) { c.RegPower = v }},
		{[]float64{.7, .8, .9}, func(c *IALSConfig, v float64) { c.Decay = v }},
		{[]float64{4, 8, 16}, func(c *IALSConfig, v float64) { c.Sweeps = int(v) }},
	}
	base.Unobserved = .006
	base.Reg = .006
	c, _ := descend(base, ax, 2, func(c IALSConfig) (float64, error) {
		m, _ := fitIALS(log, c, 1, func(int) error { return nil })
		v := Evaluate(m, valid, n, false)
		say("%+v %v", c, v)
		return v.N10, nil
	})
	m, _ := fitIALS(log, c, 1, func(int) error { return nil })
	say("BEST %+v V %v T %v", c, Evaluate(m, split.Valid, n, false), Evaluate(m, split.Test, n, false))
}
