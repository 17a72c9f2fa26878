package control

import (
	"math"

	"gonum.org/v1/gonum/mat"
)

// group is one slate for the fit: features (K x F) and the target distribution.
type group struct {
	rows   [][]float64
	target []float64
}

const (
	newtonSteps = 50
	newtonStop  = 1e-12 // half the squared Newton decrement, in nats
)

// fitSoftmax minimises mean cross-entropy + l2/2 |w|^2 by damped Newton steps
// from 0, in a fixed order of summation. It returns the weights and the mean
// cross-entropy there.
func fitSoftmax(groups []group, l2 float64) (w []float64, loss float64) {
	features := len(groups[0].rows[0])
	w = make([]float64, features)
	trial := make([]float64, features)
	gradient := mat.NewVecDense(features, nil)
	hessian := mat.NewSymDense(features, nil)
	var step mat.VecDense
	var chol mat.Cholesky
	value := objective(groups, w, l2)
	for range newtonSteps {
		derivatives(groups, w, l2, gradient, hessian)
		if !chol.Factorize(hessian) || chol.SolveVecTo(&step, gradient) != nil {
			break // l2 is too small for this data's rounding: keep what there is
		}
		decrement := mat.Dot(&step, gradient) / 2
		if decrement < newtonStop {
			break
		}
		improved := false
		for size := 1.0; size > 1e-6 && !improved; size /= 2 {
			for f := range w {
				trial[f] = w[f] - size*step.AtVec(f)
			}
			if next := objective(groups, trial, l2); next < value {
				value, improved = next, true
				copy(w, trial)
			}
		}
		if !improved {
			break
		}
	}
	return w, objective(groups, w, 0)
}

// objective is the mean cross-entropy plus the penalty.
func objective(groups []group, w []float64, l2 float64) float64 {
	var probability []float64
	sum := 0.0
	for _, g := range groups {
		var logZ float64
		probability, logZ = softmax(probability, g.rows, w)
		for k, t := range g.target {
			sum += t * (logZ - score(g.rows[k], w))
		}
	}
	penalty := 0.0
	for _, x := range w {
		penalty += x * x
	}
	return sum/float64(len(groups)) + l2/2*penalty
}

// derivatives fills the gradient and the Hessian of objective: with p the
// softmax and t the target, sum (p-t) x and sum p (x-m)(x-m)', m = sum p x.
func derivatives(groups []group, w []float64, l2 float64, gradient *mat.VecDense, hessian *mat.SymDense) {
	features := len(w)
	g, h := make([]float64, features), make([]float64, features*features)
	mean, centred := make([]float64, features), make([]float64, features)
	var probability []float64
	for _, slate := range groups {
		probability, _ = softmax(probability, slate.rows, w)
		clear(mean)
		for k, row := range slate.rows {
			for f, x := range row {
				mean[f] += probability[k] * x
				g[f] += (probability[k] - slate.target[k]) * x
			}
		}
		for k, row := range slate.rows {
			for f, x := range row {
				centred[f] = x - mean[f]
			}
			for a, x := range centred {
				px := probability[k] * x
				for b, y := range centred[:a+1] {
					h[a*features+b] += px * y
				}
			}
		}
	}
	scale := 1 / float64(len(groups))
	for a := range features {
		gradient.SetVec(a, scale*g[a]+l2*w[a])
		for b := range a + 1 {
			hessian.SetSym(a, b, scale*h[a*features+b])
		}
		hessian.SetSym(a, a, hessian.At(a, a)+l2)
	}
}

// softmax fills dst with the probabilities of the rows and gives log Z.
func softmax(dst []float64, rows [][]float64, w []float64) ([]float64, float64) {
	dst = dst[:0]
	top := math.Inf(-1)
	for _, row := range rows {
		s := score(row, w)
		dst = append(dst, s)
		top = max(top, s)
	}
	z := 0.0
	for k := range dst {
		dst[k] = math.Exp(dst[k] - top)
		z += dst[k]
	}
	for k := range dst {
		dst[k] /= z
	}
	return dst, top + math.Log(z)
}

func score(row, w []float64) float64 {
	s := 0.0
	for f, x := range row {
		s += x * w[f]
	}
	return s
}
