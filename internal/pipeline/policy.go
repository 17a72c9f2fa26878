package pipeline

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gr2/gr2/internal/control"
	"github.com/gr2/gr2/internal/eval"
	"github.com/gr2/gr2/internal/evidence"
	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/kernel"
	"github.com/gr2/gr2/internal/lm"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/metric"
	"github.com/gr2/gr2/internal/rerank"
	"github.com/gr2/gr2/internal/rng"
	"github.com/gr2/gr2/internal/train"
	"github.com/gr2/gr2/internal/train/sft"
)

// sftStage fine-tunes the mid-trained model on slates and keeps the weights
// that rank the held-out validation slates best.
func (w *world) sftStage(ctx context.Context, dir string) error {
	builder, err := w.prompts()
	if err != nil {
		return err
	}
	training, held, err := w.slatesFor(StageSFT)
	if err != nil {
		return err
	}
	cases, err := w.sftCases(ctx, training)
	if err != nil {
		return err
	}
	o := &w.job.Options.SFT
	seed := rng.Hash(w.job.Options.Seed, rng.Key("sft"))
	source, err := sft.New(builder, cases, sft.Options{
		Shuffle: o.Shuffle, FirstShare: o.FirstShare, SubShare: o.SubShare,
		TeacherEpochs: o.TeacherEpochs, TeacherShare: o.TeacherShare, TeacherTemperature: o.TeacherTemperature,
		TeacherJudges: o.TeacherJudges,
		LambdaReason:  float32(o.LambdaReason), LambdaOutput: float32(o.LambdaOutput), LambdaJudge: float32(o.LambdaJudge),
		Seed: seed,
	})
	if err != nil {
		return err
	}
	model, err := w.beginning(StageMidtrain)
	if err != nil {
		return err
	}
	w.say("SFT on %d slates, validated on %d", source.Len(), len(held))
	options := o.OptimOptions.train(seed)
	options.Validations, options.JudgeLayers = o.Validations, o.JudgeLayers
	run := &train.Run{Dir: filepath.Join(dir, stateDir), Model: model, Source: source, Options: options}
	if len(held) > 0 {
		run.Validate = func(ctx context.Context) (train.Validation, error) { return w.validate(ctx, model, held) }
	}
	if err := w.train(ctx, "SFT", run); err != nil {
		return err
	}
	if err := w.saveModel(dir, model); err != nil {
		return err
	}
	return seal(w.job, StageSFT)
}

// beginning is the model of an earlier stage, ready to learn rankings.
func (w *world) beginning(stage string) (*lm.Model, error) {
	model, err := loadModel(w.path(stage))
	if err != nil || stage != StageMidtrain || !w.job.Options.SFT.Pointer {
		return model, err
	}
	builder, err := w.prompts()
	if err != nil {
		return nil, err
	}
	all, _, err := w.policySlates()
	if err != nil {
		return nil, err
	}
	longest := 0 // logged slates have any length
	for _, s := range all {
		longest = max(longest, len(s.slate.Candidates))
	}
	p := lm.Pointing{Layer: w.job.Options.SFT.JudgeLayers}
	p.From, p.To = builder.ChoiceTokens(longest)
	p.No, p.Yes = builder.JudgeTokens()
	return model, model.Point(p, rng.Hash(w.job.Options.Seed, rng.Key("pointer")))
}

// trainSlate is a slate of an order to learn from. counted says that its user's
// own events are in the evidence, so that their fold has to be left out.
type trainSlate struct {
	slate   *market.Slate
	order   string
	counted bool
}

// slatesFor are the slates of policySlates that a stage learns from. Where
// sft.user_share leaves users out, these are those of reinforcement learning.
func (w *world) slatesFor(stage string) (training []trainSlate, held []market.Slate, err error) {
	all, held, err := w.policySlates()
	if err != nil || w.job.Options.SFT.UserShare >= 1 {
		return all, held, err
	}
	for _, s := range all {
		if w.sftUser(s.slate) == (stage == StageSFT) {
			training = append(training, s)
		}
	}
	if len(training) == 0 {
		return nil, nil, fault.Inputf("%s: sft.user_share %g leaves it none of %d slates; use 1 for all, or a share between", stage, w.job.Options.SFT.UserShare, len(all))
	}
	w.say("%s learns from %d of %d slates, those of its users (sft.user_share)", stage, len(training), len(all))
	return training, held, nil
}

// sftUser reports whether SFT learns from the slates of this one's user.
func (w *world) sftUser(s *market.Slate) bool {
	return fraction(rng.Hash(w.job.Options.Seed, rng.Key("sft-users"), rng.Key(w.userKey(s)))) < w.job.Options.SFT.UserShare
}

