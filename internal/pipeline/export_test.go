package pipeline

import (
	"bytes"
	"encoding/csv"
	"slices"
	"strconv"
	"testing"

	"github.com/gr2/gr2/internal/evidence"
)

// Every candidate of every part is a row with the evidence that the linear control
// reads: of training slates that without the user's own fold. Held-out users are
// told from the others.
func TestExportedSlatesAreThoseOfTheControl(t *testing.T) {
	w := newTestWorld(t, func(*Options) {})
	var out bytes.Buffer
	n, err := w.exportSlates(t.Context(), &out)
	if err != nil {
		t.Fatal(err)
	}
	table, err := csv.NewReader(&out).ReadAll()
	if err != nil || len(table) != n+1 {
		t.Fatalf("%d lines for %d rows, error %v", len(table), n, err)
	}
	names := table[0][8:]
	if !slices.Equal(names, evidence.Names()) {
		t.Errorf("values %v", names)
	}
	rows := table[1:]
	seen := map[string]int{}
	differ := 0 // values of training slates that the own fold changes
	for order, set := range w.orders {
		for _, p := range set.parts() {
			for i := range p.Slates {
				s := &p.Slates[i]
				part, fold := p.name, evidence.None
				switch {
				case part == partTrain:
					fold = w.foldOf(w.stats, s)
				case part == partValid && w.heldOut(s):
					part = partHeld
				}
				raw, whole := w.stats.Raw(s, fold), w.stats.Raw(s, evidence.None)
				at := slices.IndexFunc(rows, func(row []string) bool { return row[0] == order && row[1] == part && row[2] == s.ID })
				if at < 0 {
					t.Fatalf("slate %s (%s, %s) is missing", s.ID, order, part)
				}
				for k := range s.Candidates {
					row := rows[at+k]
					seen[part]++
					item, score := w.data.Catalog.Items[s.Candidates[k].Item].ID, strconv.FormatFloat(float64(s.Candidates[k].Score), 'g', -1, 32)
					if row[2] != s.ID || row[3] != w.data.Users[s.User] || row[4] != item || row[6] != score || row[5] != strconv.Itoa(k+1) || row[7] != strconv.Itoa(int(s.Grades[k])) {
						t.Fatalf("candidate %d of %s is %v", k, s.ID, row)
					}
					for f, cell := range row[8:] {
						if v, err := strconv.ParseFloat(cell, 32); err != nil || float32(v) != raw[k][f] {
							t.Fatalf("%s of candidate %d of %s is %s, want %v", names[f], k, s.ID, cell, raw[k][f])
						}
						if raw[k][f] != whole[k][f] {
							differ++
						}
					}
				}
			}
		}
	}
	if seen[partTrain] == 0 || seen[partValid] == 0 || seen[partHeld] == 0 || seen[partTrain]+seen[partValid]+seen[partHeld]+seen[partTest] != n || differ == 0 {
		t.Errorf("parts %v of %d rows, %d values without the own fold", seen, n, differ)
	}
}
