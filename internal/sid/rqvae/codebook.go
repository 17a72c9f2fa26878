package rqvae

import (
	"cmp"
	"slices"

	"github.com/gr2/gr2/internal/embed"
	"github.com/gr2/gr2/internal/nn"
	"github.com/gr2/gr2/internal/sid/fit"
)

// codebook is one level: its codes and what the batch under way made of them.
type codebook struct {
	codes *nn.Param // width x latent
	idle  []int     // steps since each code was last chosen

	residual embed.Matrix // what the level quantises: batch x latent
	chosen   []int32      // code of each row
	distance []float32    // squared, from the row to its code
}

func (b *codebook) matrix() embed.Matrix {
	return embed.Matrix{Rows: b.codes.Rows, Cols: b.codes.Cols, Data: b.codes.Value}
}

// choose finds the nearest code of each row of residual, which it keeps.
func (b *codebook) choose(residual embed.Matrix) {
	b.residual = residual
	b.chosen, b.distance = resize(b.chosen, residual.Rows), resize(b.distance, residual.Rows)
	fit.AssignNearest(residual, b.matrix(), b.chosen, b.distance)
	for c := range b.idle {
		b.idle[c]++
	}
	for _, c := range b.chosen {
		b.idle[c] = 0
	}
}

func resize[T any](x []T, n int) []T {
	if cap(x) < n {
		return make([]T, n)
	}
	return x[:n]
}

// average moves each chosen code to gamma*code + (1-gamma)*mean of the residuals
// that chose it.
func (b *codebook) average(gamma float64) {
	sums, counts := make([]float64, len(b.codes.Value)), make([]int, b.codes.Rows)
	for i, c := range b.chosen {
		counts[c]++
		sum := sums[int(c)*b.codes.Cols : int(c+1)*b.codes.Cols]
		for j, v := range b.residual.Row(i) {
			sum[j] += float64(v)
		}
	}
	for i, old := range b.codes.Value {
		if n := counts[i/b.codes.Cols]; n > 0 {
			b.codes.Value[i] = float32(gamma*float64(old) + (1-gamma)*sums[i]/float64(n))
		}
	}
}

// blend moves each chosen code from what the optimiser made of it back towards
// what it was: gamma*before + (1-gamma)*code.
func (b *codebook) blend(before []float32, gamma float64) {
	for i, old := range before {
		if b.idle[i/b.codes.Cols] == 0 {
			b.codes.Value[i] = float32(gamma*float64(old) + (1-gamma)*float64(b.codes.Value[i]))
		}
	}
}

// reset replaces codes that went unused for limit steps by the residuals of the
// batch that are farthest from their codes, no two equal, and returns which
// codes. A residual that its code meets exactly replaces none.
func (b *codebook) reset(limit int) (revived []int) {
	var dead []int
	for c, n := range b.idle {
		if n >= limit {
			dead = append(dead, c)
		}
	}
	if len(dead) == 0 {
		return nil
	}
	order := make([]int, len(b.distance))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(x, y int) int { return cmp.Compare(b.distance[y], b.distance[x]) })
	last := -1
	for _, row := range order {
		if len(dead) == 0 || b.distance[row] <= 0 {
			break
		}
		if last >= 0 && b.distance[row] == b.distance[last] && slices.Equal(b.residual.Row(row), b.residual.Row(last)) {
			continue
		}
		last = row
		c := dead[0]
		dead, revived = dead[1:], append(revived, c)
		copy(b.codes.Value[c*b.codes.Cols:(c+1)*b.codes.Cols], b.residual.Row(row))
		b.idle[c] = 0
	}
	return revived
}
