package rqvae

import "github.com/gr2/gr2/internal/market"

// CoEngaged is the pairs of different items that a user engaged with at most
// window events apart, one for each such occasion. events are by user, then
// time, as in market.Split.Train: pairs of later events would leak what is to be
// predicted.
func CoEngaged(events []market.Event, window int) [][2]int32 {
	var pairs [][2]int32
	for i, e := range events {
		for _, next := range events[i+1 : min(i+1+window, len(events))] {
			if next.User != e.User {
				break
			}
			if next.Item != e.Item {
				pairs = append(pairs, [2]int32{e.Item, next.Item})
			}
		}
	}
	return pairs
}
