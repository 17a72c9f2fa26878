package kernel

import "fmt"

// Block sizes in elements. A packed block of A (rowBlock x depthBlock) and the
// packed slab of B (packMax at most), which all workers share or one has to itself,
// stay in L2, a panel of B (depthBlock x nr) in L1.
const (
	depthBlock = 256
	packMax    = 1 << 18
	rowBlock   = 96 // about; of C in a task. A panel of B should meet a few tiles
	packSteps  = 16 // steps packed at a time that lie apart in memory
	fewRows    = 64 // up to here packing costs more than it saves
	colBlock   = 64 // columns a task of the few-row path takes

	// Up to so many rows, and from so many panels of B on, a task takes all rows of
	// its columns; there are about so many tasks or more.
	ownRows  = 512
	ownTasks = 8

	// Elements with this distance compete for the same few lines of L1, and so do
	// those with a multiple of it.
	aliasing = 1024
)

// Gemm computes C = alpha*op(A)*op(B) + beta*C, where op(A) is m x k, op(B) is
// k x n and C is m x n, and op transposes when asked to: A is stored k x m if
// transA, B is stored n x k if transB. lda, ldb and ldc are the row strides of
// the stored matrices. C must not overlap A or B. With beta = 0, C is not read;
// with alpha = 0 or k = 0, A and B are not read.
func Gemm(transA, transB bool, m, n, k int, alpha float32, a []float32, lda int, b []float32, ldb int, beta float32, c []float32, ldc int) {
	multiply(false, transA, transB, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)
}

// GemmBF16 is Gemm with the elements of A and B rounded to bfloat16, to nearest
// even, where C has more than 64 rows. Products are added up in float32. A variant
// with instructions for pairs of them takes subnormal ones for zeros.
func GemmBF16(transA, transB bool, m, n, k int, alpha float32, a []float32, lda int, b []float32, ldb int, beta float32, c []float32, ldc int) {
	multiply(true, transA, transB, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)
}

func multiply(narrow, transA, transB bool, m, n, k int, alpha float32, a []float32, lda int, b []float32, ldb int, beta float32, c []float32, ldc int) {
	if m <= 0 || n <= 0 {
		return
	}
	checkMatrix("C", m, n, c, ldc)
	if alpha == 0 || k <= 0 {
		for i := range m {
			scaleOrClear(c[i*ldc:i*ldc+n], beta)
		}
		return
	}
	checkStored("A", transA, m, k, a, lda)
	checkStored("B", transB, k, n, b, ldb)
	v := active.Load()
	if m <= fewRows && !WorthSharing(m*n*k) && !(transA && transB) {
		v.fewRows(m, n, k, alpha, operand{a, lda, transA}, operand{b, ldb, transB}, beta, c, ldc)
		return
	}
	g := takeGemm()
	g.v, g.narrow = v, narrow
	g.packsA = narrow || lda%aliasing == 0
	g.micro, g.pairs = v.micro, 1
	if narrow && v.microPairs != nil {
		g.micro, g.pairs = v.microPairs, 2
	}
	g.m, g.n, g.k = m, n, k
	g.alpha, g.beta = alpha, beta
	g.a, g.b, g.c = operand{a, lda, transA}, operand{b, ldb, transB}, operand{c, ldc, false}
	if m <= fewRows {
		g.runFewRows()
	} else {
		g.runPacked()
	}
	g.release()
}

func checkStored(name string, trans bool, rows, cols int, x []float32, ld int) {
	if trans {
		rows, cols = cols, rows
	}
	checkMatrix(name, rows, cols, x, ld)
}

func checkMatrix(name string, rows, cols int, x []float32, ld int) {
	if ld < cols {
		panic(fmt.Sprintf("kernel: Gemm: %s has rows of %d elements but a stride of %d", name, cols, ld))
	}
	if need := (rows-1)*ld + cols; len(x) < need {
		panic(fmt.Sprintf("kernel: Gemm: %s is %dx%d with stride %d and needs %d elements, not %d", name, rows, cols, ld, need, len(x)))
	}
}

// operand is a stored matrix. trans says that the matrix meant is its transpose.
type operand struct {
	data  []float32
	ld    int
	trans bool
}

