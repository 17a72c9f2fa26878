package baseline

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/gr2/gr2/internal/kernel"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/rng"
)

type userBPR struct {
	f   *bprFit
	log *trainLog
}

func TestScratchBPR(t *testing.T) {
	ds, split := beauty(t)
	n := ds.Catalog.Len()
	log := newTrainLog(split, n)
	valid := sample(split.Valid, 5000)
	test := sample(split.Test, 5000)
	base := BPRConfig{Dim: 64, Epochs: 60, Rate: .05, Reg: .01, BiasReg: .001, FoldReg: .01, Decay: .9}
	fmt.Sscan(os.Getenv("BPR"), &base.Epochs, &base.Rate, &base.Reg, &base.BiasReg, &base.UserReg)
	t0 := time.Now()
	f := newBPRFit(log, base, 1)
	for epoch := range base.Epochs {
		f.epoch(rng.New(1, bprStream, 1, uint64(epoch)), base.Rate*(1-float64(epoch)/float64(base.Epochs)))
	}
	say("%+v fit %v", base, time.Since(t0))
	where := map[int32]int{}
	for i, u := range log.users {
		where[u] = i
	}
	users := func(ts []market.Target) Measures {
		each := make([]Measures, len(ts))
		kernel.Parallel(len(ts), func(i int) {
			row := make([]float32, n)
			u := where[ts[i].User]
			kernel.Gemm(false, true, 1, n, base.Dim, 1, f.users[u*base.Dim:], base.Dim, f.items, base.Dim, 0, row, n)
			kernel.Add(row, row, f.bias)
			maskSeen(row, ts[i].History)
			each[i] = measure(row, ts[i].Items)
		})
		return mean(each)
	}
	say("trained users V %v T %v", users(valid), users(test))
	for _, panel := range []int{128} {
		bprPanel = panel
		m := newBPR(base, f.items, f.bias, logPopularity(log.counts()), 1)
		if panel == 128 {
			say("curve %v", m.curve)
		}
		for _, fr := range []float64{.0003, .003} {
			for _, de := range []float64{.7} {
				c := base
				c.FoldReg, c.Decay = fr, de
				t0 := time.Now()
				say("panel %d fold %g %g: V %v T %v %v", panel, fr, de, Evaluate(m.with(c), valid, n, false), Evaluate(m.with(c), test, n, false), time.Since(t0))
			}
		}
	}
}

type biased struct {
	*ials
	bias []float32
	s    float32
}

func (b biased) scoreBatch(q []Query, dst []float32) {
	b.ials.scoreBatch(q, dst)
	kernel.Scale(b.s, dst)
	for i := range q {
		row := dst[i*len(b.bias) : (i+1)*len(b.bias)]
		kernel.Add(row, row, b.bias)
	}
}
