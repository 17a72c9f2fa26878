package pipeline

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/gr2/gr2/internal/control"
	"github.com/gr2/gr2/internal/durable"
	"github.com/gr2/gr2/internal/eval"
	"github.com/gr2/gr2/internal/kernel"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/market/synth"
	"github.com/gr2/gr2/internal/report"
	"github.com/gr2/gr2/internal/rerank"
)

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
	if err := seal(w.job); err != nil {
		return err
	}
	policy, err := rerank.Open(w.job.Root, rerank.OpenOptions{})
	if err != nil {
		return err
	}
	var writer *rerank.Reranker
	if w.job.Options.Eval.Decode != string(rerank.Generate) {
		if writer, err = rerank.Open(w.job.Root, rerank.OpenOptions{Mode: rerank.Generate}); err != nil {
			return err
		}
	}
	results := eval.NewReport(w.job.Options.Seed)
	results.Rival = control.LinearName
	var samples []report.Sample
	for i, order := range orders {
		set, err := w.slates(order)
		if err != nil {
			return err
		}
		if err := w.checkLeaks(split, set); err != nil {
			return err
		}
		e := &evaluation{world: w, policy: policy, writer: writer, order: order, set: set, share: float64(i) / float64(len(orders)), of: len(orders)}
		if err := e.measure(ctx, results); err != nil {
			return err
		}
		if err := e.probe(ctx, results); err != nil {
			return err
		}
		samples = append(samples, e.samples(w.job.Options.Eval.Samples/len(orders))...)
	}
	if err := durable.WriteJSON(filepath.Join(dir, ReportFile), results); err != nil {
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

// evaluation is the measurement of one incoming order.
type evaluation struct {
	*world
	policy *rerank.Reranker
	writer *rerank.Reranker // the same policy, read by the ranking it writes; nil when that is its mode
	order  string
	set    *orderSet
	share  float64 // of the stage done before this order
	of     int     // orders

	answers []rerank.Result // of the policy on the test slates
	written []rerank.Result // of the writer
}

// writtenSFT names the row of a judging policy's written rankings: what its
// judgement adds to, and what reinforcement learning has to raise.
const writtenSFT = StageSFT + "/" + string(rerank.Generate)

// measure adds the rows of the order: incoming, controls, policy, optimum.
func (e *evaluation) measure(ctx context.Context, results *eval.Report) error {
	policies, err := e.controls()
	if err != nil {
		return err
	}
	if e.answers, err = e.rank(ctx, e.policy, e.set.test.Slates, nil, "test"); err != nil {
		return err
	}
	policies = append(policies, eval.Policy{Name: StageSFT, Rankings: rankings(e.answers)})
	if e.writer != nil {
		written, err := e.rank(ctx, e.writer, e.set.test.Slates, nil, "written")
		if err != nil {
			return err
		}
		e.written = written
		policies = append(policies, eval.Policy{Name: writtenSFT, Rankings: rankings(written)})
	}
	if optimal, err := e.optimal(); err != nil {
		return err
	} else if optimal != nil {
		policies = append(policies, *optimal)
	}
	rows, err := eval.Rows(eval.Test{
		Order: e.order, Split: "test", Slates: e.set.test.Slates, Missing: e.set.test.missing(), Events: e.set.test.Events,
		Rival: results.Rival, Samples: e.job.Options.Eval.Bootstrap, Seed: e.job.Options.Seed,
	}, policies)
	if err != nil {
		return err
	}
	results.Rows = append(results.Rows, rows...)
	if row := results.Find(e.order, StageSFT, eval.Conditional, "test"); row != nil {
		e.say("%s: %s R@1 %s, N@3 %s over the incoming order (n=%d)", e.order, StageSFT, percent(row.Lift, "R@1"), percent(row.Lift, "N@3"), row.N)
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
// fusion and a linear model on the same evidence, fitted on the same slates.
func (e *evaluation) controls() ([]eval.Policy, error) {
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
	for _, r := range []control.Ranker{control.RRFTitle(), control.RRFKNNTitle(), linear} {
		p := eval.Policy{Name: r.Name()}
		for _, c := range cases {
			p.Rankings = append(p.Rankings, r.Rank(c))
		}
		policies = append(policies, p)
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