// from returns the storage from element (row, col) of the matrix meant.
func (o operand) from(row, col int) []float32 {
	if o.trans {
		row, col = col, row
	}
	return o.data[row*o.ld+col:]
}

// gemm is one call of Gemm. Its bound methods are kept with it, so that handing
// them to Parallel allocates nothing.
type gemm struct {
	v           *variant
	m, n, k     int
	alpha, beta float32
	a, b, c     operand

	narrow bool // operands are rounded to bfloat16
	packsA bool // A is not read in place
	pairs  int  // depths that a step of a panel holds: 2 where they are paired
	micro  func(rows, k int, alpha float32, a tiles, b []float32, beta float32, c []float32, ldc int)

	now, next          slab // of B: multiplied, and packed meanwhile
	block              int  // depths that a panel of A holds
	rowTasks, colTasks int  // tasks below and beside each other
	colsPerTask        int  // of C
	tiles              int  // tasks of the slab under way

	packTask, tileTask, ownTask, fewTask func(int)
}

// slab is a part of B: columns col.. (cols of them), depths depth.. .
type slab struct {
	col, cols, depth, depths int
	steps                    int       // of a panel: depths, or pairs of them
	packed                   []float32 // panels of nr columns, each steps x nr
}

var gemms freelist[gemm]

func takeGemm() *gemm {
	g := gemms.get()
	if g == nil {
		g = new(gemm)
		g.packTask, g.tileTask, g.ownTask, g.fewTask = g.packPart, g.tileOrPack, g.ownColumns, g.fewRowsTask
	}
	return g
}

func (g *gemm) release() {
	g.a, g.b, g.c = operand{}, operand{}, operand{}
	gemms.put(g)
}

// runPacked walks over slabs of B, unless C has few rows. While one slab is
// multiplied, a block of depths at a time, the next one is packed; where A is
// packed, each task does that for its rows. The depths are cut by shape alone, so
// the result does not depend on Threads.
func (g *gemm) runPacked() {
	nr := g.v.nr
	g.block = even(g.k, depthBlock, 16)
	if panels := ceil(g.n, nr); g.m <= ownRows && panels >= ownTasks && !g.packsA {
		tasks := max(ownTasks, 4*Threads())
		g.colsPerTask = min(ceil(panels, tasks), max(1, packMax/g.block/nr)) * nr
		g.parallel(ceil(g.n, g.colsPerTask), g.m*g.k*g.colsPerTask, g.ownTask)
		return
	}
	threads := Threads()
	tasks := 4 * threads // of a slab, at least
	g.rowTasks = ceil(g.m, rowBlock)
	if g.rowTasks > threads && g.rowTasks*ceil(tasks, g.rowTasks)%threads > 0 {
		g.rowTasks = ceil(g.rowTasks, threads) * threads // lest all wait for a last one
	}
	wide := even(g.n, max(nr, packMax/g.block), nr)
	deep := max(1, packMax/wide/g.block) * g.block
	g.next.col, g.next.depth = 0, 0
	g.cut(&g.next, wide, deep)
	g.parallel(g.parts(), 4*packSteps*g.next.cols, g.packTask)
	for more := true; more; {
		g.now, g.next = g.next, g.now
		more = g.follow(wide, deep)
		packs := 0
		if more {
			packs = g.parts()
		}
		panels := ceil(g.now.cols, nr)
		g.colsPerTask = ceil(panels, min(panels, ceil(tasks, g.rowTasks))) * nr
		g.colTasks = ceil(g.now.cols, g.colsPerTask)
		g.tiles = g.rowTasks * g.colTasks
		g.parallel(g.tiles+packs, g.now.depths*ceil(g.m, g.rowTasks)*g.colsPerTask, g.tileTask)
	}
}

// follow makes next the slab that comes after now and reports whether there is
// one: down the depths first, then to the right.
func (g *gemm) follow(wide, deep int) bool {
	g.next.col, g.next.depth = g.now.col, g.now.depth+g.now.depths
	if g.next.depth == g.k {
		g.next.col, g.next.depth = g.now.col+g.now.cols, 0
	}
	if g.next.col == g.n {
		return false
	}
	g.cut(&g.next, wide, deep)
	return true
}

