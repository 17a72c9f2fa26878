package sid

import "math"

// Stats describes how well an index uses its codes.
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

// Stats measures the index.
func (x *Index) Stats() Stats {
	s := Stats{Items: x.Len(), Levels: make([]LevelStats, x.levels)}
	for l := range s.Levels {
		s.Levels[l] = x.levelStats(l)
	}
	eachRun(x.keys, 0, func(n int) {
		if n > 1 {
			s.Collisions += n
		}
	})
	if s.Items > 0 {
		s.Uniqueness = 1 - float64(s.Collisions)/float64(s.Items)
	}
	return s
}

func (x *Index) levelStats(level int) LevelStats {
	counts := make([]int, x.width)
	for i := level; i < len(x.codes); i += x.levels {
		counts[x.codes[i]]++
	}
	var s LevelStats
	entropy := 0.0
	for _, n := range counts {
		if n == 0 {
			s.Dead++
			continue
		}
		s.Used++
		p := float64(n) / float64(x.Len())
		entropy -= p * math.Log(p)
	}
	if s.Used > 0 {
		s.Perplexity = math.Exp(entropy)
	}
	eachRun(x.keys, 8*uint(x.levels-level-1), func(n int) {
		s.Prefixes++
		s.Largest = max(s.Largest, n)
	})
	return s
}

// eachRun calls body with the length of every run of keys (ascending) that are
// equal after the shift.
func eachRun(keys []uint64, shift uint, body func(n int)) {
	for start := 0; start < len(keys); {
		end := start + 1
		for end < len(keys) && keys[end]>>shift == keys[start]>>shift {
			end++
		}
		body(end - start)
		start = end
	}
}
