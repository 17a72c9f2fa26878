package pipeline

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/gr2/gr2/internal/control"
	"github.com/gr2/gr2/internal/evidence"
	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/kernel"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/metric"
	"github.com/gr2/gr2/internal/rng"
)

// EvidenceWorth is how well a control, linear but where it says trees, ranks by some of
// the values of evidence. It is fitted on the slates that SFT learns from, one for each
// incoming order, and ranks the validation slates of the users that are held out
// from all training (sft.valid_share): nothing of the test slates is in it.
type EvidenceWorth struct {
	// Values are "shown" (the names asked for, and the rank), "all", "trees on shown",
	// "trees on all", or the first with a value more or less.
	Values string             `json:"values"`
	Slates int                `json:"slates"`
	Orders map[string]float64 `json:"orders"` // N@3 on each incoming order
	N3     float64            `json:"N@3"`    // over the slates of all orders
	// Over is N3 less that of what is shown, with its paired 95% interval.
	Over metric.Interval `json:"over_shown"`
}

// MeasureEvidence says what each value is worth on a run that has its slates and
// statistics: first what prompts with these names show (nil for those of the run),
// then all, then what trees make of the two, then one value more and one less, by
// what they add. It changes nothing of the run.
func MeasureEvidence(ctx context.Context, job *Job, names []string) ([]EvidenceWorth, error) {
	if names == nil && job.Options.Prompt.Evidence {
		names = job.Options.promptOptions().EvidenceNames
	}
	for i, name := range names {
		if !slices.Contains(evidence.Names(), name) {
			return nil, fault.Usagef("there is no value %q of evidence; there are %s", name, strings.Join(evidence.Names(), ", "))
		}
		if slices.Contains(names[:i], name) {
			return nil, fault.Usagef("the value %s of evidence is named twice", name)
		}
	}
	if err := job.standsFor(StageEvidence); err != nil {
		return nil, err
	}
	w := newWorld(job)
	fits, err := w.evidenceFits()
	if err != nil {
		return nil, err
	}
	return weigh(ctx, job, fits, control.ShownFeatures(names))
}

// weigh fits and ranks by each set of values.
func weigh(ctx context.Context, job *Job, fits []orderFit, shown []string) ([]EvidenceWorth, error) {
	sets := valueSets(shown)
	rows, columns := make([]EvidenceWorth, len(sets)), make([][]float64, len(sets))
	failed := make([]error, len(sets))
	kernel.Parallel(len(sets), func(i int) {
		if failed[i] = ctx.Err(); failed[i] == nil {
			rows[i], columns[i], failed[i] = sets[i].worth(ctx, fits, job.Options.Seed)
		}
	})
	if i := slices.IndexFunc(failed, func(err error) bool { return err != nil }); i >= 0 {
		return nil, failed[i]
	}
	slates := len(columns[0])
	sums := metric.Resample(columns, slates, job.Options.Eval.Bootstrap, job.Options.Seed)
	for i := range rows {
		rows[i].Slates, rows[i].N3, rows[i].Over = slates, sums.Mean(i), sums.Difference(0, i, metric.Level)
	}
	slices.SortStableFunc(rows[wholeSets:], func(a, b EvidenceWorth) int {
		return cmp.Or(cmp.Compare(b.Over.Value, a.Over.Value), strings.Compare(a.Values, b.Values))
	})
	return rows, nil
}

// orderFit is what there is of one incoming order to fit and to measure on.
type orderFit struct {
	order           string
	fitting, ranked []control.Case
}

func (w *world) evidenceFits() ([]orderFit, error) {
	training, _, err := w.slatesFor(StageSFT)
	if err != nil {
		return nil, err
	}
	orders, err := w.orderNames()
	if err != nil {
		return nil, err
	}
	raw, err := w.rawCases(training)
	if err != nil {
		return nil, err
	}
	stats, _, err := w.evidence()
	if err != nil {
		return nil, err
	}
	var fits []orderFit
	for _, order := range orders {
		f := orderFit{order: order}
		for i, s := range training {
			if s.order == order {
				f.fitting = append(f.fitting, raw[i])
			}
		}
		set, err := w.slates(order)
		if err != nil {
			return nil, err
		}
		held := slices.DeleteFunc(withPositive(set.valid.Slates), func(s market.Slate) bool { return !w.heldOut(&s) })
		f.ranked = w.cases(stats, held, false)
		if len(f.fitting) > 0 && len(held) > 0 {
			fits = append(fits, f)
		}
	}
	if len(fits) == 0 {
		return nil, fault.Inputf("no incoming order has both training slates and validation slates with a positive (sft.valid_share %g)", w.job.Options.SFT.ValidShare)
	}
	return fits, nil
}

// wholeSets are the sets that valueSets begins with, before a value more or less.
const wholeSets = 4

// valueSet is some of the features of a control.
type valueSet struct {
	name     string
	features []string
	trees    bool
}

// valueSets are what is shown, all, what trees make of the two, and the first with one more or one less.
func valueSets(shown []string) []valueSet {
	all := control.Features()
	sets := []valueSet{
		{"shown", shown, false}, {"all", all, false}, {"trees on shown", shown, true}, {"trees on all", all, true},
	}
	for _, name := range control.Features() {
		if !slices.Contains(shown, name) {
			sets = append(sets, valueSet{"shown + " + name, append(slices.Clone(shown), name), false})
		}
	}
	for i, name := range shown {
		sets = append(sets, valueSet{"shown - " + name, slices.Delete(slices.Clone(shown), i, i+1), false})
	}
	return sets
}

// worth is the row of a set but for its intervals, and N@3 on each slate.
func (v *valueSet) worth(ctx context.Context, fits []orderFit, seed uint64) (EvidenceWorth, []float64, error) {
	row, all := EvidenceWorth{Values: v.name, Orders: map[string]float64{}}, []float64{}
	for _, f := range fits {
		model, err := v.fit(ctx, f.fitting, seed)
		if err != nil {
			return row, nil, fmt.Errorf("order %s: %w", f.order, err)
		}
		sum := 0.0
		for _, c := range f.ranked {
			at := metric.Judged{Ranking: model.Rank(c), Grades: c.Slate.Grades}.NDCGAt(3)
			sum += at
			all = append(all, at)
		}
		row.Orders[f.order] = sum / float64(len(f.ranked))
	}
	return row, all, nil
}

func (v *valueSet) fit(ctx context.Context, cases []control.Case, seed uint64) (control.Ranker, error) {
	if v.trees {
		return control.FitTrees(ctx, cases, control.TreesOptions{Features: v.features, Seed: rng.Hash(seed, rng.Key("worth"))})
	}
	return control.FitLinear(cases, control.LinearOptions{Features: v.features})
}
