package kerneltest

import (
	"math"
	"testing"

	"github.com/gr2/gr2/internal/kernel"
)

var (
	inf = float32(math.Inf(1))
	nan = float32(math.NaN())
)

// conformExp sweeps the whole range of Exp and tries its ends.
func conformExp(t *testing.T) {
	var worst, at float64
	x, y := make([]float32, 8), make([]float32, 8)
	for step := -87.3; step < 88.7; step += 0.00173 {
		for i := range x {
			x[i] = float32(step + float64(i)*0.00021)
		}
		kernel.Exp(y, x)
		for i := range x {
			want := math.Exp(float64(x[i]))
			if e := math.Abs(float64(y[i])-want) / want; !(e <= worst) {
				worst, at = e, float64(x[i])
			}
		}
	}
	if !(worst < 2e-7) {
		t.Errorf("Exp on %s: relative error %g at %g, want < 2e-7", kernel.Active(), worst, at)
	}
	ends := []float32{-inf, -1e30, -104.5, -100, 0, 88.8, inf, nan}
	wants := []float32{0, 0, 0, float32(math.Exp(-100)), 1, inf, inf, nan}
	kernel.Exp(y, ends)
	for i, want := range wants {
		if bothNaN := y[i] != y[i] && want != want; !bothNaN && y[i] != want {
			t.Errorf("Exp(%g) on %s = %g, want %g", ends[i], kernel.Active(), y[i], want)
		}
	}
}

// conformRowSpecials tries NaN and Inf in every lane of a row.
func conformRowSpecials(t *testing.T) {
	row := make([]float32, 19)
	fill := func(i int, v float32) []float32 {
		for j := range row {
			row[j] = float32(j) / 4
		}
		row[i] = v
		return row
	}
	expect := func(what string, i int, got, want float32) {
		t.Helper()
		if bothNaN := got != got && want != want; !bothNaN && math.Abs(float64(got-want)) > 1e-5 && got != want {
			t.Errorf("%s on %s with the special in lane %d = %g, want %g", what, kernel.Active(), i, got, want)
		}
	}
	for i := range row {
		top := float32(4.5)
		if i == len(row)-1 {
			top = 4.25
		}
		expect("Max past NaN", i, kernel.Max(fill(i, nan)), top)
		expect("Max of Inf", i, kernel.Max(fill(i, inf)), inf)
		expect("Sum of NaN", i, kernel.Sum(fill(i, nan)), nan)
		expect("Dot of NaN", i, kernel.Dot(fill(i, nan), make([]float32, len(row))), nan)
		expect("LogSumExp of Inf", i, kernel.LogSumExp(fill(i, inf)), inf)
		expect("LogSumExp of NaN", i, kernel.LogSumExp(fill(i, nan)), nan)
		kernel.Softmax(fill(i, -inf))
		expect("Softmax of -Inf", i, row[i], 0)
		expect("sum of Softmax beside -Inf", i, kernel.Sum(row), 1)
		kernel.Softmax(fill(i, nan))
		expect("Softmax beside NaN", i, row[(i+1)%len(row)], nan)
	}
	for i := range row {
		row[i] = -inf
	}
	expect("LogSumExp of -Inf only", 0, kernel.LogSumExp(row), -inf)
}