// cut sizes the slab that begins at its col and depth.
func (g *gemm) cut(s *slab, wide, deep int) {
	s.cols, s.depths = min(wide, g.n-s.col), min(deep, g.k-s.depth)
	s.steps = ceil(s.depths, g.pairs)
	s.packed = grow(s.packed, ceil(s.cols, g.v.nr)*g.v.nr*s.steps)
}

// even cuts n into pieces of about the same size, a multiple of unit, of about
// limit at most.
func even(n, limit, unit int) int { return ceil(ceil(n, ceil(n, limit)), unit) * unit }

// parallel runs n tasks of the given work each, inline when they are small.
func (g *gemm) parallel(n, work int, task func(int)) {
	if WorthSharing(n * work) {
		Parallel(n, task)
		return
	}
	for i := range n {
		task(i)
	}
}

// parts is how many tasks pack the next slab.
func (g *gemm) parts() int {
	if g.b.trans {
		return ceil(g.next.cols, g.v.nr)
	}
	return ceil(g.next.depths, packSteps)
}

// packPart packs a part of the next slab: a panel of a transposed B, else some
// steps of all panels, which lie apart in memory, each in one piece.
func (g *gemm) packPart(i int) {
	if g.b.trans {
		g.packB(&g.next, i*g.v.nr, 1, 0, g.next.depths)
		return
	}
	from := i * packSteps
	g.packB(&g.next, 0, ceil(g.next.cols, g.v.nr), from, min(packSteps, g.next.depths-from))
}

// packB packs k steps of panels of a slab, those from column col on, the
// last one settled: panel[p*nr+j] = B[depth+p][col+j].
func (g *gemm) packB(s *slab, col, panels, from, k int) {
	nr := g.v.nr
	for end := col + panels*nr; col < end; col += nr {
		panel := s.packed[col*s.steps+from/g.pairs*nr:][:ceil(k, g.pairs)*nr]
		first, _ := settle(s.col+col, nr, g.n)
		g.pack(panel, nr, min(nr, g.n), k, g.b.from(s.depth+from, first), g.b.ld, g.b.trans)
	}
}

// tileOrPack is a task of the slab under way or packs a part of the next one.
func (g *gemm) tileOrPack(i int) {
	if i < g.tiles {
		g.computeTask(i)
		return
	}
	g.packPart(i - g.tiles)
}

// computeTask is one row block of C times some columns of the slab.
func (g *gemm) computeTask(i int) {
	s := takeScratch()
	row, rows := g.rowsOf(i / g.colTasks)
	col := i % g.colTasks * g.colsPerTask
	cols := min(g.colsPerTask, g.now.cols-col)
	for p := 0; p < g.now.depths; p += g.block {
		depths := min(g.block, g.now.depths-p)
		if g.packsA {
			g.packA(s, row, rows, p, depths)
		}
		g.multiply(s, &g.now, row, rows, col, cols, p, depths)
	}
	scratches.put(s)
}

// rowsOf are the rows of row block i: whole tiles but for the last block, in all
// of them about the same number.
func (g *gemm) rowsOf(i int) (from, n int) {
	mr := g.v.mr
	tiles := ceil(g.m, mr)
	from = i * tiles / g.rowTasks * mr
	return from, min((i+1)*tiles/g.rowTasks*mr, g.m) - from
}

// ownColumns is all rows of some columns of C: the task packs its part of B, and
// nobody waits for it. The rows are few, so each element packed is of little use
// and had better not travel.
func (g *gemm) ownColumns(i int) {
	s := takeScratch()
	b := &s.own
	b.col, b.depth = i*g.colsPerTask, 0
	for ; b.depth < g.k; b.depth += b.depths {
		g.cut(b, g.colsPerTask, g.block)
		g.packB(b, 0, ceil(b.cols, g.v.nr), 0, b.depths)
		g.multiply(s, b, 0, g.m, 0, b.cols, 0, b.depths)
	}
	scratches.put(s)
}

