package control

import (
	"math"
	"slices"
	"sort"

	"github.com/gr2/gr2/internal/kernel"
	"github.com/gr2/gr2/internal/rng"
)

const (
	mostBins   = 256
	mostLeaves = 15  // of a tree
	leafRows   = 200 // candidates that a leaf has at least, but for small data (boosting.least)
	leafL2     = 10  // added to a leaf's curvature
)

// tree is a regression tree; node 0 is its root.
type tree []node

// node asks whether a feature is at most a cut, or is a leaf (left is 0).
type node struct {
	feature     int
	bin         uint8   // of the cut
	cut         float64 // at most it: left
	left, right int
	value       float64 // of a leaf
}

// score is the value of the leaf that a row comes to.
func (t tree) score(row []float64) float64 {
	at := 0
	for t[at].left > 0 {
		if n := &t[at]; row[n.feature] <= n.cut {
			at = n.left
		} else {
			at = n.right
		}
	}
	return t[at].value
}

// scored are slates with the scores that trees have given so far.
type scored struct {
	rows    [][]float64 // of all slates, candidate by candidate
	starts  []int       // slate s has the rows starts[s] .. starts[s+1]-1
	targets []float64
	scores  []float64
}

func newScored(cases []Case, targets [][]float64, features []string) *scored {
	s := &scored{starts: make([]int, 1, len(cases)+1)}
	rows := make([][][]float64, len(cases))
	kernel.Parallel(len(cases), func(i int) { rows[i] = treeRows(cases[i], features) })
	for i := range cases {
		s.rows = append(s.rows, rows[i]...)
		s.targets = append(s.targets, targets[i]...)
		s.starts = append(s.starts, len(s.rows))
	}
	s.scores = make([]float64, len(s.rows))
	return s
}

// add counts a tree in.
func (s *scored) add(t tree) {
	s.each(func(i int) { s.scores[i] += t.score(s.rows[i]) })
}

// each runs body for every row.
func (s *scored) each(body func(row int)) {
	const chunk = 4096
	kernel.Parallel((len(s.scores)+chunk-1)/chunk, func(c int) {
		for i := c * chunk; i < min((c+1)*chunk, len(s.scores)); i++ {
			body(i)
		}
	})
}

// loss is the mean cross-entropy to the targets, in nats.
func (s *scored) loss() float64 {
	sum := 0.0
	for i := range len(s.starts) - 1 {
		scores, targets := s.slate(i)
		logZ := logSum(scores)
		for k, t := range targets {
			sum += t * (logZ - scores[k])
		}
	}
	return sum / float64(len(s.starts)-1)
}

func (s *scored) slate(i int) (scores, targets []float64) {
	from, to := s.starts[i], s.starts[i+1]
	return s.scores[from:to], s.targets[from:to]
}

func logSum(scores []float64) float64 {
	top, z := slices.Max(scores), 0.0
	for _, x := range scores {
		z += math.Exp(x - top)
	}
	return top + math.Log(z)
}

// slope is the first and second derivative of the loss by the score of a row.
type slope struct{ g, h float32 }

// boosting grows one tree after another on slates.
type boosting struct {
	*scored
	seed   uint64
	cuts   [][]float64 // of each feature, ascending: bin b holds what is at most cuts[b]
	bins   [][]uint8   // feature x row
	slopes []slope
	trees  []tree
	spare  [][]bin // histograms to use again
	least  int     // candidates in a leaf
}

func newBoosting(cases []Case, targets [][]float64, opt *TreesOptions) *boosting {
	b := &boosting{scored: newScored(cases, targets, opt.Features), seed: opt.Seed}
	columns := len(b.rows[0])
	b.cuts, b.bins = make([][]float64, columns), make([][]uint8, columns)
	b.slopes = make([]slope, len(b.scores))
	b.least = max(1, min(leafRows, len(b.scores)/100))
	kernel.Parallel(columns, func(f int) {
		column := make([]float64, len(b.rows))
		for i, row := range b.rows {
			column[i] = row[f]
		}
		b.bins[f] = make([]uint8, len(column))
		b.cuts[f] = quantiles(slices.Clone(column))
		for i, x := range column {
			b.bins[f][i] = uint8(sort.SearchFloat64s(b.cuts[f], x))
		}
	})
	b.rows = nil // bins stand for them
	return b
}

// quantiles are the upper bounds of bins with about as many values in each, but for
// values that fill more than one; of the last bin it is the largest value.
func quantiles(values []float64) []float64 {
	slices.Sort(values)
	var cuts []float64
	for at := 0; at < len(values); {
		want := (len(values) - at + mostBins - len(cuts) - 1) / (mostBins - len(cuts))
		cut := values[at+want-1]
		cuts = append(cuts, cut)
		at += sort.Search(len(values)-at, func(i int) bool { return values[at+i] > cut })
	}
	return cuts
}

// step grows the next tree and counts it in.
func (b *boosting) step() tree {
	b.differentiate()
	n := uint64(len(b.trees))
	r := rng.New(b.seed, rng.Key("trees"), n)
	var rows []int32
	for s := range len(b.starts) - 1 {
		if r.Float64() < slateShare || s == 0 { // never none
			for i := b.starts[s]; i < b.starts[s+1]; i++ {
				rows = append(rows, int32(i))
			}
		}
	}
	features := r.Perm(len(b.bins))[:max(1, int(featureShare*float64(len(b.bins))))]
	slices.Sort(features)
	t := b.grow(rows, features)
	b.trees = append(b.trees, t)
	b.each(func(i int) { b.scores[i] += b.scoreOf(t, i) })
	return t
}

