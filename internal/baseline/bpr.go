package baseline

import (
	"math"
	"math/rand/v2"

	"github.com/gr2/gr2/internal/kernel"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/rng"
)

// BPRConfig holds the parameters of matrix factorisation with item bias under
// Bayesian personalised ranking (Rendle et al. 2009): for an event (u, i) and a
// uniform item j the user has no event with, SGD raises
// log sigmoid(x_u.(y_i - y_j) + b_i - b_j). The learning rate falls linearly.
//
// The user factors serve the fit only. A request's user vector is folded in
// from the history: the minimiser of the same loss over the visits, the one a
// steps old weighing Decay^a, against a fixed panel of uniform items, with
// FoldReg for Reg. So known, held-out and new users are ranked alike.
type BPRConfig struct {
	Dim     int     `json:"dim"`      // default 64
	Epochs  int     `json:"epochs"`   // passes over the events; default 100
	Rate    float64 `json:"rate"`     // first learning rate; default .4
	Reg     float64 `json:"reg"`      // L2 of factors per step; default .03
	BiasReg float64 `json:"bias_reg"` // L2 of biases per step; default .001
	FoldReg float64 `json:"fold_reg"` // L2 of the fold-in; default .0001
	Decay   float64 `json:"decay"`    // of the fold-in, in (0,1]; default .5
}

const (
	bprPanel    = 128 // negatives of the fold-in
	bprSteps    = 30  // gradient steps of the fold-in
	bprNegTries = 16  // draws for an item that the user has no event with
)

type bpr struct {
	cfg   BPRConfig
	items []float32 // (len(bias), Dim)
	bias  []float32
	known
	panel []int32 // negatives of the fold-in
	curve float32 // bound of the curvature of the fold-in's loss
}

func fitBPR(log *trainLog, cfg BPRConfig, seed uint64, done func(epoch int) error) (*bpr, error) {
	f := newBPRFit(log, cfg, seed)
	for epoch := range cfg.Epochs {
		f.epoch(rng.New(seed, bprStream, 1, uint64(epoch)), cfg.Rate*(1-float64(epoch)/float64(cfg.Epochs)))
		if err := done(epoch + 1); err != nil {
			return nil, err
		}
	}
	return newBPR(cfg, f.items, f.bias, knownItems(log.counts()), seed), nil
}

var bprStream = rng.Key("baseline/bpr")

// bprFit is the state of the SGD.
type bprFit struct {
	cfg                BPRConfig
	users, items, bias []float32
	events             []bprEvent
	owned              []map[int32]struct{} // items of each sequence; looked up only
}

type bprEvent struct{ seq, item int32 }

func newBPRFit(log *trainLog, cfg BPRConfig, seed uint64) *bprFit {
	f := &bprFit{
		cfg:   cfg,
		users: make([]float32, len(log.seqs)*cfg.Dim),
		items: make([]float32, log.items*cfg.Dim),
		bias:  make([]float32, log.items),
		owned: make([]map[int32]struct{}, len(log.seqs)),
	}
	init := rng.New(seed, bprStream, 0)
	for _, factors := range [][]float32{f.users, f.items} {
		for i := range factors {
			factors[i] = float32(init.NormFloat64() * .1)
		}
	}
	for u, seq := range log.seqs {
		f.owned[u] = make(map[int32]struct{}, len(seq))
		for _, v := range seq {
			f.owned[u][v.Item] = struct{}{}
			f.events = append(f.events, bprEvent{int32(u), v.Item})
		}
	}
	return f
}

// epoch is one sequential pass of SGD in shuffled order.
func (f *bprFit) epoch(r *rand.Rand, rate float64) {
	r.Shuffle(len(f.events), func(i, j int) { f.events[i], f.events[j] = f.events[j], f.events[i] })
	dim := f.cfg.Dim
	lr := float32(rate)
	keep, keepBias := 1-lr*float32(f.cfg.Reg), 1-lr*float32(f.cfg.BiasReg)
	diff := make([]float32, dim)
	for _, e := range f.events {
		i, j := int(e.item), int(f.negative(r, e.seq))
		u := f.users[int(e.seq)*dim : (int(e.seq)+1)*dim]
		p, q := f.items[i*dim:(i+1)*dim], f.items[j*dim:(j+1)*dim]
		for d := range diff {
			diff[d] = p[d] - q[d]
		}
		margin := kernel.Dot(u, diff) + f.bias[i] - f.bias[j]
		g := lr / (1 + float32(math.Exp(float64(margin))))
		for d, x := range u {
			u[d] = keep*x + g*diff[d]
			p[d] = keep*p[d] + g*x
			q[d] = keep*q[d] - g*x
		}
		f.bias[i] = keepBias*f.bias[i] + g
		f.bias[j] = keepBias*f.bias[j] - g
	}
}

