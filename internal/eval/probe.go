package eval

import (
	"fmt"
	"slices"

	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/metric"
	"github.com/gr2/gr2/internal/rng"
)

// CopyRate is the share of rankings that leave the slate as it came, among
// slates of two or more; 0 when there are none. A policy that only echoes
// inherits the incoming metrics, so a high rate says that a small lift is
// really a lift on few slates.
func CopyRate(rankings [][]int) float64 {
	copies, n := 0, 0
	for _, ranking := range rankings {
		if len(ranking) < 2 {
			continue
		}
		n++
		if isIdentity(ranking) {
			copies++
		}
	}
	return share(copies, n)
}

// IdleRate is the share of rankings that better nothing where something could be
// bettered: their AUC is that of the slate as it came, which a copy has and a copy
// with a few negatives exchanged. Slates without both classes are left out, and so
// are those that came in perfect order; 0 when there are no others.
func IdleRate(slates []market.Slate, rankings [][]int) float64 {
	idle, n := 0, 0
	for i, ranking := range rankings {
		grades := slates[i].Grades
		came, defined := metric.Judged{Ranking: identity(len(ranking)), Grades: grades}.AUC()
		if !defined || came == 1 {
			continue
		}
		n++
		if v, _ := (metric.Judged{Ranking: ranking, Grades: grades}).AUC(); v == came {
			idle++
		}
	}
	return share(idle, n)
}

// OneOrderRate is the share of rankings that are one and the same order of places:
// the most frequent but that in which slates are shown and its reversal, which sound
// policies come to where they keep a legacy order. A policy that reads nothing of its
// slates gives all of them one order, and no measure of copying or correlation shows
// it. Few candidates have few orders, and few slates agree by chance: rankings of less
// than four are left out, and it is 0 where less than twenty are left.
func OneOrderRate(rankings [][]int) float64 {
	counts, n, most := map[string]int{}, 0, 0
	for _, ranking := range rankings {
		if len(ranking) < 4 {
			continue
		}
		n++
		if !isIdentity(ranking) && !isReversal(ranking) {
			key := fmt.Sprint(ranking)
			counts[key]++
			most = max(most, counts[key])
		}
	}
	if n < 20 {
		return 0
	}
	return share(most, n)
}

// ValidRate is the share of outputs that are full permutations of their
// slate; outputs[i] is nil when output i did not parse. 1 when there are none.
func ValidRate(slates []market.Slate, outputs [][]int) float64 {
	if len(slates) == 0 {
		return 1
	}
	valid := 0
	for i := range min(len(slates), len(outputs)) {
		if outputs[i] != nil && IsPermutation(outputs[i], len(slates[i].Candidates)) {
			valid++
		}
	}
	return share(valid, len(slates))
}

// PositionCorrelation is the mean over slates of Spearman's rank correlation
// between the place a candidate was shown at and the place it was given: 1 for
// a copy, -1 for a reversal, about 0 for an answer that does not depend on the
// shown order, when that order is random.
func PositionCorrelation(rankings [][]int) float64 {
	sum, n := 0.0, 0
	for _, ranking := range rankings {
		k := float64(len(ranking))
		if k < 2 {
			continue
		}
		squares := 0.0
		for place, shown := range ranking {
			d := float64(place - shown)
			squares += d * d
		}
		sum += 1 - 6*squares/(k*(k*k-1))
		n++
	}
	if n == 0 {
		return 0
	}
	return sum / float64(n)
}

// Shuffle returns the slates with candidates and grades in a random order,
// frozen by seed and slate id. from[i][j] is the old index of shuffled slate
// i's candidate j; as legacy ranks they let a prompt keep the legacy order
// while the shown order changes.
func Shuffle(slates []market.Slate, seed uint64) (shuffled []market.Slate, from [][]int) {
	return reorder(slates, func(s *market.Slate) []int {
		return rng.New(seed, rng.Key(s.ID)).Perm(len(s.Candidates))
	})
}

// Reverse is Shuffle with the last candidate first: the order that differs most
// from the one that policies learn on.
func Reverse(slates []market.Slate) (reversed []market.Slate, from [][]int) {
	return reorder(slates, func(s *market.Slate) []int {
		order := identity(len(s.Candidates))
		slices.Reverse(order)
		return order
	})
}

