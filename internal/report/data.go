package report

import (
	"github.com/gr2/gr2/internal/eval"
	"github.com/gr2/gr2/internal/sid"
	"github.com/gr2/gr2/internal/sid/quality"
)

// Data is all that a report shows. Empty parts are left out.
type Data struct {
	Title   string // name of the run
	Summary string // one or two sentences: what was run, on what

	Report    *eval.Report
	Baselines *Table   // retrieval over the whole catalog, or any other table
	Curves    []Curve  // see ReadCurves
	Beside    []Run    // other runs, whose curves stand beside this one's: at most MaxBeside
	Samples   []Sample // slates before and after
	SID       *SIDs    // the run's semantic IDs
	Facts     []Fact   // data set, model, machine
	Stages    []Fact   // stage and what it took

	Config  string   // the resolved configuration
	Command string   // what makes the run again
	Alarms  []string // and warnings of the training; they stand in front of every number
	Limits  []string // what the reader must know before believing a number
}

// SIDs describes the semantic IDs of a run.
type SIDs struct {
	Quality quality.Report
	Nearest sid.Stats // were every level the nearest code
}

// MaxBeside is how many other runs a chart has lines for that can be told apart.
const MaxBeside = 5

// Run is another run, of which the curves alone are shown.
type Run struct {
	Name    string
	Curves  []Curve
	Changes []string // settings in which it differs, "key: this run's -> its own"
}

// Fact is a name and its value.
type Fact struct{ Name, Value string }

// Table is a plain table whose first column is text.
type Table struct {
	Caption string
	Columns []string
	Rows    [][]string
}

// Sample is one slate as it came and as the policy ranked it.
type Sample struct {
	ID      string
	Note    string // why it is shown, such as "largest gain"
	Policy  string
	Order   string // name of the incoming order
	History []SampleItem
	// Candidates stand in the incoming order.
	Candidates []SampleItem
	Ranking    []int // the policy's order: indices of Candidates
	Trace      string
}

// SampleItem is an item as a reader wants to see it.
type SampleItem struct {
	Title  string
	Detail string // brand, category, date
	Grade  uint8  // of a candidate: market.GradeNone, GradeClick, GradeConvert
}
