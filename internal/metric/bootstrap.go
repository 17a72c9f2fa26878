package metric

import (
	"math"
	"slices"

	"github.com/gr2/gr2/internal/rng"
)

// DefaultSamples is the number of bootstrap resamples behind a reported
// interval.
const DefaultSamples = 2000

// Level is the coverage of a reported interval.
const Level = .95

// Interval is an estimate with the bounds of its percentile bootstrap.
type Interval struct {
	Value float64 `json:"value"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
}

// Finite reports whether the interval can be printed and stored: relative
// lifts over a mean of zero can not.
func (v Interval) Finite() bool {
	s := v.Value + v.Low + v.High
	return !math.IsNaN(s) && !math.IsInf(s, 0)
}

// PairedBootstrap is the relative lift mean(policy)/mean(base) - 1 with its
// 95% interval; base[i] and policy[i] are the same metric on slate i. It is
// not Finite when base has a mean of zero. samples 0 means DefaultSamples.
func PairedBootstrap(base, policy []float64, samples int, seed uint64) Interval {
	sums := Resample([][]float64{base, policy}, len(base), samples, seed)
	return sums.Lift(0, 1, Level)
}

// PairedDifference is mean(policy) - mean(base) with its 95% interval.
func PairedDifference(base, policy []float64, samples int, seed uint64) Interval {
	sums := Resample([][]float64{base, policy}, len(base), samples, seed)
	return sums.Difference(0, 1, Level)
}

// Sums are the column sums of a table under shared resamples of its rows.
// Sharing makes every comparison paired and lets many columns ride on one
// drawing of rows.
type Sums struct {
	total   int
	samples int
	actual  []float64   // [column]
	draws   [][]float64 // [column][resample]
}

// Resample draws total rows with replacement, samples times, and sums each
// column over the rows drawn. Columns have equal length, at most total; rows
// from there up to total are zero in every column (events whose positive no
// slate holds). Resample r depends only on seed, r and total.
func Resample(columns [][]float64, total, samples int, seed uint64) *Sums {
	if samples <= 0 {
		samples = DefaultSamples
	}
	s := &Sums{total: total, samples: samples, actual: make([]float64, len(columns)), draws: make([][]float64, len(columns))}
	rows := 0
	for c, column := range columns {
		s.draws[c] = make([]float64, samples)
		for _, v := range column {
			s.actual[c] += v
		}
		rows = len(column)
	}
	counts := make([]float64, rows)
	for r := range samples {
		drawCounts(counts, total, seed, uint64(r))
		for c, column := range columns {
			s.draws[c][r] = dot(counts, column)
		}
	}
	return s
}

// drawCounts fills counts with how often each row is among total draws from
// 0..total-1. Each 64-bit word gives two draws by multiply-shift, whose bias
// is below total/2^32.
func drawCounts(counts []float64, total int, seed, r uint64) {
	clear(counts)
	random := rng.New(seed, r)
	n, size := uint64(total), uint64(len(counts))
	for i := 0; i < total; i += 2 {
		word := random.Uint64()
		if row := (word >> 32) * n >> 32; row < size {
			counts[row]++
		}
		if row := (word & math.MaxUint32) * n >> 32; row < size && i+1 < total {
			counts[row]++
		}
	}
}

// dot uses four partial sums so that it is not bound by the latency of one
// chain of additions.
func dot(x, y []float64) float64 {
	y = y[:len(x)]
	var a, b, c, d float64
	i := 0
	for ; i+4 <= len(x); i += 4 {
		a += x[i] * y[i]
		b += x[i+1] * y[i+1]
		c += x[i+2] * y[i+2]
		d += x[i+3] * y[i+3]
	}
	for ; i < len(x); i++ {
		a += x[i] * y[i]
	}
	return (a + b) + (c + d)
}

// Mean is the mean of a column over all rows.
func (s *Sums) Mean(column int) float64 { return s.actual[column] / float64(s.total) }

// Lift is sum(policy)/sum(base) - 1 with its interval at the given level.
func (s *Sums) Lift(base, policy int, level float64) Interval {
	return s.MeanLift([]int{base}, []int{policy}, level)
}

// MeanLift is the mean over i of the lift of column policy[i] over column base[i]:
// that of several runs on the same rows, under resamples that they share.
func (s *Sums) MeanLift(base, policy []int, level float64) Interval {
	return s.interval(level, func(sum func(column int) float64) float64 {
		total := 0.0
		for i := range base {
			total += sum(policy[i])/sum(base[i]) - 1
		}
		return total / float64(len(base))
	})
}

// Difference is mean(policy) - mean(base) with its interval.
func (s *Sums) Difference(base, policy int, level float64) Interval {
	n := float64(s.total)
	return s.interval(level, func(sum func(column int) float64) float64 { return (sum(policy) - sum(base)) / n })
}

// interval cuts the distribution of stat over the resamples. A resample whose
// stat is undefined (0/0) is left out.
func (s *Sums) interval(level float64, stat func(sum func(column int) float64) float64) Interval {
	values := make([]float64, 0, s.samples)
	for r := range s.samples {
		if v := stat(func(column int) float64 { return s.draws[column][r] }); !math.IsNaN(v) {
			values = append(values, v)
		}
	}
	slices.Sort(values)
	tail := (1 - level) / 2
	return Interval{
		Value: stat(func(column int) float64 { return s.actual[column] }),
		Low:   quantile(values, tail),
		High:  quantile(values, 1-tail),
	}
}

// quantile interpolates linearly between order statistics (type 7 of Hyndman
// and Fan 1996); NaN when there are none.
func quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return math.NaN()
	}
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}
