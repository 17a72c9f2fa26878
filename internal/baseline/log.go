package baseline

import (
	"math"

	"github.com/gr2/gr2/internal/market"
)

// trainLog is what a ranker may learn from: the training sequences, oldest
// visit first, one per user.
type trainLog struct {
	items   int
	users   []int32 // user number of each sequence, ascending
	seqs    [][]market.Visit
	baskets bool // visits of equal time have no order among each other
}

// newTrainLog groups the training events, which market sorts by user.
func newTrainLog(split *market.Split, items int) *trainLog {
	l := &trainLog{items: items, baskets: split.Protocol != market.ProtocolLeaveOneOut}
	visits := make([]market.Visit, len(split.Train))
	for i, e := range split.Train {
		visits[i] = market.Visit{Item: e.Item, Time: e.Time}
	}
	for from := 0; from < len(split.Train); {
		to := from + 1
		for to < len(split.Train) && split.Train[to].User == split.Train[from].User {
			to++
		}
		l.users = append(l.users, split.Train[from].User)
		l.seqs = append(l.seqs, visits[from:to:to])
		from = to
	}
	return l
}

// without is the log of the users for whom held is false.
func (l *trainLog) without(held func(user int32) bool) *trainLog {
	rest := &trainLog{items: l.items, baskets: l.baskets}
	for i, u := range l.users {
		if !held(u) {
			rest.users = append(rest.users, u)
			rest.seqs = append(rest.seqs, l.seqs[i])
		}
	}
	return rest
}

// counts is the number of events of each item.
func (l *trainLog) counts() []float32 {
	counts := make([]float32, l.items)
	for _, seq := range l.seqs {
		for _, v := range seq {
			counts[v.Item]++
		}
	}
	return counts
}

// logPopularity is the log-probability of each item under its count plus one.
func logPopularity(counts []float32) []float32 {
	total := float64(len(counts))
	for _, c := range counts {
		total += float64(c)
	}
	prior := make([]float32, len(counts))
	for i, c := range counts {
		prior[i] = float32(math.Log((float64(c) + 1) / total))
	}
	return prior
}

// known is what every ranker knows of the catalog at large.
type known struct {
	prior   []float32 // log popularity: the answer when there is nothing else to go by
	trained []bool    // items with training events
}

func knownItems(counts []float32) known {
	k := known{prior: logPopularity(counts), trained: make([]bool, len(counts))}
	for i, c := range counts {
		k.trained[i] = c > 0
	}
	return k
}

// read is the last n visits to items that have training events. A model has
// random numbers for the others: on a time split of Beauty, where a third of
// the test histories hold such items, leaving them in costs SASRec a sixth of
// its N@10.
func (k known) read(history []market.Visit, n int) []market.Visit {
	for i, v := range history {
		if !k.trained[v.Item] {
			kept := append([]market.Visit(nil), history[:i]...)
			for _, v := range history[i+1:] {
				if k.trained[v.Item] {
					kept = append(kept, v)
				}
			}
			history = kept
			break
		}
	}
	return history[max(0, len(history)-n):]
}
