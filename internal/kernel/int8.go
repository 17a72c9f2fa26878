package kernel

import (
	"fmt"
	"math"
)

const (
	// roundDepth bounds the columns of a block: what has a scale of its own.
	// A block of 256 products of eight bits is exact even in float32.
	roundDepth  = 256
	panelRows   = 16       // rows of weights that lie beside each other
	panelBytes  = 16 * 4   // of a panel for four columns
	byteRowsMax = 6        // of A that dotBytes takes, over the variants
	int8Rows    = 48       // of C in a task of GemmInt8
	int8Cols    = 128      // of C in a task: its weights of one block stay in L1
	int8Speed   = 4        // multiply-adds in the time of one of float32, about
	byteZero    = 128      // the byte of an activation of 0
	tooSmall    = 0x1p-100 // activations below are as good as 0; 127/x is finite above
)

// Int8 is a matrix of weights rounded to eight bits, laid out for GemmInt8. The
// columns are cut into blocks of at most roundDepth; within a block, a row is a
// float32 scale times integers from -127 to 127.
type Int8 struct {
	rows, cols int
	wide       int       // rows with the last panel filled up
	depth      int       // columns of a block, a multiple of four; the last may have fewer
	data       []int8    // (blocks, panels, columns/4, panelRows, 4)
	scale      []float32 // (blocks, wide)
	shift      []int32   // (blocks, wide): -byteZero times the sum of the integers
}

// RoundInt8 rounds a matrix stored as w, (rows, cols), without gaps. A row with
// a NaN or an infinity gets NaN for the scale of that block.
func RoundInt8(rows, cols int, w []float32) *Int8 {
	if rows <= 0 || cols <= 0 || len(w) != rows*cols {
		panic(fmt.Sprintf("kernel: RoundInt8: %d weights are no matrix of %dx%d", len(w), rows, cols))
	}
	m := &Int8{rows: rows, cols: cols, wide: ceil(rows, panelRows) * panelRows, depth: blockDepth(cols)}
	blocks := ceil(cols, m.depth)
	m.data = make([]int8, ceil(cols, 4)*4*m.wide)
	m.scale, m.shift = make([]float32, blocks*m.wide), make([]int32, blocks*m.wide)
	Parallel(m.wide/panelRows, func(panel int) { m.roundPanel(panel, w) })
	return m
}

// Shape returns the number of rows and of columns.
func (m *Int8) Shape() (rows, cols int) { return m.rows, m.cols }

// blockDepth cuts a row into blocks of about the same size.
func blockDepth(cols int) int { return even(cols, roundDepth, 4) }

// quads is how many groups of four columns the block from column from on has.
func quads(from, depth, cols int) int { return ceil(min(depth, cols-from), 4) }

// panel is where the panel of a block begins that starts at column from.
func (m *Int8) panel(from, panel int) []int8 {
	return m.data[from*m.wide+panel*quads(from, m.depth, m.cols)*panelBytes:]
}

func (m *Int8) roundPanel(panel int, w []float32) {
	v := active.Load()
	rounded := make([]uint8, m.depth)
	for block, from := 0, 0; from < m.cols; block, from = block+1, from+m.depth {
		to := min(from+m.depth, m.cols)
		out := m.panel(from, panel)
		for j := range min(panelRows, m.rows-panel*panelRows) {
			row := panel*panelRows + j
			at := block*m.wide + row
			m.scale[at] = v.round(rounded, w[row*m.cols+from:row*m.cols+to])
			for i, b := range rounded[:to-from] {
				q := int8(int(b) - byteZero)
				out[(i/4*panelRows+j)*4+i%4] = q
				m.shift[at] -= byteZero * int32(q)
			}
		}
	}
}

// round writes a block as bytes, byteZero and the integer, and returns its
// scale: that of the largest magnitude over 127. A block that holds what is no
// finite number gets the scale NaN.
func (v *variant) round(dst []uint8, x []float32) (scale float32) {
	dst = dst[:len(x)]
	switch top := v.absMax(x); {
	case top < tooSmall:
		v.toBytes(dst, x, 0)
		return 0
	case top <= math.MaxFloat32:
		v.toBytes(dst, x, 127/top)
		return top / 127
	}
	for i := range dst {
		dst[i] = byteZero
	}
	return float32(math.NaN())
}

// Int8Rows is rows of activations rounded to eight bits as Int8 has them, one
// scale for each row and block: the left operand of GemmInt8.
type Int8Rows struct {
	rows, cols    int
	depth, stride int       // columns of a block; bytes of a row
	data          []uint8   // (rows, stride): byteZero and the integer
	scale         []float32 // (blocks, rows)
}