// negative draws an item the user has no event with, or gives up on users who
// have nearly everything.
func (f *bprFit) negative(r *rand.Rand, seq int32) int32 {
	j := int32(0)
	for range bprNegTries {
		j = int32(r.IntN(len(f.bias)))
		if _, own := f.owned[seq][j]; !own {
			break
		}
	}
	return j
}

// newBPR prepares fitted factors for fold-in.
func newBPR(cfg BPRConfig, items, bias []float32, k known, seed uint64) *bpr {
	m := &bpr{cfg: cfg, items: items, bias: bias, known: k}
	r := rng.New(seed, bprStream, 2)
	for _, i := range r.Perm(len(bias))[:min(bprPanel, len(bias))] {
		m.panel = append(m.panel, int32(i))
	}
	for i := range bias { // the logistic loss curves at most |y_i - y_j|^2/4 <= max |y|^2
		row := m.row(int32(i))
		m.curve = max(m.curve, kernel.Dot(row, row))
	}
	return m
}

// with is the model with other settings of the fold-in.
func (m *bpr) with(cfg BPRConfig) *bpr {
	other := *m
	other.cfg = cfg
	return &other
}

func (m *bpr) row(item int32) []float32 {
	return m.items[int(item)*m.cfg.Dim : (int(item)+1)*m.cfg.Dim]
}

func (m *bpr) Name() string { return OrderBPR }

func (m *bpr) Scores(history []market.Visit, now int64, dst []float32) {
	scoreOne(m, history, now, dst)
}

func (m *bpr) scoreBatch(queries []Query, dst []float32) {
	dim, n := m.cfg.Dim, len(m.bias)
	x := make([]float32, len(queries)*dim)
	histories := m.histories(queries)
	kernel.Parallel(len(queries), func(i int) {
		m.foldIn(x[i*dim:(i+1)*dim], histories[i])
	})
	kernel.Gemm(false, true, len(queries), n, dim, 1, x, dim, m.items, dim, 0, dst, n)
	for i, h := range histories {
		row := dst[i*n : (i+1)*n]
		if len(h) == 0 {
			copy(row, m.prior)
			continue
		}
		kernel.Add(row, row, m.bias)
	}
}

// foldIn minimises over u, by Nesterov's method with a fixed number of steps,
//
//	sum_i w_i mean_j softplus(-(u.(y_i-y_j) + b_i-b_j)) / sum w + FoldReg/2 |u|^2
func (m *bpr) foldIn(u []float32, history []market.Visit) {
	if len(history) == 0 {
		return
	}
	weights := decayWeights(len(history), m.cfg.Decay)
	rows := make([]int32, 0, len(history)+len(m.panel))
	for _, v := range history {
		rows = append(rows, v.Item)
	}
	rows = append(rows, m.panel...)
	pull := make([]float32, len(rows))
	look := make([]float32, len(u))
	old := make([]float32, len(u))
	reg := float32(m.cfg.FoldReg)
	rate := 1 / (m.curve + reg)
	for step := range bprSteps {
		m.pulls(pull, look, rows, weights)
		copy(old, u)
		copy(u, look)
		kernel.Scale(1-rate*reg, u)
		for r, item := range rows {
			kernel.Axpy(rate*pull[r], m.row(item), u)
		}
		momentum := float32(step) / float32(step+3)
		for d := range look {
			look[d] = u[d] + momentum*(u[d]-old[d])
		}
	}
}

// pulls writes how strongly each row attracts the user vector u: visits by
// their weighted mean slope, panel items by minus theirs.
func (m *bpr) pulls(pull, u []float32, rows []int32, weights []float32) {
	score := make([]float32, len(rows))
	for r, item := range rows {
		s := kernel.Dot(u, m.row(item)) + m.bias[item]
		score[r] = min(max(-s, -40), 40) // far from overflow below
	}
	clear(pull)
	visits, share := len(weights), 1/float32(len(m.panel))
	odds := make([]float32, len(m.panel)) // exp(-score): slope = e_i/(e_i+e_j)
	kernel.Exp(score, score)
	copy(odds, score[visits:])
	for i, w := range weights {
		for j, e := range odds {
			g := w * share * score[i] / (score[i] + e)
			pull[i] += g
			pull[visits+j] -= g
		}
	}
}

// decayWeights are decay^age of n visits, oldest first, summing to 1.
func decayWeights(n int, decay float64) []float32 {
	weights := make([]float32, n)
	w, total := 1.0, 0.0
	for i := n - 1; i >= 0; i-- {
		weights[i] = float32(w)
		total += w
		w *= decay
	}
	for i := range weights {
		weights[i] /= float32(total)
	}
	return weights
}
