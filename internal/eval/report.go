package eval

import "github.com/gr2/gr2/internal/metric"

// Schema is the version of Report's JSON.
const Schema = 1

// Names of policies that are no re-ranker, and of the slices.
const (
	Incoming    = "incoming"
	Oracle      = "oracle"
	Bayes       = "bayes" // the optimum of a synthetic market, given by the caller
	AllOrders   = "all"   // order of rows whose lifts are means over the orders
	Conditional = "conditional"
	EndToEnd    = "end_to_end"
)

// Lift is a relative change over the incoming row of the same order, with its
// 95% interval.
type Lift = metric.Interval

// Row is one policy on one order, slice and split.
type Row struct {
	Order   string             `json:"order"`
	Policy  string             `json:"policy"`
	Slice   string             `json:"slice"`
	Split   string             `json:"split"`
	N       int                `json:"n"` // slates (conditional) or events (end_to_end)
	Metrics map[string]float64 `json:"metrics"`
	Lift    map[string]Lift    `json:"lift,omitempty"` // absent in incoming rows, and for a metric whose incoming mean is 0
	// OverRival is the same over the row of Test.Rival: what the policy adds to
	// what a user would pick instead. Absent in that row and in the oracle's.
	OverRival map[string]Lift `json:"over_rival,omitempty"`
	// OverBefore is the same over the row of the policy Before, from which this
	// one was trained: what the training stage adds.
	Before     string          `json:"before,omitempty"`
	OverBefore map[string]Lift `json:"over_before,omitempty"`
	// OverOther is the same over this policy in the runs that Combine was given to
	// compare with, or over their policy Other where they lack it: what their
	// configuration lacks.
	Other     string          `json:"other,omitempty"`
	OverOther map[string]Lift `json:"over_other,omitempty"`
	// Spread, RivalSpread, BeforeSpread and OtherSpread are the standard deviations
	// of Lift, OverRival, OverBefore and OverOther over the runs that Combine put
	// together; absent in the row of one run.
	Spread       map[string]float64 `json:"spread,omitempty"`
	RivalSpread  map[string]float64 `json:"rival_spread,omitempty"`
	BeforeSpread map[string]float64 `json:"before_spread,omitempty"`
	OtherSpread  map[string]float64 `json:"other_spread,omitempty"`
}

// Report is RUN/report.json.
type Report struct {
	Schema int            `json:"schema"`
	Rows   []Row          `json:"rows"`
	Probes map[string]any `json:"probes"`
	Seed   uint64         `json:"seed"`
	Rival  string         `json:"rival,omitempty"` // policy that OverRival compares with
	Seeds  []uint64       `json:"seeds,omitempty"` // of the runs that Combine put together
	// Warnings are what the trainings behind the rows are to be doubted for.
	Warnings []string `json:"warnings,omitempty"`
	// Changes are the settings, "key: old -> new", in which the runs differ from those
	// that OverOther compares with.
	Changes []string `json:"changes,omitempty"`
}

// NewReport returns an empty report of the current schema.
func NewReport(seed uint64) *Report {
	return &Report{Schema: Schema, Rows: []Row{}, Probes: map[string]any{}, Seed: seed}
}

// Find returns the row with these names, or nil.
func (r *Report) Find(order, policy, slice, split string) *Row {
	for i := range r.Rows {
		row := &r.Rows[i]
		if row.Order == order && row.Policy == policy && row.Slice == slice && row.Split == split {
			return row
		}
	}
	return nil
}

// MetricNames lists the metrics of a row in the order of tables. End-to-end
// rows have no AUC: it is a metric of single impressions.
func MetricNames() []string {
	return []string{"R@1", "R@3", "R@5", "N@3", "N@5", "MAP", "MRR", "AUC"}
}

// score evaluates the metric of that name; ok is false where it is undefined.
func score(name string, j metric.Judged) (value float64, ok bool) {
	switch name {
	case "R@1":
		return j.RecallAt(1), true
	case "R@3":
		return j.RecallAt(3), true
	case "R@5":
		return j.RecallAt(5), true
	case "N@3":
		return j.NDCGAt(3), true
	case "N@5":
		return j.NDCGAt(5), true
	case "MAP":
		return j.AP(), true
	case "MRR":
		return j.MRR(), true
	case "AUC":
		return j.AUC()
	}
	return 0, false
}
