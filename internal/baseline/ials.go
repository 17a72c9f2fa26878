package baseline

import (
	"math"

	"gonum.org/v1/gonum/mat"

	"github.com/gr2/gr2/internal/kernel"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/rng"
)

// IALSConfig holds the parameters of implicit alternating least squares (Hu et
// al. 2008) in the form of Rendle et al. 2022, "Revisiting the Performance of
// iALS": unobserved weight and frequency-scaled regularisation. It minimises
//
//	sum over events (1 - x_u.y_i)^2 + Unobserved * sum over all pairs (x_u.y_i)^2
//	+ Reg * (sum over rows of freq^RegPower * |row|^2)
//
// where freq of a user is their events + Unobserved*items, of an item its
// events + Unobserved*users. A request's history is folded in with the same
// solve, where the visit that is a steps old weighs Decay^a.
type IALSConfig struct {
	Dim        int     `json:"dim"`        // default 64
	Sweeps     int     `json:"sweeps"`     // of users and items; default 16
	Unobserved float64 `json:"unobserved"` // > 0; default .003
	Reg        float64 `json:"reg"`        // > 0; default .006
	RegPower   float64 `json:"reg_power"`  // in [0,1]; default 1
	Decay      float64 `json:"decay"`      // of the fold-in, in (0,1]; default .5
}

// ials is the fitted model. The items are held in the eigenbasis of their
// Gram matrix, where it is diagonal: a user with n events then costs an n x n
// system by the Woodbury identity instead of a Dim x Dim one.
type ials struct {
	cfg   IALSConfig
	items []float32 // (len(prior), Dim)
	gram  []float64 // diagonal of items^T items
	known
}

func fitIALS(log *trainLog, cfg IALSConfig, seed uint64, done func(sweep int) error) (*ials, error) {
	byUser, byItem := incidence(log)
	users := make([]float32, len(log.seqs)*cfg.Dim)
	items := make([]float32, log.items*cfg.Dim)
	init := rng.New(seed, rng.Key("baseline/ials"))
	for i := range items {
		items[i] = float32(init.NormFloat64() * .1 / math.Sqrt(float64(cfg.Dim)))
	}
	for sweep := range cfg.Sweeps {
		solveSide(users, items, byUser, cfg)
		solveSide(items, users, byItem, cfg)
		if err := done(sweep + 1); err != nil {
			return nil, err
		}
	}
	rotate(items, cfg.Dim)
	return newIALS(cfg, items, knownItems(log.counts())), nil
}

// newIALS prepares items, which stand in the eigenbasis of their Gram matrix,
// for fold-in.
func newIALS(cfg IALSConfig, items []float32, k known) *ials {
	m := &ials{cfg: cfg, items: items, gram: make([]float64, cfg.Dim), known: k}
	for i, v := range items {
		m.gram[i%cfg.Dim] += float64(v) * float64(v)
	}
	return m
}

// incidence lists the items of each user and the users of each item, repeats
// included, both in the order of the log.
func incidence(log *trainLog) (byUser, byItem [][]int32) {
	byUser = make([][]int32, len(log.seqs))
	byItem = make([][]int32, log.items)
	for u, seq := range log.seqs {
		for _, v := range seq {
			byUser[u] = append(byUser[u], v.Item)
			byItem[v.Item] = append(byItem[v.Item], int32(u))
		}
	}
	return byUser, byItem
}

// solveSide replaces every row of x by its optimum given y, which it rotates.
func solveSide(x, y []float32, observed [][]int32, cfg IALSConfig) {
	gram := rotate(y, cfg.Dim)
	others := float64(len(y) / cfg.Dim)
	kernel.Parallel(len(observed), func(i int) {
		s := rowSolver{cfg, gram, others}
		s.solve(x[i*cfg.Dim:(i+1)*cfg.Dim], y, observed[i], nil)
	})
}

// rotate turns the rows of y (n, dim) into the eigenbasis of y^T y and returns
// the eigenvalues. Dot products between rows, and the model, stay the same.
func rotate(y []float32, dim int) []float64 {
	n := len(y) / dim
	gram := make([]float32, dim*dim)
	kernel.Gemm(true, false, dim, dim, n, 1, y, dim, y, dim, 0, gram, dim)
	sym := mat.NewSymDense(dim, nil)
	for i := range dim {
		for j := i; j < dim; j++ {
			sym.SetSym(i, j, float64(gram[i*dim+j]))
		}
	}
	var eigen mat.EigenSym
	eigen.Factorize(sym, true)
	var vectors mat.Dense
	eigen.VectorsTo(&vectors)
	basis := make([]float32, dim*dim)
	for i := range dim {
		for j := range dim {
			basis[i*dim+j] = float32(vectors.At(i, j))
		}
	}
	turned := make([]float32, len(y))
	kernel.Gemm(false, false, n, dim, dim, 1, y, dim, basis, dim, 0, turned, dim)
	copy(y, turned)
	values := eigen.Values(nil)
	for i, v := range values {
		values[i] = math.Max(v, 0)
	}
	return values
}

