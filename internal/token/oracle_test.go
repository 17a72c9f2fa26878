package token

import (
	"maps"
	"slices"
)

// naiveMerge is the definition of BPE encoding: of all pairs the one of lowest
// rank, leftmost, is merged, again and again.
func naiveMerge(m *bpe, chunk string) []int32 {
	var ids []int32
	for i := range len(chunk) {
		ids = append(ids, m.bytes[chunk[i]])
	}
	for {
		best, at := merge{rank: 1 << 30}, -1
		for i := range len(ids) - 1 {
			if mg, ok := m.merges[makePair(ids[i], ids[i+1])]; ok && mg.rank < best.rank {
				best, at = mg, i
			}
		}
		if at < 0 {
			return ids
		}
		ids = slices.Replace(ids, at, at+2, best.id)
	}
}

// naiveTrain is the definition of BPE training: count all pairs anew for each
// merge.
func naiveTrain(model *bpe, counts map[string]int64, size int) {
	words := map[string][]int32{}
	for chunk := range counts {
		words[chunk] = naiveMerge(model, chunk)
	}
	for len(model.names) < size {
		pairs := map[pair]int64{}
		for chunk, ids := range words {
			for i := range len(ids) - 1 {
				pairs[makePair(ids[i], ids[i+1])] += counts[chunk]
			}
		}
		best, most := pair(0), int64(1)
		for _, p := range slices.Sorted(maps.Keys(pairs)) {
			if pairs[p] > most {
				best, most = p, pairs[p]
			}
		}
		if most < 2 {
			return
		}
		id := model.learn(best)
		a, b := best.split()
		for chunk, ids := range words {
			for i := 0; i+1 < len(ids); i++ {
				if ids[i] == a && ids[i+1] == b {
					ids = slices.Replace(ids, i, i+2, id)
				}
			}
			words[chunk] = ids
		}
	}
}
