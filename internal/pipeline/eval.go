package pipeline

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gr2/gr2/internal/control"
	"github.com/gr2/gr2/internal/durable"
	"github.com/gr2/gr2/internal/eval"
	"github.com/gr2/gr2/internal/kernel"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/market/synth"
	"github.com/gr2/gr2/internal/report"
	"github.com/gr2/gr2/internal/rerank"
	"github.com/gr2/gr2/internal/rng"
)

// rankingsFile holds the test slates as every policy ranked them.
const rankingsFile = "rankings.jsonl.gz"

// evalStage measures every policy on the frozen test slates of every order.
func (w *world) evalStage(ctx context.Context, dir string) error {
	split, err := w.split()
	if err != nil {
		return err
	}
	orders, err := w.orderNames()
	if err != nil {
		return err
	}
	if err := sealLast(w.job); err != nil {
		return err
	}
	readings, err := w.readings()
	if err != nil {
		return err
	}
	results := eval.NewReport(w.job.Options.Seed)
	results.Rival = control.LinearName
	if results.Warnings, err = Warnings(w.job.Root); err != nil {
		return err
	}
	var samples []report.Sample
	var ranked []eval.Ranked
	for i, order := range orders {
		set, err := w.slates(order)
		if err != nil {
			return err
		}
		if err := w.checkLeaks(split, set); err != nil {
			return err
		}
		e := &evaluation{world: w, readings: slices.Clone(readings), order: order, set: set, share: float64(i) / float64(len(orders)), of: len(orders)}
		if err := e.measure(ctx, results); err != nil {
			return err
		}
		if err := e.probe(ctx, results); err != nil {
			return err
		}
		ranked = append(ranked, e.ranked...)
		samples = append(samples, e.samples(w.job.Options.Eval.Samples/len(orders))...)
	}
	if err := durable.WriteJSON(filepath.Join(dir, ReportFile), results); err != nil {
		return err
	}
	if err := durable.Write(filepath.Join(dir, rankingsFile), func(w io.Writer) error { return eval.WriteRanked(w, ranked) }); err != nil {
		return err
	}
	return durable.WriteJSON(filepath.Join(dir, samplesFile), samples)
}

// checkLeaks refuses to evaluate where the future shows. Training slates are
// cross-fitted from training events and have their own rule, see baseline.
func (w *world) checkLeaks(split *market.Split, set *orderSet) error {
	// Leave-one-out orders equal times by a frozen shuffle; logs may have no
	// time of a visit but that of the impression.
	rule := eval.TimeRule{Cut: split.CutValid, Ties: split.Protocol != market.ProtocolTime}
	if split.Protocol == market.ProtocolLeaveOneOut {
		rule.Cut = 0
	}
	if err := eval.CheckTime(set.valid.Slates, split.Train, w.data, rule); err != nil {
		return err
	}
	return eval.CheckTime(set.test.Slates, split.Train, w.data, rule)
}

// reading is a trained policy read in one way.
type reading struct {
	name    string // of its row
	before  string // the row of the policy from which it was trained, read in the same way; "" is none
	policy  *rerank.Reranker
	answers []rerank.Result // on the test slates of one order
}

// writtenSuffix ends the name of the row of a policy's written rankings where
// the run reads it in another way: what its judgement adds to.
const writtenSuffix = "/" + string(rerank.Generate)

// readings are those of the table, stage after stage: as eval.decode says, and
// by the written ranking where that is another.
func (w *world) readings() ([]reading, error) {
	var all []reading
	for i, stage := range w.job.Options.policyStages() {
		before := ""
		if i > 0 && w.job.Options.RL.From == StageSFT {
			before = StageSFT
		}
		weights := rerank.Weights(w.job.Options.Eval.Weights)
		policy, err := rerank.Open(w.job.Root, rerank.OpenOptions{Stage: stage, Weights: weights})
		if err != nil {
			return nil, err
		}
		all = append(all, reading{name: stage, before: before, policy: policy})
		if w.job.Options.Eval.Decode == string(rerank.Generate) {
			continue
		}
		if policy, err = rerank.Open(w.job.Root, rerank.OpenOptions{Stage: stage, Mode: rerank.Generate, Weights: weights}); err != nil {
			return nil, err
		}
		if before != "" {
			before += writtenSuffix
		}
		all = append(all, reading{name: stage + writtenSuffix, before: before, policy: policy})
	}
	return all, nil
}

// evaluation is the measurement of one incoming order.
type evaluation struct {
	*world
	readings []reading
	order    string
	set      *orderSet
	ranked   []eval.Ranked // what measure found
	share    float64       // of the stage done before this order
	of       int           // orders
}

// served is the reading of the last stage that the run serves.
func (e *evaluation) served() *reading {
	stages := e.job.Options.policyStages()
	return e.reading(stages[len(stages)-1])
}

// reading is the one of this name, nil where there is none.
func (e *evaluation) reading(name string) *reading {
	for i := range e.readings {
		if e.readings[i].name == name {
			return &e.readings[i]
		}
	}
	return nil
}