// policySlates are the training slates of the users whose sequences
// mid-training did not read, and a part of the validation slates. The rest of
// the validation slates, up to a bound, chooses the weights.
func (w *world) policySlates() (training []trainSlate, held []market.Slate, err error) {
	orders, err := w.policyOrders()
	if err != nil {
		return nil, nil, err
	}
	o := &w.job.Options.SFT
	for _, order := range orders {
		set, err := w.slates(order)
		if err != nil {
			return nil, nil, err
		}
		for i := range set.train.Slates {
			if s := &set.train.Slates[i]; !w.sequenceUser(s.User) {
				training = append(training, trainSlate{s, order, true})
			}
		}
		for i := range set.valid.Slates {
			s := &set.valid.Slates[i]
			if w.heldOut(s) {
				held = append(held, *s)
			} else {
				training = append(training, trainSlate{s, order, false})
			}
		}
	}
	// By hash, so that the bound takes a fair sample of every order.
	slices.SortStableFunc(held, func(a, b market.Slate) int {
		return cmp.Or(cmp.Compare(w.slateHash(&a), w.slateHash(&b)), strings.Compare(a.ID, b.ID))
	})
	return training, held[:min(len(held), o.ValidSlates)], nil
}

// policyOrders are the incoming orders that the policy learns from.
func (w *world) policyOrders() ([]string, error) {
	orders, err := w.orderNames()
	if only := w.job.Options.SFT.Orders; len(only) > 0 {
		orders = slices.DeleteFunc(slices.Clone(orders), func(order string) bool { return !slices.Contains(only, order) })
	}
	return orders, err
}

// withoutPositive counts the training requests of these orders whose slate holds no
// positive.
func (w *world) withoutPositive() (n int, err error) {
	orders, err := w.policyOrders()
	if err != nil {
		return 0, err
	}
	for _, order := range orders {
		set, err := w.slates(order)
		if err != nil {
			return 0, err
		}
		n += set.train.Events - len(set.train.Slates)
	}
	return n, nil
}

func (w *world) slateHash(s *market.Slate) uint64 {
	return rng.Hash(w.job.Options.Seed, rng.Key("held-out"), rng.Key(s.ID))
}

// heldOut reports whether a validation slate chooses weights and is not
// trained on. The choice is by user, so that the slates of one request in
// several orders stay together.
func (w *world) heldOut(s *market.Slate) bool {
	return fraction(rng.Hash(w.job.Options.Seed, rng.Key("held-out-users"), rng.Key(w.userKey(s)))) < w.job.Options.SFT.ValidShare
}

// userKey names the user of a slate, or the slate where it has none.
func (w *world) userKey(s *market.Slate) string {
	if s.User < 0 {
		return s.ID
	}
	return w.data.Users[s.User]
}

// sftCases adds the evidence codes, and the teacher where it is asked for.
func (w *world) sftCases(ctx context.Context, slates []trainSlate) ([]sft.Case, error) {
	raw, err := w.rawCases(slates)
	if err != nil {
		return nil, err
	}
	cases := make([]sft.Case, len(slates))
	for i, c := range raw {
		cases[i] = sft.Case{Slate: c.Slate, Evidence: w.codes(c)}
	}
	if o := &w.job.Options.SFT; o.TeacherEpochs > 0 || o.TeacherShare > 0 {
		return cases, w.teach(ctx, cases, slates, raw)
	}
	return cases, nil
}

// teach adds the teacher's scores to each case. The linear controls, one for each
// order, have seen the slates, too few weights to know them by heart; trees have not.
func (w *world) teach(ctx context.Context, cases []sft.Case, slates []trainSlate, raw []control.Case) error {
	if w.job.Options.SFT.TeacherTrees {
		w.say("trees as the teacher: %d fits, none of which scores a user that it was fitted on", teacherParts)
		scores, err := control.CrossFitTrees(ctx, raw, teacherParts, control.TreesOptions{Seed: rng.Hash(w.job.Options.Seed, rng.Key("teacher"))})
		if err != nil {
			return fmt.Errorf("the teacher: %w", err)
		}
		for i := range cases {
			cases[i].Teacher = scores[i]
		}
		return nil
	}
	return teachByOrder(cases, slates, raw)
}

// teacherParts is the number of parts of the users for which trees are fitted to the others.
const teacherParts = 5