// packA packs rows of A into panels of mr rows: panel[p*mr+i] = A[row+i][from+p],
// the last one settled; from is counted from the slab's first step. Steps that
// lie apart in memory are packed few at a time, for all panels, while their
// cache lines last.
func (g *gemm) packA(s *scratch, row, rows, from, depths int) {
	mr := g.v.mr
	steps := ceil(depths, g.pairs)
	s.a = grow(s.a, ceil(rows, mr)*mr*steps+panelSlack)
	part := depths
	if g.a.trans {
		part = packSteps
	}
	for p := 0; p < depths; p += part {
		k := min(part, depths-p)
		for i := 0; i < rows; i += mr {
			panel := s.a[i*steps+p/g.pairs*mr:][:ceil(k, g.pairs)*mr+panelSlack]
			first, _ := settle(row+i, mr, g.m)
			g.pack(panel, mr, min(mr, g.m), k, g.a.from(first, g.now.depth+from+p), g.a.ld, !g.a.trans)
		}
	}
}

// pack is variant.pack, rounded if operands are.
func (g *gemm) pack(panel []float32, width, used, k int, src []float32, ld int, across bool) {
	if !g.narrow {
		g.v.pack(panel, width, used, k, src, ld, across)
		return
	}
	s := takeScratch()
	s.wide = grow(s.wide, (k+1)*width+panelSlack)
	g.v.pack(s.wide, width, used, k, src, ld, across)
	if g.pairs == 2 {
		g.v.pairSteps(panel, width, s.wide, k)
	} else {
		roundBF16(panel[:k*width], s.wide)
	}
	scratches.put(s)
}

// settle moves a panel of size lanes back, if need be and if it can, so that it
// ends within limit: whole panels pack fastest. skip is how far it was moved.
func settle(at, size, limit int) (start, skip int) {
	start = max(0, min(at, limit-size))
	return start, at - start
}

// multiply runs the micro kernel over a block of C. Panels of B are the outer
// loop: each stays in L1 while the block of A passes by.
func (g *gemm) multiply(s *scratch, from *slab, row, rows, col, cols, p, depths int) {
	mr, nr := g.v.mr, g.v.nr
	steps := ceil(depths, g.pairs)
	beta := float32(1)
	if from.depth+p == 0 {
		beta = g.beta
	}
	for j := 0; j < cols; j += nr {
		b := from.packed[(col+j)*from.steps+p/g.pairs*nr:][:nr*steps]
		i := 0
		if j+nr <= cols {
			i = g.wholeTiles(s, row, rows, from.col+col+j, from.depth+p, steps, b, beta)
		}
		for ; i < rows; i += mr {
			g.micro(mr, steps, 1, g.tilesFrom(s, row, i, from.depth+p, steps), b, 0, s.tile[:], nr)
			g.merge(s.tile[:], row+i, min(mr, rows-i), from.col+col+j, min(nr, cols-j), beta)
		}
	}
}

// wholeTiles runs the micro kernel over what of rows it can do in place, and
// returns how many these are.
func (g *gemm) wholeTiles(s *scratch, row, rows, col, depth, steps int, b []float32, beta float32) int {
	rest := rows % g.v.mr
	whole := rows - rest
	if whole > 0 {
		g.micro(whole, steps, g.alpha, g.tilesFrom(s, row, 0, depth, steps), b, beta, g.c.from(row, col), g.c.ld)
	}
	if rest == 0 || rest%g.v.rowStep != 0 {
		return whole
	}
	a := g.tilesFrom(s, row, whole, depth, steps)
	_, skip := settle(row+whole, g.v.mr, g.m)
	a.data = a.data[skip*a.row:]
	g.micro(rest, steps, g.alpha, a, b, beta, g.c.from(row+whole, col), g.c.ld)
	return rows
}

// tilesFrom are the rows of A from row+i on, the last tile settled, and the steps
// from depth on: in place, or packed if packsA.
func (g *gemm) tilesFrom(s *scratch, row, i, depth, steps int) tiles {
	mr := g.v.mr
	if g.packsA {
		return tiles{data: s.a[i*steps:], row: 1, step: mr, next: mr * steps}
	}
	first, _ := settle(row+i, mr, g.m)
	t := tiles{data: g.a.from(first, depth), row: g.a.ld, step: 1, next: mr * g.a.ld}
	if g.a.trans {
		t.row, t.step, t.next = 1, g.a.ld, mr
	}
	return t
}

