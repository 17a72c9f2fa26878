package sid

import "math"

// Stats describes how well codes are used.
type Stats struct {
	Items      int          `json:"items"`
	Uniqueness float64      `json:"uniqueness"` // share of items whose code no other item has
	Collisions int          `json:"collisions"` // items that share their code
	Levels     []LevelStats `json:"levels"`
}

// LevelStats describes one level over all items.
type LevelStats struct {
	Used       int     `json:"used"`       // codes some item has
	Dead       int     `json:"dead"`       // codes no item has
	Perplexity float64 `json:"perplexity"` // exp of the entropy of the code, at most Used
	Prefixes   int     `json:"prefixes"`   // distinct codes up to and with this level
	Largest    int     `json:"largest"`    // items under the fullest such prefix
}

// Stats measures the index's catalog.
func (x *Index) Stats() Stats {
	return measure(x.codes[:x.Len()*x.Levels()], x.Levels(), x.Width())
}

// Measure is the Stats of codes (items x levels, row-major) that belong to no
// index.
func Measure(codes []uint8, levels, width int) (Stats, error) {
	if err := check(levels, width, codes); err != nil {
		return Stats{}, err
	}
	return measure(codes, levels, width), nil
}

func measure(codes []uint8, levels, width int) Stats {
	items := len(codes) / levels
	s := Stats{Items: items, Levels: make([]LevelStats, levels)}
	parts := parting(sortRows(codes, levels, items), codes, levels)
	for l := range s.Levels {
		s.Levels[l] = usage(codes, levels, width, l)
		eachRun(parts, l, func(n int) {
			s.Levels[l].Prefixes++
			s.Levels[l].Largest = max(s.Levels[l].Largest, n)
		})
	}
	eachRun(parts, levels-1, func(n int) {
		if n > 1 {
			s.Collisions += n
		}
	})
	if items > 0 {
		s.Uniqueness = 1 - float64(s.Collisions)/float64(items)
	}
	return s
}

// usage is how one level's codes are used.
func usage(codes []uint8, levels, width, level int) LevelStats {
	counts := make([]int, width)
	for i := level; i < len(codes); i += levels {
		counts[codes[i]]++
	}
	var s LevelStats
	entropy := 0.0
	for _, n := range counts {
		if n == 0 {
			s.Dead++
			continue
		}
		s.Used++
		p := float64(n) / float64(len(codes)/levels)
		entropy -= p * math.Log(p)
	}
	if s.Used > 0 {
		s.Perplexity = math.Exp(entropy)
	}
	return s
}

// eachRun calls body with the number of items of every prefix that ends with
// this level; see parting.
func eachRun(parts []uint8, level int, body func(n int)) {
	for start := 0; start < len(parts); {
		end := start + 1
		for end < len(parts) && int(parts[end]) > level {
			end++
		}
		body(end - start)
		start = end
	}
}
