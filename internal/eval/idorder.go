package eval

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/metric"
	"github.com/gr2/gr2/internal/rng"
)

// OrderRule is what a rule that looks only at item ids or numbers achieves.
// Such a rule must be worthless; where it is not, the protocol leaks the file
// order (in Amazon Beauty with plain leave-one-out, "id above the last item's"
// alone lifts R@1 by a quarter, because a day's events stand in id order).
type OrderRule struct {
	Rule string `json:"rule"`
	N    int    `json:"n"`
	// Advantage is the rule's mean AUC minus .5 (ties count half): what it
	// knows without the incoming order; 0 is chance, either sign is knowledge.
	Advantage Lift `json:"advantage"`
	// Lift of R@1 over the incoming order by a re-ranker that knows only the
	// incoming place and the rule: the rule is worth a number of places, fitted
	// on one half of the slates and applied to the other.
	Lift Lift `json:"lift"`
	// Deviation is the advantage in standard deviations of the same rule under
	// random numberings of the items; numbers only. Unlike the interval it knows
	// that a popular item is the answer of many slates under one number.
	Deviation float64 `json:"deviation,omitempty"`
	Leak      bool    `json:"leak"`
}

// IDOrder is the id-order probe: rules over the numbers of items (which models
// may see through tie-breaks or semantic-ID suffixes) and over their ids.
type IDOrder struct {
	Rules []OrderRule `json:"rules"`
	Leak  bool        `json:"leak"` // any rule leaks
}

// idRules is the number of rules. An accusation must be rarely false, and real
// leaks are far from subtle, so all rules share an error of 1% (Bonferroni):
// strictLevel for intervals, strictDeviation for the two-sided normal law.
const (
	idRules         = 4
	strictLevel     = 1 - .01/idRules
	strictDeviation = 3.023
)

// idRule gives a candidate 0..1 by its item and the last item of the history;
// rank orders the items of the slates by number or by id.
type idRule struct {
	name  string
	byID  bool
	above bool    // 1 for a rank above the last item's, else the relative rank in the slate
	rank  []int32 // by item number
}

// ProbeIDOrder tries the rules on the slates that have a positive and a
// negative. Numbers are a hash, so a number rule leaks when its advantage
// cannot be had from a random numbering. Ids may grow with the release date of
// an item, which honest slates may reward a little; an id rule leaks when its
// lift over the incoming order is above 0. Reported intervals are plain 95%.
func ProbeIDOrder(slates []market.Slate, catalog *market.Catalog, samples int, seed uint64) IDOrder {
	usable := contested(slates)
	items := itemsOf(usable)
	numbers := ranks(items, func(a, b int32) int { return cmp.Compare(a, b) })
	ids := ranks(items, func(a, b int32) int { return compareIDs(catalog.Items[a].ID, catalog.Items[b].ID) })
	rules := [idRules]idRule{
		{"number_above_last", false, true, numbers},
		{"number_order", false, false, numbers},
		{"id_above_last", true, true, ids},
		{"id_order", true, false, ids},
	}
	probe := IDOrder{Rules: make([]OrderRule, len(rules))}
	for i, rule := range rules {
		result := tryRule(usable, rule, samples, seed)
		if !rule.byID {
			result.Deviation = deviation(usable, rule, items, result.Advantage.Value, seed)
			result.Leak = math.Abs(result.Deviation) > strictDeviation
		}
		probe.Rules[i] = result
		probe.Leak = probe.Leak || result.Leak
	}
	return probe
}

// contested are the slates with grades that hold a positive and a negative.
func contested(slates []market.Slate) []*market.Slate {
	var usable []*market.Slate
	for i := range slates {
		s := &slates[i]
		if len(s.Grades) != len(s.Candidates) {
			continue
		}
		if _, ok := (metric.Judged{Ranking: identity(len(s.Grades)), Grades: s.Grades}).AUC(); ok {
			usable = append(usable, s)
		}
	}
	return usable
}

// itemsOf lists the candidates and last history items, each once.
func itemsOf(slates []*market.Slate) []int32 {
	seen := map[int32]bool{}
	var items []int32
	note := func(item int32) {
		if !seen[item] {
			seen[item] = true
			items = append(items, item)
		}
	}
	for _, s := range slates {
		for _, c := range s.Candidates {
			note(c.Item)
		}
		if last, ok := lastItem(s); ok {
			note(last)
		}
	}
	return items
}

func lastItem(s *market.Slate) (item int32, ok bool) {
	if len(s.History) == 0 {
		return 0, false
	}
	return s.History[len(s.History)-1].Item, true
}

// ranks gives each item its place in ascending order, by item number; items
// is sorted on the way.
func ranks(items []int32, compare func(a, b int32) int) []int32 {
	slices.SortFunc(items, compare)
	rank := newRanks(items)
	for place, item := range items {
		rank[item] = int32(place)
	}
	return rank
}

func newRanks(items []int32) []int32 {
	if len(items) == 0 {
		return nil
	}
	return make([]int32, slices.Max(items)+1)
}