// merge blends the rows x cols corner of C at (row, col) with a tile whose
// panels may have been settled.
func (g *gemm) merge(tile []float32, row, rows, col, cols int, beta float32) {
	_, down := settle(row, g.v.mr, g.m)
	_, right := settle(col, g.v.nr, g.n)
	for r := range rows {
		c := g.c.from(row+r, col)[:cols]
		blend(c, g.alpha, tile[(down+r)*g.v.nr+right:][:cols], beta)
	}
}

// scratch belongs to one task: its slab of B and its packed block of A, where it
// has them, and a whole tile for the ragged edges of C.
type scratch struct {
	own  slab
	a    []float32
	wide []float32 // a panel before it is rounded
	tile [tileMax]float32
}

// tileMax bounds mr*nr over the variants; panelSlack is what a transpose may
// write past a panel of mr columns.
const (
	tileMax    = 16 * 48
	panelSlack = 16
)

var scratches freelist[scratch]

func takeScratch() *scratch {
	if s := scratches.get(); s != nil {
		return s
	}
	return new(scratch)
}

// pack writes a panel of k steps by width: panel[p*width+i], zero for i >= used.
// With across, step p of lane i is src[i*ld+p], else src[p*ld+i].
func (v *variant) pack(panel []float32, width, used, k int, src []float32, ld int, across bool) {
	switch {
	case used < width:
		packRagged(panel, width, used, k, src, ld, across)
	case across:
		v.transpose(panel, width, src, ld, k)
	default:
		v.copySteps(panel, width, src, ld, k)
	}
}

// packRagged packs the used lanes of a panel, for matrices narrower than one. The
// other lanes keep what they held: it only reaches parts of a tile nobody reads.
func packRagged(panel []float32, width, used, k int, src []float32, ld int, across bool) {
	lane, step := 1, ld
	if across {
		lane, step = ld, 1
	}
	for i := range used {
		for p := range k {
			panel[p*width+i] = src[i*lane+p*step]
		}
	}
}

// runFewRows multiplies without packing: each element of A meets B about once,
// so reading B dominates and must happen in place.
func (g *gemm) runFewRows() {
	if g.a.trans && g.b.trans {
		g.straightenA()
	}
	tasks := ceil(g.n, colBlock)
	g.parallel(tasks, g.m*g.k*colBlock, g.fewTask)
}

// straightenA copies a transposed A, of which dotRows needs contiguous rows.
func (g *gemm) straightenA() {
	g.now.packed = grow(g.now.packed, g.m*g.k)
	for p := range g.k {
		for i := range g.m {
			g.now.packed[i*g.k+p] = g.a.data[p*g.a.ld+i]
		}
	}
	g.a = operand{g.now.packed, g.k, false}
}

func (g *gemm) fewRowsTask(i int) {
	col := i * colBlock
	b := operand{g.b.from(0, col), g.b.ld, g.b.trans}
	g.v.fewRows(g.m, min(colBlock, g.n-col), g.k, g.alpha, g.a, b, g.beta, g.c.from(0, col), g.c.ld)
}

// fewRows multiplies in place, in one piece; not both operands are transposed.
// An element of the result does not depend on how the columns were cut.
func (v *variant) fewRows(m, n, k int, alpha float32, a, b operand, beta float32, c []float32, ldc int) {
	switch {
	case b.trans:
		v.dotRows(m, n, k, alpha, a.data, a.ld, b.data, b.ld, beta, c, ldc)
	case a.trans:
		v.sumRows(m, n, k, alpha, a.data, 1, a.ld, b.data, b.ld, beta, c, ldc)
	default:
		v.sumRows(m, n, k, alpha, a.data, a.ld, 1, b.data, b.ld, beta, c, ldc)
	}
}

// rowGroup is how many of the rows left the next call takes: at most limit, in
// groups of about the same size.
func rowGroup(left, limit int) int { return ceil(left, ceil(left, limit)) }

func ceil(a, b int) int { return (a + b - 1) / b }