// measure adds the rows of the order: incoming, controls, policies, optimum.
func (e *evaluation) measure(ctx context.Context, results *eval.Report) error {
	policies, err := e.controls(ctx)
	if err != nil {
		return err
	}
	for i := range e.readings {
		r := &e.readings[i]
		if r.answers, err = e.rank(ctx, r.policy, e.set.test.Slates, nil, r.name); err != nil {
			return err
		}
		policies = append(policies, eval.Policy{Name: r.name, Rankings: rankings(r.answers), Before: r.before})
	}
	if optimal, err := e.optimal(); err != nil {
		return err
	} else if optimal != nil {
		policies = append(policies, *optimal)
	}
	test := eval.Test{
		Order: e.order, Split: "test", Slates: e.set.test.Slates, Missing: e.set.test.missing(), Events: e.set.test.Events,
		Rival: results.Rival, Samples: e.job.Options.Eval.Bootstrap, Seed: e.job.Options.Seed,
	}
	rows, err := eval.Rows(test, policies)
	if err != nil {
		return err
	}
	results.Rows = append(results.Rows, rows...)
	e.ranked = eval.RankedSlates(test, policies, e.userKey)
	for _, r := range e.readings {
		if row := results.Find(e.order, r.name, eval.Conditional, "test"); row != nil && !strings.HasSuffix(r.name, writtenSuffix) {
			e.say("%s: %s R@1 %s, N@3 %s over the incoming order (n=%d)", e.order, r.name, percent(row.Lift, "R@1"), percent(row.Lift, "N@3"), row.N)
		}
	}
	return nil
}

func percent(lifts map[string]eval.Lift, metric string) string {
	l, known := lifts[metric]
	if !known {
		return "-"
	}
	return fmt.Sprintf("%+.1f%% [%+.1f, %+.1f]", 100*l.Value, 100*l.Low, 100*l.High)
}

// controls are what users would pick instead of a language model: untrained
// fusion, linear models and trees, fitted on the same slates, on all evidence there is and on
// that which prompts show.
func (e *evaluation) controls(ctx context.Context) ([]eval.Policy, error) {
	stats, _, err := e.evidence()
	if err != nil {
		return nil, err
	}
	fitting := append(e.cases(stats, e.set.train.Slates, true), e.cases(stats, e.set.valid.Slates, false)...)
	linear, err := control.FitLinear(fitting, control.LinearOptions{})
	if err != nil {
		return nil, err
	}
	cases := e.cases(stats, e.set.test.Slates, false)
	var policies []eval.Policy
	add := func(name string, r control.Ranker) {
		p := eval.Policy{Name: name}
		for _, c := range cases {
			p.Rankings = append(p.Rankings, r.Rank(c))
		}
		policies = append(policies, p)
	}
	trees, err := control.FitTrees(ctx, fitting, control.TreesOptions{Seed: rng.Hash(e.job.Options.Seed, rng.Key("control"))})
	if err != nil {
		return nil, err
	}
	for _, r := range []control.Ranker{control.RRFTitle(), control.RRFKNNTitle(), linear, trees} {
		add(r.Name(), r)
	}
	if o := &e.job.Options; o.Prompt.Evidence {
		shown, err := control.FitLinear(fitting, control.LinearOptions{Features: control.ShownFeatures(o.promptOptions().EvidenceNames)})
		if err != nil {
			return nil, err
		}
		add(control.ShownName, shown)
	}
	return policies, nil
}

// optimal is the Bayes-optimal order of the impressions of a synthetic market,
// nil elsewhere.
func (e *evaluation) optimal() (*eval.Policy, error) {
	if e.order != loggedOrder {
		return nil, nil
	}
	path := filepath.Join(e.job.DataDir, GainsFile)
	if _, err := os.Stat(path); err != nil {
		return nil, nil
	}
	var gains synth.Gains
	err := readFile(path, func(in io.Reader) (err error) {
		gains, err = synth.ReadGains(in, path)
		return err
	})
	if err != nil {
		return nil, err
	}
	p := eval.Policy{Name: eval.Bayes}
	for i := range e.set.test.Slates {
		order, err := gains.Order(&e.set.test.Slates[i], e.data.Catalog)
		if err != nil {
			return nil, err
		}
		p.Rankings = append(p.Rankings, order)
	}
	return &p, nil
}

// rank runs a policy over slates.
func (e *evaluation) rank(ctx context.Context, policy *rerank.Reranker, slates []market.Slate, shown [][]int, what string) ([]rerank.Result, error) {
	return policy.RerankAll(ctx, slates, rerank.Batch{Workers: kernel.Threads(), Shown: shown, Progress: func(done, total int) {
		along := float64(done) / float64(max(total, 1)) / float64(e.of)
		e.work(e.share+along, 1, fmt.Sprintf("%s %s: %d of %d slates", e.order, what, done, total))
	}})
}

func rankings(results []rerank.Result) [][]int {
	out := make([][]int, len(results))
	for i, r := range results {
		out[i] = r.Order
	}
	return out
}