// scoreOf is tree.score by bins.
func (b *boosting) scoreOf(t tree, row int) float64 {
	at := 0
	for t[at].left > 0 {
		if n := &t[at]; b.bins[n.feature][row] <= n.bin {
			at = n.left
		} else {
			at = n.right
		}
	}
	return t[at].value
}

// differentiate fills slopes: with p the softmax and t the target of a slate, p - t and p (1-p).
func (b *boosting) differentiate() {
	kernel.Parallel(len(b.starts)-1, func(s int) {
		scores, targets := b.slate(s)
		logZ := logSum(scores)
		for k, score := range scores {
			p := math.Exp(score - logZ)
			b.slopes[b.starts[s]+k] = slope{float32(p - targets[k]), float32(p * (1 - p))}
		}
	})
}

// bin of a histogram: the sums of the slopes of its rows, and their number.
type bin struct {
	g, h float64
	n    int
}

func (a bin) plus(b bin) bin  { return bin{a.g + b.g, a.h + b.h, a.n + b.n} }
func (a bin) minus(b bin) bin { return bin{a.g - b.g, a.h - b.h, a.n - b.n} }

// worth is by how much the best value of a leaf lowers the loss, up to a factor; best is that value.
func (a bin) worth() float64 { return a.g * a.g / (a.h + leafL2) }
func (a bin) best() float64  { return -a.g / (a.h + leafL2) }

// leaf is a leaf while its tree grows.
type leaf struct {
	node      int
	rows      []int32
	histogram []bin // of each feature asked for, mostBins bins
	sum       bin
	split     split
}

// split of a leaf in two.
type split struct {
	gain    float64
	feature int // its position among those asked for
	bin     uint8
	left    bin
}

// grow splits the leaf that gains most until there are enough.
func (b *boosting) grow(rows []int32, features []int) tree {
	t := tree{{}}
	root := leaf{rows: rows, histogram: b.histogram(rows, features)}
	for _, x := range root.histogram[:mostBins] {
		root.sum = root.sum.plus(x)
	}
	root.split = b.bestSplit(&root, features)
	leaves := []leaf{root}
	for len(leaves) < mostLeaves {
		best := 0
		for i := range leaves {
			if leaves[i].split.gain > leaves[best].split.gain {
				best = i
			}
		}
		if leaves[best].split.gain <= 0 {
			break
		}
		left, right := b.divide(&leaves[best], features)
		s := &leaves[best].split
		n := &t[leaves[best].node]
		n.feature, n.bin = features[s.feature], s.bin
		n.cut = b.cuts[n.feature][s.bin]
		n.left, n.right = len(t), len(t)+1
		left.node, right.node = n.left, n.right
		t = append(t, node{}, node{})
		leaves[best] = left
		leaves = append(leaves, right)
	}
	for _, l := range leaves {
		t[l.node].value = treesRate * l.sum.best()
		b.spare = append(b.spare, l.histogram)
	}
	return t
}

// divide makes two leaves of one, whose rows and histogram they take.
func (b *boosting) divide(l *leaf, features []int) (left, right leaf) {
	s := &l.split
	column := b.bins[features[s.feature]]
	rows := make([]int32, 0, len(l.rows))
	for _, i := range l.rows {
		if column[i] <= s.bin {
			rows = append(rows, i)
		}
	}
	n := len(rows)
	for _, i := range l.rows {
		if column[i] > s.bin {
			rows = append(rows, i)
		}
	}
	left, right = leaf{rows: rows[:n], sum: s.left}, leaf{rows: rows[n:], sum: l.sum.minus(s.left)}
	small, large := &left, &right
	if len(right.rows) < len(left.rows) {
		small, large = large, small
	}
	small.histogram, large.histogram = b.histogram(small.rows, features), l.histogram
	for i, x := range small.histogram {
		large.histogram[i] = large.histogram[i].minus(x)
	}
	left.split, right.split = b.bestSplit(&left, features), b.bestSplit(&right, features)
	return left, right
}

// histogram sums the slopes of rows by the bin of each feature.
func (b *boosting) histogram(rows []int32, features []int) []bin {
	var out []bin
	if last := len(b.spare) - 1; last >= 0 {
		out, b.spare = b.spare[last], b.spare[:last]
		clear(out)
	} else {
		out = make([]bin, len(features)*mostBins)
	}
	kernel.Parallel(len(features), func(f int) {
		of, column := out[f*mostBins:(f+1)*mostBins], b.bins[features[f]]
		for _, i := range rows {
			x, s := &of[column[i]], b.slopes[i]
			x.g += float64(s.g)
			x.h += float64(s.h)
			x.n++
		}
	})
	return out
}

// bestSplit is the one that lowers the loss most; its gain is 0 where there is none.
func (b *boosting) bestSplit(l *leaf, features []int) split {
	best := split{}
	for f := range features {
		left := bin{}
		of := l.histogram[f*mostBins:]
		for i := range len(b.cuts[features[f]]) - 1 {
			left = left.plus(of[i])
			if right := l.sum.minus(left); left.n >= b.least && right.n >= b.least {
				if gain := left.worth() + right.worth() - l.sum.worth(); gain > best.gain {
					best = split{gain, f, uint8(i), left}
				}
			}
		}
	}
	return best
}