// teachByOrder adds the scores of a linear control of the order of each case: what a
// rank and a score of the legacy ranker mean differs from ranker to ranker.
func teachByOrder(cases []sft.Case, slates []trainSlate, raw []control.Case) error {
	byOrder := map[string][]int{}
	for i, s := range slates {
		byOrder[s.order] = append(byOrder[s.order], i)
	}
	for _, order := range slices.Sorted(maps.Keys(byOrder)) {
		members := byOrder[order]
		fitting := make([]control.Case, len(members))
		for i, m := range members {
			fitting[i] = raw[m]
		}
		teacher, err := control.FitLinear(fitting, control.LinearOptions{})
		if err != nil {
			return fmt.Errorf("the teacher of order %s (sft.orders chooses among them): %w", order, err)
		}
		for _, m := range members {
			cases[m].Teacher = teacher.Scores(raw[m])
		}
	}
	return nil
}

// rawCases are slates to learn from with their raw evidence.
func (w *world) rawCases(slates []trainSlate) ([]control.Case, error) {
	stats, _, err := w.evidence()
	if err != nil {
		return nil, err
	}
	orders, err := w.orderNames()
	if err != nil {
		return nil, err
	}
	raw := make([]control.Case, len(slates))
	kernel.Parallel(len(slates), func(i int) {
		exclude := evidence.None
		if slates[i].counted {
			exclude = w.foldOf(stats, slates[i].slate)
		}
		raw[i] = control.Case{Slate: slates[i].slate, Evidence: stats.Raw(slates[i].slate, exclude), Order: slices.Index(orders, slates[i].order)}
	})
	return raw, nil
}

// codes are the evidence of a case as prompts show it; nil where they show none.
func (w *world) codes(c control.Case) [][]uint8 {
	if !w.job.Options.Prompt.Evidence {
		return nil
	}
	return w.buckets.CodeAll(c.Evidence)
}

// validate ranks the held-out slates with the model as it stands.
func (w *world) validate(ctx context.Context, model *lm.Model, held []market.Slate) (train.Validation, error) {
	policy, err := w.policy(model)
	if err != nil {
		return train.Validation{}, err
	}
	results, err := policy.RerankAll(ctx, held, rerank.Batch{Workers: kernel.Threads()})
	if err != nil {
		return train.Validation{}, err
	}
	sums, parts := map[string]float64{}, make([]float64, len(held))
	orders := make([][]int, len(results))
	for i, r := range results {
		orders[i] = r.Order
		j := metric.Judged{Ranking: r.Order, Grades: held[i].Grades}
		sums["R@1"] += j.RecallAt(1)
		sums["R@3"] += j.RecallAt(3)
		parts[i] = j.NDCGAt(3)
		sums["N@3"] += parts[i]
	}
	for name := range sums {
		sums[name] /= float64(len(held))
	}
	sums[train.Copied], sums[train.OneOrder] = eval.CopyRate(orders), eval.OneOrderRate(orders)
	sums[train.Incoming] = incomingN3(held)
	return train.Validation{Score: sums["N@3"], Metrics: sums, Parts: parts}, nil
}

// incomingN3 is the mean N@3 of slates as they came, 0 of none.
func incomingN3(slates []market.Slate) float64 {
	sum := 0.0
	for i := range slates {
		j := metric.Judged{Ranking: identity(len(slates[i].Candidates)), Grades: slates[i].Grades}
		sum += j.NDCGAt(3)
	}
	return sum / float64(max(1, len(slates)))
}

func identity(k int) []int {
	order := make([]int, k)
	for i := range order {
		order[i] = i
	}
	return order
}

// policy makes a re-ranker of a model in memory.
func (w *world) policy(model *lm.Model) (*rerank.Reranker, error) {
	builder, err := w.prompts()
	if err != nil {
		return nil, err
	}
	p := rerank.Parts{Catalog: w.data.Catalog, Tokenizer: w.tok, Builder: builder, Model: model, JudgeLayers: w.job.Options.SFT.JudgeLayers}
	if w.job.Options.Prompt.Evidence {
		if p.Stats, p.Buckets, err = w.evidence(); err != nil {
			return nil, err
		}
	}
	return rerank.New(p, rerank.Mode(w.job.Options.Eval.Decode))
}

// seal writes the run's card, with which it serves the policy of a stage.
func seal(job *Job, stage string) error {
	return rerank.Seal(job.Root, rerank.Card{
		Stage: stage, Mode: rerank.Mode(job.Options.Eval.Decode), Prompt: job.Options.promptOptions(), JudgeLayers: job.Options.SFT.JudgeLayers,
	})
}

// sealLast is seal for the policy of the last stage that has one.
func sealLast(job *Job) error {
	stages := job.Options.policyStages()
	return seal(job, stages[len(stages)-1])
}

func formatMetrics(m map[string]float64) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%s %.4f", name, m[name]))
	}
	return strings.Join(parts, ", ")
}
