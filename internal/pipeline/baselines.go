package pipeline

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/gr2/gr2/internal/baseline"
	"github.com/gr2/gr2/internal/durable"
	"github.com/gr2/gr2/internal/eval"
	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/prompt"
)

const measuresFile = "measures.json"

// baselineStage gives slates their incoming order: that of the logs where the
// data set has impressions, else of legacy rankers trained here.
func (w *world) baselineStage(ctx context.Context, dir string) error {
	split, err := w.split()
	if err != nil {
		return err
	}
	if split.Protocol == market.ProtocolLogged {
		set := &orderSet{train: logged(split.TrainSlates), valid: logged(split.ValidSlates), test: logged(split.TestSlates)}
		if n := tooLong(split.TrainSlates) + tooLong(split.ValidSlates) + tooLong(split.TestSlates); n > 0 {
			w.say("%d impressions of more than %d candidates are left out: a prompt cannot show them", n, prompt.SlateMax)
		}
		w.say("logged order: %d training, %d validation, %d test slates with a positive", len(set.train.Slates), len(set.valid.Slates), len(set.test.Slates))
		if err := usable(set); err != nil {
			return err
		}
		return w.saveOrder(dir, loggedOrder, set)
	}
	return w.buildOrders(ctx, dir, split)
}

// loggedOrder is the incoming order of logged impressions.
const loggedOrder = "logged"

// usable demands slates to choose and to measure by, before anything is trained.
func usable(set *orderSet) error {
	for _, p := range set.parts() {
		if len(p.Slates) == 0 {
			return fault.Inputf("there is no %s slate with a positive, so nothing can be learnt or measured: the log is too small, its impressions lack grades, or data.valid_share or data.test_share is too small", p.name)
		}
	}
	return nil
}

// tooLong counts the impressions that a prompt cannot show.
func tooLong(slates []market.Slate) int {
	n := 0
	for i := range slates {
		if len(slates[i].Candidates) > prompt.SlateMax {
			n++
		}
	}
	return n
}

// logged keeps the impressions that a ranking can get right or wrong.
func logged(slates []market.Slate) part {
	p := part{Slates: withPositive(slates), Events: len(slates) - tooLong(slates), LeftOut: tooLong(slates)}
	p.Slates = slices.DeleteFunc(p.Slates, func(s market.Slate) bool { return len(s.Candidates) > prompt.SlateMax })
	for i := range p.Slates {
		n := 0
		for _, g := range p.Slates[i].Grades {
			if g > market.GradeNone {
				n++
			}
		}
		p.Positives = append(p.Positives, n)
	}
	return p
}

// buildOrders trains the legacy rankers and cuts the slates of each order.
func (w *world) buildOrders(ctx context.Context, dir string, split *market.Split) error {
	orders, err := w.orderNames()
	if err != nil {
		return err
	}
	suite, err := baseline.Train(ctx, w.data, split, w.job.Options.baseline(), baseline.Options{
		Dir: filepath.Join(dir, "models"), Orders: orders, Progress: w.baselineProgress,
	})
	if err != nil {
		return err
	}
	full, probes := map[string]map[string]baseline.Measures{}, map[string]map[string]eval.IDOrder{}
	for _, order := range orders {
		built, err := suite.BuildSlates(ctx, order)
		if err != nil {
			return err
		}
		set := &orderSet{train: partOf(built.Train), valid: partOf(built.Valid), test: partOf(built.Test)}
		if err := usable(set); err != nil {
			return fmt.Errorf("%s: %w", order, err)
		}
		if err := w.saveOrder(dir, order, set); err != nil {
			return err
		}
		full[order] = map[string]baseline.Measures{"valid": built.Valid.Full, "test": built.Test.Full}
		probes[order] = w.probeIDOrder(order, set)
		w.say("%s: test R@10 %.4f N@10 %.4f; slates %d training of %d, %d validation, %d test of %d", order,
			built.Test.Full.R10, built.Test.Full.N10, len(built.Train.Slates), built.Train.Events, len(built.Valid.Slates), len(built.Test.Slates), built.Test.Events)
	}
	return durable.WriteJSON(filepath.Join(dir, measuresFile), map[string]any{"orders": full, "id_order": probes, "config": suite.Config()})
}

// probeIDOrder asks whether item numbers or ids give answers away, before a
// policy is trained on the slates: a leak of the protocol is in all of them.
func (w *world) probeIDOrder(order string, set *orderSet) map[string]eval.IDOrder {
	o, found := &w.job.Options, map[string]eval.IDOrder{}
	for _, p := range []namedPart{{"valid", &set.valid}, {"test", &set.test}} {
		probe := eval.ProbeIDOrder(p.Slates, w.data.Catalog, o.Eval.Bootstrap, o.Seed)
		found[p.name] = probe
		for _, rule := range probe.Rules {
			if rule.Leak {
				w.say("%s: the id-order probe accuses %s on the %s slates (advantage %+.3f, %.1f standard deviations): see docs/baselines.md before you trust the table",
					order, rule.Rule, p.name, rule.Advantage.Value, rule.Deviation)
			}
		}
	}
	return found
}

func partOf(p baseline.Part) part {
	return part{Slates: p.Slates, Positives: p.Positives, Events: p.Events, Full: &p.Full}
}

func (w *world) baselineProgress(p baseline.Progress) {
	note := fmt.Sprintf("%s %s", p.Model, p.Stage)
	if p.Fold >= 0 {
		note += fmt.Sprintf(", fold %d", p.Fold+1)
	}
	if p.Value > 0 {
		note += fmt.Sprintf(", valid N@10 %.4f", p.Value)
	}
	w.work(float64(p.Done), float64(p.Total), note)
}

// baseline is the configuration of the legacy rankers.
func (o *Options) baseline() baseline.Config {
	c := baseline.DefaultConfig()
	c.Seed = o.Seed
	c.SASRec.Epochs = o.Slates.Epochs
	c.SASRec.FoldEpochs = min(c.SASRec.FoldEpochs, o.Slates.Epochs)
	c.Slates.K, c.Slates.Folds, c.Slates.PrefixMax = o.Slates.K, o.Slates.Folds, o.Slates.Positions
	return c
}
