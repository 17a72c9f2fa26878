package evidence

import (
	"cmp"
	"slices"
	"sort"

	"github.com/gr2/gr2/internal/fault"
)

// Buckets turn raw values into small whole numbers: 0 for a value of 0 (none,
// absent), else 1 to Count by quantile of the non-zero values it was fitted on.
// Stored as JSON.
type Buckets struct {
	Count    int      `json:"count"` // highest bucket
	Features []Bucket `json:"features"`
}

// Bucket cuts the values of one feature.
type Bucket struct {
	Name string `json:"name"`
	// Cuts ascend strictly; a value above 0 falls in bucket 1 + the number of
	// cuts at or below it. There are fewer than Count-1 when values repeat.
	Cuts []float32 `json:"cuts"`
}

// FitBuckets fits quantiles of the named features to rows of Raw, which must
// come from training slates; n is the number of buckets beside 0.
func FitBuckets(rows [][]float32, names []string, n int) (*Buckets, error) {
	if n < 1 || n > 255 {
		return nil, fault.Usagef("evidence: %d buckets; use 1 to 255", n)
	}
	b := &Buckets{Count: n, Features: make([]Bucket, len(names))}
	for f, name := range names {
		column, err := column(name)
		if err != nil {
			return nil, err
		}
		var values []float32
		for _, row := range rows {
			if row[column] > 0 {
				values = append(values, row[column])
			}
		}
		b.Features[f] = Bucket{name, quantileCuts(values, n)}
	}
	return b, nil
}

// quantileCuts divides values into n parts of equal size, or fewer where equal
// values would be torn apart.
func quantileCuts(values []float32, n int) []float32 {
	slices.Sort(values)
	cuts := []float32{}
	for i := 1; i < n && len(values) > 0; i++ {
		cut := values[i*len(values)/n]
		if cut > values[0] && (len(cuts) == 0 || cut > cuts[len(cuts)-1]) {
			cuts = append(cuts, cut)
		}
	}
	return cuts
}

// Names are the features that Code codes, in order.
func (b *Buckets) Names() []string {
	out := make([]string, len(b.Features))
	for i := range b.Features {
		out[i] = b.Features[i].Name
	}
	return out
}

// ReadsScores says whether codes tell of legacy scores: scoreGap is among the
// features, and the slates that b was fitted on had scores.
func (b *Buckets) ReadsScores() bool {
	return slices.ContainsFunc(b.Features, func(f Bucket) bool {
		return f.Name == names[scoreGap] && len(f.Cuts) > 0
	})
}

// Code is the bucket of each of b's features for one row of Raw.
func (b *Buckets) Code(row []float32) []uint8 {
	out := make([]uint8, len(b.Features))
	for i, f := range b.Features {
		c, err := column(f.Name)
		if err != nil || c >= len(row) || row[c] <= 0 {
			continue
		}
		out[i] = uint8(1 + sort.Search(len(f.Cuts), func(k int) bool { return f.Cuts[k] > row[c] }))
	}
	return out
}

// CodeAll is Code of every row.
func (b *Buckets) CodeAll(rows [][]float32) [][]uint8 {
	out := make([][]uint8, len(rows))
	for i, row := range rows {
		out[i] = b.Code(row)
	}
	return out
}

// Validate refuses buckets (read from a file, say) that Code cannot use.
func (b *Buckets) Validate() error {
	for _, f := range b.Features {
		if _, err := column(f.Name); err != nil {
			return err
		}
		for i := 1; i < len(f.Cuts); i++ {
			if cmp.Compare(f.Cuts[i-1], f.Cuts[i]) >= 0 {
				return fault.Corruptf("evidence: the cuts of %s do not ascend: fit the buckets again", f.Name)
			}
		}
		if len(f.Cuts) >= max(b.Count, 1) || b.Count > 255 {
			return fault.Corruptf("evidence: %s has %d cuts for %d buckets: fit the buckets again", f.Name, len(f.Cuts), b.Count)
		}
	}
	return nil
}

func column(name string) (int, error) {
	for i, n := range names {
		if n == name {
			return i, nil
		}
	}
	return 0, fault.Usagef("evidence: no feature %q; there are %v", name, names)
}
