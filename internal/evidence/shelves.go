package evidence

import (
	"strings"

	"github.com/gr2/gr2/internal/market"
)

// shelves are the category paths of the catalog and how users go from one to
// another: what complements what, counted where single items are too rare. They
// follow from the pairs of items and the catalog, and are not stored.
type shelves struct {
	of    []int32 // shelf of each item, none where it has no category
	pairs pairTable
	// from and into are the sums of next by shelf and fold: shelf*folds + fold.
	from, into []uint64
	total      []uint64 // by fold
}

const none = -1

func newShelves(catalog *market.Catalog, pairs *pairTable, folds int) shelves {
	s := shelves{of: make([]int32, catalog.Len()), total: make([]uint64, folds)}
	number := map[string]int32{}
	for i := range catalog.Items {
		s.of[i] = none
		if path := catalog.Items[i].Categories; len(path) > 0 {
			key := strings.Join(path, "\x00")
			if _, known := number[key]; !known {
				number[key] = int32(len(number))
			}
			s.of[i] = number[key]
		}
	}
	rows := make([][]link, len(number))
	s.from, s.into = make([]uint64, len(number)*folds), make([]uint64, len(number)*folds)
	for item, a := range s.of {
		for i := pairs.start[item]; a != none && i < pairs.start[item+1]; i++ {
			b, n := s.of[pairs.partner[i]], pairs.strength[i].next
			if b == none || n == 0 {
				continue
			}
			fold := pairs.fold[i]
			rows[a] = append(rows[a], link{b, fold, strength{next: n}})
			s.from[int(a)*folds+int(fold)] += uint64(n)
			s.into[int(b)*folds+int(fold)] += uint64(n)
			s.total[fold] += uint64(n)
		}
	}
	start, links := make([]int, len(rows)+1), []link(nil)
	for i, row := range rows {
		links = append(links, row...)
		start[i+1] = len(links)
	}
	s.pairs = mergeLinks(start, links)
	return s
}

// pull is how much likelier an event on shelf b is within the window behind one on
// shelf a than at any time: P(b|a)/P(b), shrunk to 1 where little was seen. 0
// where a shelf is unknown.
func (s *shelves) pull(a, b int32, excludeFold int) float64 {
	if a == none || b == none {
		return 0
	}
	folds := len(s.total)
	from := without(s.from[int(a)*folds:][:folds], excludeFold)
	into := without(s.into[int(b)*folds:][:folds], excludeFold)
	total := without(s.total, excludeFold)
	if from == 0 || into == 0 {
		return 1
	}
	expected := from * into / total
	const prior = 2 * unit // of co-engagements as if by chance
	return (float64(s.pairs.between(a, b, excludeFold).next) + prior) / (expected + prior)
}

// without sums the counts of all folds but one.
func without(counts []uint64, excludeFold int) float64 {
	sum := uint64(0)
	for fold, n := range counts {
		if fold != excludeFold {
			sum += n
		}
	}
	return float64(sum)
}