// rowSolver solves one row given the other side in its eigenbasis.
type rowSolver struct {
	cfg    IALSConfig
	gram   []float64
	others float64 // rows of the other side
}

// solve writes argmin over x of sum w(1-x.y)^2 + Unobserved x'Gx + reg |x|^2.
// weights stand beside rows; nil is all ones.
func (s rowSolver) solve(x, y []float32, rows []int32, weights []float64) {
	clear(x)
	if len(rows) == 0 {
		return
	}
	reg := s.cfg.Reg * math.Pow(float64(len(rows))+s.cfg.Unobserved*s.others, s.cfg.RegPower)
	inverse := make([]float32, s.cfg.Dim) // of the diagonal D = Unobserved*G + reg
	for d, g := range s.gram {
		inverse[d] = float32(1 / (s.cfg.Unobserved*g + reg))
	}
	if len(rows) < s.cfg.Dim {
		s.solveDual(x, y, rows, weights, inverse)
	} else {
		s.solvePrimal(x, y, rows, weights, inverse)
	}
}

func weightAt(weights []float64, i int) float64 {
	if weights == nil {
		return 1
	}
	return weights[i]
}

// solveDual: x = D^-1 S' (W^-1 + S D^-1 S')^-1 1, for few rows S (n, Dim).
func (s rowSolver) solveDual(x, y []float32, rows []int32, weights []float64, inverse []float32) {
	n, dim := len(rows), s.cfg.Dim
	scaled := make([]float32, n*dim) // S D^-1
	m := make([]float64, n*n)
	z := make([]float64, n)
	for i, r := range rows {
		at := scaled[i*dim : (i+1)*dim]
		kernel.Mul(at, y[int(r)*dim:(int(r)+1)*dim], inverse)
		for j, q := range rows[:i+1] {
			m[i*n+j] = float64(kernel.Dot(at, y[int(q)*dim:(int(q)+1)*dim]))
		}
		m[i*n+i] += 1 / weightAt(weights, i)
		z[i] = 1
	}
	solveSPD(m, n, z)
	for i, v := range z {
		kernel.Axpy(float32(v), scaled[i*dim:(i+1)*dim], x)
	}
}

// solvePrimal: (D + S'WS) x = S'W 1, for many rows.
func (s rowSolver) solvePrimal(x, y []float32, rows []int32, weights []float64, inverse []float32) {
	n, dim := len(rows), s.cfg.Dim
	plain, weighted := make([]float32, n*dim), make([]float32, n*dim)
	for i, r := range rows {
		row := y[int(r)*dim : (int(r)+1)*dim]
		copy(plain[i*dim:], row)
		kernel.Axpy(float32(weightAt(weights, i)), row, weighted[i*dim:(i+1)*dim])
		kernel.Add(x, x, weighted[i*dim:(i+1)*dim])
	}
	gram := make([]float32, dim*dim)
	kernel.Gemm(true, false, dim, dim, n, 1, weighted, dim, plain, dim, 0, gram, dim)
	a, b := make([]float64, dim*dim), make([]float64, dim)
	for i, v := range gram {
		a[i] = float64(v)
	}
	for d := range dim {
		a[d*dim+d] += 1 / float64(inverse[d])
		b[d] = float64(x[d])
	}
	solveSPD(a, dim, b)
	for d := range dim {
		x[d] = float32(b[d])
	}
}

// with is the model with another Decay of the fold-in.
func (m *ials) with(cfg IALSConfig) *ials {
	other := *m
	other.cfg = cfg
	return &other
}

func (m *ials) Name() string { return OrderIALS }

func (m *ials) Scores(history []market.Visit, now int64, dst []float32) {
	scoreOne(m, history, now, dst)
}

// foldHistory is how many of the last visits factor models fold in.
const foldHistory = 50

func (m *ials) scoreBatch(queries []Query, dst []float32) {
	dim, n := m.cfg.Dim, len(m.prior)
	x := make([]float32, len(queries)*dim)
	histories := m.histories(queries)
	kernel.Parallel(len(queries), func(i int) {
		m.foldIn(x[i*dim:(i+1)*dim], histories[i])
	})
	kernel.Gemm(false, true, len(queries), n, dim, 1, x, dim, m.items, dim, 0, dst, n)
	for i, h := range histories {
		if len(h) == 0 {
			copy(dst[i*n:(i+1)*n], m.prior)
		}
	}
}

// histories are the visits that a factor model folds in.
func (k known) histories(queries []Query) [][]market.Visit {
	list := make([][]market.Visit, len(queries))
	for i, q := range queries {
		list[i] = k.read(q.History, foldHistory)
	}
	return list
}

func (m *ials) foldIn(x []float32, history []market.Visit) {
	rows, weights := make([]int32, len(history)), make([]float64, len(history))
	w := 1.0
	for i := len(history) - 1; i >= 0; i-- {
		rows[i], weights[i] = history[i].Item, w
		w = math.Max(w*m.cfg.Decay, 1e-6)
	}
	rowSolver{m.cfg, m.gram, float64(len(m.prior))}.solve(x, m.items, rows, weights)
}