// compareIDs compares as text, but numbers by value.
func compareIDs(a, b string) int {
	if digits(a) && digits(b) {
		a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
		if len(a) != len(b) {
			return cmp.Compare(len(a), len(b))
		}
	}
	return strings.Compare(a, b)
}

func digits(s string) bool { return strings.Trim(s, "0123456789") == "" }

// opinion is what the rule thinks of each candidate, 0..1.
func (r *idRule) opinion(s *market.Slate) []float64 {
	opinion, rank := make([]float64, len(s.Candidates)), make([]int32, len(s.Candidates))
	for i, c := range s.Candidates {
		rank[i] = r.rank[c.Item]
	}
	if r.above {
		if last, known := lastItem(s); known {
			for i := range opinion {
				if rank[i] > r.rank[last] {
					opinion[i] = 1
				}
			}
		}
		return opinion
	}
	for i := range opinion {
		for j := range rank {
			if rank[i] > rank[j] {
				opinion[i] += 1 / float64(len(rank)-1)
			}
		}
	}
	return opinion
}

// deviation compares an advantage with those under random numberings.
func deviation(slates []*market.Slate, rule idRule, items []int32, advantage float64, seed uint64) float64 {
	const numberings = 100
	rank := newRanks(items)
	if len(slates) < 2 {
		return 0
	}
	mean, squares := 0.0, 0.0
	for n := range uint64(numberings) {
		for i, place := range rng.New(seed, rng.Key("eval/numbering"), n).Perm(len(items)) {
			rank[items[i]] = int32(place)
		}
		random := idRule{above: rule.above, rank: rank}
		sum := 0.0
		for _, s := range slates {
			sum += tiedAUC(random.opinion(s), s.Grades) - .5
		}
		sum /= float64(len(slates))
		mean += sum / numberings
		squares += sum * sum / numberings
	}
	if spread := math.Sqrt(squares - mean*mean); spread > 0 {
		return (advantage - mean) / spread
	}
	return 0
}

// tryRule measures one rule and judges it by its lift.
func tryRule(slates []*market.Slate, rule idRule, samples int, seed uint64) OrderRule {
	result := OrderRule{Rule: rule.name, N: len(slates)}
	if len(slates) < 2 {
		return result
	}
	const chance, auc, incoming, ruled = 0, 1, 2, 3
	var columns [4][]float64
	opinions := make([][]float64, len(slates))
	for i, s := range slates {
		opinions[i] = rule.opinion(s)
		columns[chance] = append(columns[chance], .5)
		columns[auc] = append(columns[auc], tiedAUC(opinions[i], s.Grades))
		columns[incoming] = append(columns[incoming], bonusRanking(opinions[i], s.Grades, 0).RecallAt(1))
	}
	worth := [2]float64{fitBonus(slates, opinions, 0), fitBonus(slates, opinions, 1)}
	for i, s := range slates {
		other := worth[1-i%2]
		columns[ruled] = append(columns[ruled], bonusRanking(opinions[i], s.Grades, other).RecallAt(1))
	}
	sums := metric.Resample(columns[:], len(slates), samples, seed)
	result.Advantage = sums.Difference(chance, auc, metric.Level)
	if lift := sums.Lift(incoming, ruled, metric.Level); lift.Finite() {
		result.Lift = lift
	}
	result.Leak = sums.Difference(incoming, ruled, strictLevel).Low > 0
	return result
}

// bonusRanking lets each candidate rise by bonus times the rule's opinion of
// it, in places of the incoming order.
func bonusRanking(opinion []float64, grades []uint8, bonus float64) metric.Judged {
	ranking := identity(len(opinion))
	place := func(c int) float64 { return float64(c) - bonus*opinion[c] }
	slices.SortStableFunc(ranking, func(a, b int) int { return cmp.Compare(place(a), place(b)) })
	return metric.Judged{Ranking: ranking, Grades: grades}
}

// fitBonus picks the bonus with the best MRR on the slates of one half (even
// or odd); MRR because it is smoother than R@1.
func fitBonus(slates []*market.Slate, opinions [][]float64, half int) float64 {
	best, highest := 0.0, math.Inf(-1)
	for _, bonus := range []float64{0, 1, -1, 2, -2, 4, -4, 8, -8, 50, -50} {
		sum := 0.0
		for i := half; i < len(slates); i += 2 {
			sum += bonusRanking(opinions[i], slates[i].Grades, bonus).MRR()
		}
		if sum > highest {
			best, highest = bonus, sum
		}
	}
	return best
}

// tiedAUC is AUC of scores, where a tie counts half. The slate has a positive
// and a negative.
func tiedAUC(scores []float64, grades []uint8) float64 {
	wins, pairs := 0.0, 0
	for i, g := range grades {
		if g == market.GradeNone {
			continue
		}
		for j, h := range grades {
			if h != market.GradeNone {
				continue
			}
			pairs++
			switch cmp.Compare(scores[i], scores[j]) {
			case 1:
				wins++
			case 0:
				wins += .5
			}
		}
	}
	return wins / float64(pairs)
}