// Reset makes room for rows, which must all be Set before they are used.
func (r *Int8Rows) Reset(rows, cols int) {
	if rows < 0 || cols <= 0 {
		panic(fmt.Sprintf("kernel: Int8Rows of %dx%d", rows, cols))
	}
	r.rows, r.cols, r.depth, r.stride = rows, cols, blockDepth(cols), ceil(cols, 4)*4
	if need := rows * r.stride; cap(r.data) < need {
		r.data = make([]uint8, need)
	} else {
		r.data = r.data[:need]
	}
	r.scale = grow(r.scale, rows*ceil(cols, r.depth))
}

// Set rounds x, which becomes row i. Rows may be set concurrently.
func (r *Int8Rows) Set(i int, x []float32) {
	v := active.Load()
	x = match(x, r.cols)
	row := r.data[i*r.stride : (i+1)*r.stride]
	for block, from := 0, 0; from < r.cols; block, from = block+1, from+r.depth {
		r.scale[block*r.rows+i] = v.round(row[from:], x[from:min(from+r.depth, r.cols)])
	}
}

// GemmInt8 computes C = A*B^T, or C += A*B^T with add, where A is m x k, B is
// n x k and C is m x n with the row stride ldc. The sums within a block are
// exact integers: all variants give the same bits, and a row of C depends on its
// row of A and on B alone.
func GemmInt8(a *Int8Rows, b *Int8, add bool, c []float32, ldc int) {
	if a.rows == 0 {
		return
	}
	if a.cols != b.cols {
		panic(fmt.Sprintf("kernel: GemmInt8: rows of %d activations for rows of %d weights", a.cols, b.cols))
	}
	checkMatrix("C", a.rows, b.rows, c, ldc)
	g := gemmsInt8.get()
	if g == nil {
		g = new(gemmInt8)
		g.run = g.compute
	}
	g.v, g.a, g.b, g.add, g.c, g.ldc = active.Load(), a, b, add, c, ldc
	g.colTasks = ceil(b.rows, int8Cols)
	tasks := ceil(a.rows, int8Rows) * g.colTasks
	if WorthSharing(a.rows * b.rows * b.cols / int8Speed) {
		Parallel(tasks, g.run)
	} else {
		for i := range tasks {
			g.compute(i)
		}
	}
	g.a, g.b, g.c = nil, nil, nil
	gemmsInt8.put(g)
}

// gemmInt8 is one call of GemmInt8.
type gemmInt8 struct {
	v        *variant
	a        *Int8Rows
	b        *Int8
	add      bool
	c        []float32
	ldc      int
	colTasks int // tasks beside each other
	run      func(int)
}

var gemmsInt8 freelist[gemmInt8]

// compute is a task: some rows of C times some columns.
func (g *gemmInt8) compute(task int) {
	row, col := task/g.colTasks*int8Rows, task%g.colTasks*int8Cols
	rows, cols := min(int8Rows, g.a.rows-row), min(int8Cols, g.b.rows-col)
	for block, from := 0, 0; from < g.b.cols; block, from = block+1, from+g.b.depth {
		for i := 0; i < rows; {
			n := rowGroup(rows-i, g.v.byteRows)
			g.computeBlock(block, from, row+i, n, col, cols)
			i += n
		}
	}
}

// computeBlock adds the products of one block, which starts at column from of A
// and B, for a few rows of C. Columns that fill no panel go through a tile.
func (g *gemmInt8) computeBlock(block, from, row, rows, col, cols int) {
	q := quads(from, g.b.depth, g.b.cols)
	a, aScale := g.a.data[row*g.a.stride+from:], g.a.scale[block*g.a.rows+row:]
	add := g.add || block > 0
	if whole := cols / panelRows; whole > 0 {
		at := block*g.b.wide + col
		g.v.dotBytes(rows, whole, q, a, g.a.stride, aScale, g.b.panel(from, col/panelRows),
			g.b.scale[at:], g.b.shift[at:], add, g.c[row*g.ldc+col:], g.ldc)
	}
	if rest := cols % panelRows; rest > 0 {
		col += cols - rest
		at := block*g.b.wide + col
		s := takeScratch()
		g.v.dotBytes(rows, 1, q, a, g.a.stride, aScale, g.b.panel(from, col/panelRows),
			g.b.scale[at:], g.b.shift[at:], false, s.tile[:], panelRows)
		for i := range rows {
			c := g.c[(row+i)*g.ldc+col:][:rest]
			for j, t := range s.tile[i*panelRows:][:rest] {
				if add {
					t += c[j]
				}
				c[j] = t
			}
		}
		scratches.put(s)
	}
}
