package control

// FusionK is the constant of reciprocal rank fusion. It is small because
// slates are short: 60, the usual value for result lists of a thousand, would
// make ten ranks nearly equal.
const FusionK = 3

// Fusion ranks by the sum over lists of 1/(FusionK + rank): the incoming order
// is one list, each of the features another, largest first (Cormack, Clarke and
// Büttcher 2009). Equal values share their mean rank.
type Fusion struct {
	name    string
	columns []int // of Case.Evidence
}

// RRFTitle fuses the incoming order with title similarity to the history.
func RRFTitle() *Fusion { return &Fusion{"control/rrf-title", columns("titleDecay")} }

// RRFKNNTitle fuses the incoming order with co-engagement and title similarity.
func RRFKNNTitle() *Fusion { return &Fusion{"control/rrf-knn-title", columns("co", "titleDecay")} }

// Name is control/rrf-title or control/rrf-knn-title.
func (f *Fusion) Name() string { return f.name }

// Rank fuses the lists; equal sums keep the incoming order.
func (f *Fusion) Rank(c Case) []int {
	scores := make([]float64, len(c.Evidence))
	for i := range scores {
		scores[i] = 1 / float64(FusionK+1+i)
	}
	for _, column := range f.columns {
		for i, row := range c.Evidence {
			scores[i] += 1 / (FusionK + meanRank(c.Evidence, column, row[column]))
		}
	}
	return byScore(scores)
}

// meanRank is the rank, from 1, of a value among those of the column.
func meanRank(rows [][]float32, column int, value float32) float64 {
	above, equal := 0, 0
	for _, row := range rows {
		switch {
		case row[column] > value:
			above++
		case row[column] == value:
			equal++
		}
	}
	return float64(above) + float64(equal+1)/2
}
