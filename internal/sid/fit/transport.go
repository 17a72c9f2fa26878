package fit

import (
	"cmp"
	"math"
	"slices"

	"github.com/gr2/gr2/internal/kernel"
)

// placeByTransport is rule Sinkhorn.
func (w *walker) placeByTransport(order []int32) {
	last := w.levels - 1
	for _, row := range order {
		w.descend(row, last)
	}
	keys := make([]uint64, len(w.codes)/w.levels)
	for row := range keys {
		keys[row] = pack(w.code(int32(row))[:last])
	}
	order = slices.Clone(order)
	slices.SortStableFunc(order, func(a, b int32) int { return cmp.Compare(keys[a], keys[b]) })
	var groups [][]int32 // by prefix
	for len(order) > 0 {
		n := 1
		for n < len(order) && keys[order[n]] == keys[order[0]] {
			n++
		}
		groups, order = append(groups, order[:n]), order[n:]
	}
	kernel.Parallel(len(groups), func(i int) { w.repair(groups[i]) })
}

// repair gives the rows of one prefix last codes of their own. Those alone on
// their nearest code keep it; the others are transported to the codes left over.
func (w *walker) repair(rows []int32) {
	last := w.levels - 1
	users := make([]int, w.books.Width)
	for _, row := range rows {
		users[w.code(row)[last]]++
	}
	code := slices.Clone(w.code(rows[0]))
	taken := make([]bool, w.books.Width)
	var free []uint8
	for c := range taken {
		code[last] = uint8(c)
		if taken[c] = !w.unused(code); !taken[c] && users[c] != 1 {
			free = append(free, uint8(c))
		}
	}
	var colliding []int32
	for _, row := range rows {
		if c := w.code(row)[last]; taken[c] || users[c] > 1 {
			colliding = append(colliding, row)
		}
	}
	if len(colliding) > 0 {
		for i, c := range transport(w.costs(colliding, free), len(colliding), len(free)) {
			w.code(colliding[i])[last] = free[c]
		}
	}
}

// costs is the squared distance, up to a constant of the row, of each row to each
// code of the last level (rows x codes). Codes without a centroid cost twice
// what the dearest other one costs beyond the cheapest.
func (w *walker) costs(rows []int32, codes []uint8) []float64 {
	last := w.levels - 1
	residual, rank := make([]float32, w.latent.Cols), make([]float32, w.books.Width)
	live := w.books.Levels[last].Rows
	costs := make([]float64, 0, len(rows)*len(codes))
	for _, row := range rows {
		w.books.residual(w.latent.Row(int(row)), w.code(row)[:last], residual)
		w.books.distances(w.norms, last, residual, rank)
		low, high := slices.Min(rank[:live]), slices.Max(rank[:live])
		for _, c := range codes {
			cost := float64(rank[c] - low)
			if int(c) >= live {
				cost = 2*float64(high-low) + 1
			}
			costs = append(costs, cost)
		}
	}
	return costs
}

const (
	sinkhornRounds = 50
	sinkhornBlur   = 0.05 // entropic regularisation, as a share of the mean cost
)

// transport gives each of the rows a column of its own at a small total cost
// (rows x columns, rows <= columns): entropic optimal transport by Sinkhorn's
// scaling (Cuturi 2013), where each row sends a mass of 1 and a column takes at
// most 1, then the largest masses first.
func transport(costs []float64, rows, columns int) []int {
	type cell struct {
		at   int
		mass float64
	}
	plan := sinkhorn(costs, rows, columns)
	cells := make([]cell, len(plan))
	for i, mass := range plan {
		cells[i] = cell{i, mass}
	}
	slices.SortFunc(cells, func(a, b cell) int {
		return cmp.Or(cmp.Compare(b.mass, a.mass), cmp.Compare(costs[a.at], costs[b.at]), cmp.Compare(a.at, b.at))
	})
	out, taken := make([]int, rows), make([]bool, columns)
	for i := range out {
		out[i] = -1
	}
	for _, c := range cells {
		if row, column := c.at/columns, c.at%columns; out[row] < 0 && !taken[column] {
			out[row], taken[column] = column, true
		}
	}
	return out
}

// sinkhorn is the transport plan (rows x columns) diag(u) K diag(v) with K =
// exp(-cost/blur): u makes each row's mass 1, v holds each column to at most 1.
func sinkhorn(costs []float64, rows, columns int) []float64 {
	k := gibbs(costs)
	v, sums := make([]float64, columns), make([]float64, columns)
	for c := range v {
		v[c] = 1
	}
	u := make([]float64, rows)
	for range sinkhornRounds {
		clear(sums)
		for r := range u {
			row, total := k[r*columns:(r+1)*columns], 0.0
			for c, x := range row {
				total += x * v[c]
			}
			u[r] = 1 / total
			for c, x := range row {
				sums[c] += x * u[r]
			}
		}
		for c, sum := range sums {
			v[c] = min(1, 1/sum)
		}
	}
	for i := range k {
		k[i] *= u[i/columns] * v[i%columns]
	}
	return k
}

// gibbs is exp(-cost/blur), kept from 0 so that every column is within reach.
func gibbs(costs []float64) []float64 {
	const tiny = 1e-50
	mean := 0.0
	for _, c := range costs {
		mean += c / float64(len(costs))
	}
	k := make([]float64, len(costs))
	for i, c := range costs {
		k[i] = 1
		if mean > 0 {
			k[i] = max(tiny, math.Exp(-c/(sinkhornBlur*mean)))
		}
	}
	return k
}
