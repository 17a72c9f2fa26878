package baseline

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/nn"
	"github.com/gr2/gr2/internal/rng"
)

// sasrecFit trains a model epoch by epoch.
type sasrecFit struct {
	model   *sasrec
	log     *trainLog
	seed    uint64
	windows [][]market.Visit // at most MaxLen+1 consecutive visits of one user
	expect  []float32        // log of how often an item is expected among a batch's candidates
	opt     *nn.AdamW
	tape    *nn.Tape
	batch   tokens
	rows    []int32 // tokens of the batch that have a target
	targets []int32
}

func newSASRecFit(log *trainLog, cfg SASRecConfig, seed uint64) *sasrecFit {
	m := newSASRec(cfg, log.items)
	m.initialise(seed)
	m.known = knownItems(log.counts())
	f := &sasrecFit{model: m, log: log, seed: seed, tape: nn.NewTape()}
	f.opt = nn.NewAdamW(m.params(), nn.AdamWOptions{Beta1: .9, Beta2: .98, Eps: 1e-8})
	targets := make([]float64, log.items)
	total := 0.0
	for _, seq := range log.seqs {
		for end := len(seq); end > 1; end -= cfg.MaxLen {
			f.windows = append(f.windows, seq[max(0, end-cfg.MaxLen-1):end])
		}
		for _, v := range seq[min(1, len(seq)):] {
			targets[v.Item]++
			total++
		}
	}
	f.expect = make([]float32, log.items)
	for i, c := range targets {
		inBatch := float64(cfg.Batch) * c / math.Max(total, 1)
		f.expect[i] = float32(math.Log(inBatch + float64(cfg.Negatives)/float64(log.items)))
	}
	return f
}

// epoch passes over all windows once and returns the mean loss.
func (f *sasrecFit) epoch(epoch int) float64 {
	order := rng.New(f.seed, sasrecStream, 1, uint64(epoch)).Perm(len(f.windows))
	total, steps := 0.0, 0
	for from := 0; from < len(order); steps++ {
		r := rng.New(f.seed, sasrecStream, 2, uint64(epoch), uint64(steps))
		from = f.fill(order, from, r)
		total += f.step(r)
	}
	return total / float64(max(steps, 1))
}

// snapshot is a copy of the model as it is after the given number of epochs.
func (f *sasrecFit) snapshot(epochs int) *sasrec {
	m := f.model.frozen()
	m.best = epochs
	for _, p := range m.params() {
		p.Value = slices.Clone(p.Value)
	}
	return m
}

// fill packs windows from the order until the batch is full. Visits of equal
// time are shuffled anew each time: their order means nothing.
func (f *sasrecFit) fill(order []int, from int, r *rand.Rand) int {
	f.batch.reset()
	f.rows, f.targets = f.rows[:0], f.targets[:0]
	for ; from < len(order) && len(f.rows) < f.model.cfg.Batch; from++ {
		window := market.ShuffleTies(f.windows[order[from]], r)
		base := len(f.batch.ids)
		f.batch.add(window[:len(window)-1])
		for i := range window[:len(window)-1] {
			if next := f.next(window, i, r); next >= 0 {
				f.rows = append(f.rows, int32(base+i))
				f.targets = append(f.targets, next)
			}
		}
	}
	return from
}

// next is the item to predict after visit i: the following one, or with
// baskets any item of the following basket; -1 when there is none.
func (f *sasrecFit) next(window []market.Visit, i int, r *rand.Rand) int32 {
	if !f.log.baskets {
		return window[i+1].Item
	}
	from := i + 1
	for from < len(window) && window[from].Time == window[i].Time {
		from++
	}
	to := from
	for to < len(window) && window[to].Time == window[from].Time {
		to++
	}
	if from == to {
		return -1
	}
	return window[from+r.IntN(to-from)].Item
}

// step makes one update on the batch.
func (f *sasrecFit) step(r *rand.Rand) float64 {
	if len(f.rows) == 0 {
		return 0
	}
	negatives := make([]int32, f.model.cfg.Negatives)
	for i := range negatives {
		negatives[i] = int32(r.IntN(f.log.items))
	}
	f.tape.Reset()
	x := f.model.hidden(f.tape, &f.batch, r)
	loss := f.tape.SampledSoftmax(f.tape.Rows(x, f.rows), f.model.item, nil, f.targets, negatives, f.expect)
	f.tape.Backward(loss)
	f.opt.Step(f.model.cfg.Rate)
	return float64(loss.Value[0])
}