func reorder(slates []market.Slate, order func(*market.Slate) []int) (moved []market.Slate, from [][]int) {
	moved = make([]market.Slate, len(slates))
	from = make([][]int, len(slates))
	for i := range slates {
		s := slates[i]
		perm := order(&s)
		candidates := make([]market.Candidate, len(perm))
		var grades []uint8
		if s.Grades != nil {
			grades = make([]uint8, len(perm))
		}
		for j, old := range perm {
			candidates[j] = s.Candidates[old]
			if grades != nil {
				grades[j] = s.Grades[old]
			}
		}
		s.Candidates, s.Grades = candidates, grades
		moved[i], from[i] = s, perm
	}
	return moved, from
}

// PositionBias compares a policy's answers on the slates as they came with its
// answers on the same slates shown in another order.
type PositionBias struct {
	N           int                `json:"n"`
	Shown       map[string]float64 `json:"shown"`           // metrics in the incoming order
	Moved       map[string]float64 `json:"moved"`           // metrics in the other order
	Change      map[string]Lift    `json:"change"`          // moved minus shown, absolute
	Correlation float64            `json:"correlation"`     // PositionCorrelation on moved slates
	SameFirst   float64            `json:"same_first"`      // share of slates whose first item stayed the same
	CopyRate    float64            `json:"copy_rate"`       // on the slates as they came
	MovedCopy   float64            `json:"moved_copy_rate"` // on the moved slates: echoes of what is shown
	MovedOne    float64            `json:"moved_one_order"` // OneOrderRate on the moved slates
}

// ProbePosition measures PositionBias on the slates with a positive; shown
// ranks slates, movedRankings ranks what Shuffle or Reverse made of them with
// from.
func ProbePosition(slates []market.Slate, shown [][]int, from, movedRankings [][]int, samples int, seed uint64) (*PositionBias, error) {
	if len(shown) != len(slates) || len(from) != len(slates) || len(movedRankings) != len(slates) {
		return nil, fault.Inputf("position probe: %d slates, %d rankings, %d orders, %d rankings of moved slates; all must be equal",
			len(slates), len(shown), len(from), len(movedRankings))
	}
	var kept []market.Slate
	var before, after, answers [][]int
	same := 0
	for i := range slates {
		k := len(slates[i].Candidates)
		if !IsPermutation(shown[i], k) || !IsPermutation(from[i], k) || !IsPermutation(movedRankings[i], k) {
			return nil, fault.Inputf("position probe: slate %q: a ranking is not a permutation of its %d candidates", slates[i].ID, k)
		}
		if !slates[i].Positive() {
			continue
		}
		back := make([]int, k)
		for place, c := range movedRankings[i] {
			back[place] = from[i][c]
		}
		if back[0] == shown[i][0] {
			same++
		}
		kept = append(kept, slates[i])
		before, after = append(before, shown[i]), append(after, back)
		answers = append(answers, movedRankings[i])
	}
	bias := &PositionBias{
		N: len(kept), Shown: map[string]float64{}, Moved: map[string]float64{}, Change: map[string]Lift{},
		Correlation: PositionCorrelation(answers), SameFirst: share(same, len(kept)),
		CopyRate: CopyRate(before), MovedCopy: CopyRate(answers), MovedOne: OneOrderRate(answers),
	}
	bias.measure(kept, before, after, samples, seed)
	return bias, nil
}

func (b *PositionBias) measure(slates []market.Slate, before, after [][]int, samples int, seed uint64) {
	for _, name := range MetricNames() {
		var columns [2][]float64
		for i := range slates {
			v, ok := score(name, metric.Judged{Ranking: before[i], Grades: slates[i].Grades})
			if !ok {
				continue
			}
			w, _ := score(name, metric.Judged{Ranking: after[i], Grades: slates[i].Grades})
			columns[0], columns[1] = append(columns[0], v), append(columns[1], w)
		}
		if len(columns[0]) == 0 {
			continue
		}
		sums := metric.Resample(columns[:], len(columns[0]), samples, seed)
		b.Shown[name], b.Moved[name] = sums.Mean(0), sums.Mean(1)
		b.Change[name] = sums.Difference(0, 1, metric.Level)
	}
}

func isIdentity(ranking []int) bool {
	for i, c := range ranking {
		if i != c {
			return false
		}
	}
	return true
}

func isReversal(ranking []int) bool {
	for i, c := range ranking {
		if c != len(ranking)-1-i {
			return false
		}
	}
	return true
}

func share(part, whole int) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}
