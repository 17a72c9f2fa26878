package embed

import (
	"github.com/gr2/gr2/internal/kernel"
	"github.com/gr2/gr2/internal/text"
)

// sparse is a matrix in compressed rows: the entries of row i are those from
// start[i] to start[i+1], their columns ascending.
type sparse struct {
	cols  int
	start []int
	index []int32
	value []float32
}

// newSparse is the matrix of the given rows.
func newSparse(rows []text.Sparse, cols int) sparse {
	m := sparse{cols: cols, start: make([]int, 1, len(rows)+1)}
	size := 0
	for _, row := range rows {
		size += len(row.Index)
		m.start = append(m.start, size)
	}
	m.index, m.value = make([]int32, 0, size), make([]float32, 0, size)
	for _, row := range rows {
		m.index = append(m.index, row.Index...)
		m.value = append(m.value, row.Value...)
	}
	return m
}

func (m sparse) rows() int { return len(m.start) - 1 }

// transpose makes products with the transpose run row by row, too.
func (m sparse) transpose() sparse {
	t := sparse{m.rows(), make([]int, m.cols+1), make([]int32, len(m.index)), make([]float32, len(m.index))}
	for _, j := range m.index {
		t.start[j+1]++
	}
	for j := range m.cols {
		t.start[j+1] += t.start[j]
	}
	next := append([]int(nil), t.start[:m.cols]...)
	for i := range m.rows() {
		for k := m.start[i]; k < m.start[i+1]; k++ {
			at := next[m.index[k]]
			next[m.index[k]]++
			t.index[at], t.value[at] = int32(i), m.value[k]
		}
	}
	return t
}

// times is the product with x, (rows, x.Cols).
func (m sparse) times(x Matrix) Matrix {
	out := NewMatrix(m.rows(), x.Cols)
	eachChunk(m.rows(), func(i int) {
		from, to := m.start[i], m.start[i+1]
		project(out.Row(i), m.index[from:to], m.value[from:to], x)
	})
	return out
}

// project adds to dst the rows of x at index, times value.
func project(dst []float32, index []int32, value []float32, x Matrix) {
	for k, j := range index {
		kernel.Axpy(value[k], x.Row(int(j)), dst)
	}
}

// chunk is how many rows one task takes.
const chunk = 64

// eachChunk runs body for 0 to n-1 on all threads, chunk of them a task.
func eachChunk(n int, body func(i int)) {
	kernel.Parallel((n+chunk-1)/chunk, func(c int) {
		for i := c * chunk; i < min((c+1)*chunk, n); i++ {
			body(i)
		}
	})
}
