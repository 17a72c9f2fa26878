package nn

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/gr2/gr2/internal/lm"
	"github.com/gr2/gr2/internal/rng"
)

// testSurrogate has ratios on both sides of both clips under random weights.
func testSurrogate(n int, beta float32) Surrogate {
	r := rng.New(8, rng.Key("surrogate"))
	s := Surrogate{Low: .2, High: .28, Beta: beta}
	for i := range n {
		s.Advantage = append(s.Advantage, []float32{1.5, -1, .5, -2}[i%4])
		s.Old = append(s.Old, float32(-2+1.5*r.NormFloat64()))
		s.Reference = append(s.Reference, float32(-2+r.NormFloat64()))
	}
	return s
}

// surrogateReference is the objective as it is written in the papers.
func surrogateReference(s Surrogate, weights []float32, norm float64, logProb []float64) (loss float64, clipped [2]int) {
	for i, p := range logProb {
		ratio, a := math.Exp(p-float64(s.Old[i])), float64(s.Advantage[i])
		bounded := min(max(ratio, 1-float64(s.Low)), 1+float64(s.High))
		term := -min(ratio*a, bounded*a)
		if s.Beta > 0 {
			d := float64(s.Reference[i]) - p
			term += float64(s.Beta) * (math.Exp(d) - d - 1)
		}
		if ratio*a > bounded*a {
			clipped[map[bool]int{true: 0, false: 1}[ratio < 1]]++
		}
		loss += float64(weights[i]) * term / norm
	}
	return loss, clipped
}

// policyCases are LinearPolicy in chunks and whole, masked and free, with and
// without a reference.
func policyCases() []opCase {
	targets := []int32{2, 0, 3, 4, 4, 1, 0, 2}
	weights := []float32{1, .5, 1, 2, 1, .25, 1, 1}
	allowed := [][]int32{nil, {0, 1, 2, 4}, nil, {4, 0}, nil, {1}, nil, nil}
	var cases []opCase
	for _, vocab := range []int{7, 14} { // kept, computed again in chunks
		for _, beta := range []float32{0, .3} {
			for _, lists := range [][][]int32{nil, allowed} {
				s := testSurrogate(len(targets), beta)
				s.Temperature = map[bool]float32{true: 0.7}[lists != nil] // 0 means 1
				cases = append(cases, opCase{fmt.Sprintf("LinearPolicy %d beta %g masked %t", vocab, beta, lists != nil),
					[][2]int{{len(targets), 3}, {vocab, 3}},
					func(t *Tape, p []*Param) *Var {
						loss, _ := t.LinearPolicy(t.Leaf(p[0]), p[1], targets, lists, weights, s, 3)
						return loss
					},
					func(x [][]float64) []float64 {
						loss, _ := surrogateReference(s, weights, 3, targetLogProbs(x, vocab, targets, lists, s.Temperature))
						return []float64{loss}
					}})
			}
		}
	}
	return cases
}

// targetLogProbs is log softmax(x W^T / temperature) at the targets, over what is
// allowed. A temperature of 0 is one of 1.
func targetLogProbs(x [][]float64, vocab int, targets []int32, allowed [][]int32, temperature float32) []float64 {
	logits := times(x[0], x[1], 3)
	for i := range logits {
		if temperature > 0 {
			logits[i] /= float64(temperature)
		}
	}
	out := make([]float64, len(targets))
	for r, target := range targets {
		sum := 0.0
		for token := range vocab {
			if allowed == nil || allowed[r] == nil || slices.Contains(allowed[r], int32(token)) {
				sum += math.Exp(logits[r*vocab+token])
			}
		}
		out[r] = logits[r*vocab+int(target)] - math.Log(sum)
	}
	return out
}

func TestPolicyGradients(t *testing.T) {
	for _, c := range policyCases() {
		t.Run(c.name, func(t *testing.T) { checkGradient(t, c) })
	}
}

// policyBatch has branches below prompts, as rollouts are; some of their tokens
// are masked.
func policyBatch(vocab int) (*Batch, Surrogate) {
	r := rng.New(2, rng.Key("policy"))
	b := new(Batch)
	tokens := func(n int) (list []int32) {
		for range n {
			list = append(list, int32(r.IntN(vocab)))
		}
		return list
	}
	for range 2 {
		prompt := b.Append(-1, tokens(11), make([]float32, 11))
		for g := range 3 {
			answer := tokens(3 + g)
			weights := slices.Repeat([]float32{1}, len(answer))
			weights[1] = 0 // forced
			b.Append(prompt, answer, weights)
		}
	}
	b.Allowed = make([][]int32, len(b.Targets))
	for i, target := range b.Targets {
		if i%2 == 0 {
			other := (target + 1) % int32(vocab)
			b.Allowed[i] = []int32{min(target, other), max(target, other)}
		}
	}
	return b, testSurrogate(len(b.Targets), .1)
}

// TestPolicyLossIsTheSurrogate: on a tree of rollouts the loss is that of its
// log-probabilities, entropy and clipped shares are those of the definition.
func TestPolicyLossIsTheSurrogate(t *testing.T) {
	cfg := smallConfig(lm.Qwen3)
	m := mustModel(t, cfg)
	sharpen(m)
	d, tape := NewDecoder(m), dirtyTape()
	b, s := policyBatch(cfg.VocabSize)
	if err := d.Check(b); err != nil {
		t.Fatal(err)
	}
	var logProb []float64
	for _, p := range d.LogProbs(tape, b) {
		logProb = append(logProb, float64(p))
	}
	for i := range s.Old { // near the present policy, so that few are clipped
		s.Old[i] = float32(logProb[i] + .3*float64(s.Old[i]+2))
	}
	want, clipped := surrogateReference(s, b.Weights, 7, logProb)
	tape.Reset()
	loss, stats := d.PolicyLoss(tape, b, s, 7)
	near(t, "loss", loss.Value, []float32{float32(want)}, 1e-5)
	if stats.Choices != float64(len(b.Targets)) || stats.Low != float64(clipped[0]) || stats.High != float64(clipped[1]) || clipped[0] == 0 || clipped[1] == 0 {
		t.Errorf("%+v, want %d predictions, %v clipped, both above 0", stats, len(b.Targets), clipped)
	}
	drift, kl := 0.0, 0.0
	for i, p := range logProb {
		drift += math.Exp(p-float64(s.Old[i])) - 1 - (p - float64(s.Old[i]))
		kl += math.Exp(float64(s.Reference[i])-p) - 1 - (float64(s.Reference[i]) - p)
	}
	if math.Abs(stats.Drift-drift) > 1e-4*drift || math.Abs(stats.KL-kl) > 1e-4*kl {
		t.Errorf("drift %g and KL %g, want %g and %g", stats.Drift, stats.KL, drift, kl)
	}
	near(t, "entropy", []float32{float32(stats.Entropy)}, []float32{float32(naiveEntropy(d, b, cfg.VocabSize))}, 1e-4)
}

// naiveEntropy asks for the probability of every token.
func naiveEntropy(d *Decoder, b *Batch, vocab int) float64 {
	sum := 0.0
	for i := range b.Targets {
		list := b.Allowed[i]
		if list == nil {
			for token := range vocab {
				list = append(list, int32(token))
			}
		}
		for _, token := range list {
			ask := *b
			ask.Targets = slices.Clone(b.Targets)
			ask.Targets[i] = token
			p := float64(d.LogProbs(NewTape(), &ask)[i])
			sum -= math.Exp(p) * p
		}
	}
	return sum
}

// TestPolicyGradientOnPolicy: where nothing has moved yet, the gradient is that
// of sum(-A log p): the clip and the ratio change nothing.
func TestPolicyGradientOnPolicy(t *testing.T) {
	cfg := smallConfig(lm.Llama)
	m := mustModel(t, cfg)
	b, s := policyBatch(cfg.VocabSize)
	s.Beta = 0
	s.Old = slices.Clone(NewDecoder(m).LogProbs(NewTape(), b))
	d, tape := NewDecoder(m), dirtyTape()
	loss, _ := d.PolicyLoss(tape, b, s, 5)
	tape.Backward(loss)
	weighted := *b
	weighted.Weights = slices.Clone(s.Advantage)
	_, want := gradients(m, 5, &weighted)
	for i, p := range d.Params() {
		near(t, p.Name, p.Grad, want[i], 1e-5)
	}
}

// TestPolicyLossBesideJudgements: questions asked early are no choices; loss and
// gradient are those of the choices plus those of the questions alone, wherever
// the questions stand in the batch.
func TestPolicyLossBesideJudgements(t *testing.T) {
	cfg := smallConfig(lm.Qwen3)
	m := mustModel(t, cfg)
	plain, s := policyBatch(cfg.VocabSize)
	s.Beta = 0
	mixed, questions := &Batch{}, &Batch{}
	var old, advantage []float32
	add := func(from *Batch, doc int, ask bool) {
		lo, hi := from.span(doc)
		tokens := from.Tokens[lo:hi]
		mixed.Append(int(from.Parents[doc]), tokens, make([]float32, len(tokens)))
		questions.Append(int(from.Parents[doc]), tokens, make([]float32, len(tokens)))
		if ask {
			for _, b := range []*Batch{mixed, questions} {
				b.Ask(doc, len(tokens)-1, 3, []int32{3, 4}, .7)
			}
			old, advantage = append(old, 0), append(advantage, 0)
		}
		for i := range from.Targets {
			if row := int(from.row(i)); row >= lo && row < hi {
				mixed.Rows, mixed.Targets, mixed.Weights = append(mixed.Rows, int32(row)), append(mixed.Targets, from.Targets[i]), append(mixed.Weights, from.Weights[i])
				mixed.Allowed = append(mixed.Allowed, from.Allowed[i])
				if mixed.Early != nil {
					mixed.Early = append(mixed.Early, false)
				}
				old, advantage = append(old, s.Old[i]), append(advantage, s.Advantage[i])
			}
		}
	}
	for doc := range plain.Docs {
		add(plain, doc, doc%2 == 0)
	}
	learn := func(b *Batch, loss func(d *Decoder, tape *Tape) *Var) (float32, [][]float32) {
		d, tape := NewDecoder(m), dirtyTape()
		if err := d.ReadEarly(1); err != nil {
			t.Fatal(err)
		}
		if err := d.Check(b); err != nil {
			t.Fatal(err)
		}
		out := loss(d, tape)
		tape.Backward(out)
		var grads [][]float32
		for _, p := range d.Params() {
			grads = append(grads, p.Grad)
		}
		return out.Value[0], grads
	}
	choices, choiceGrads := learn(plain, func(d *Decoder, tape *Tape) *Var { l, _ := d.PolicyLoss(tape, plain, s, 7); return l })
	asked, askedGrads := learn(questions, func(d *Decoder, tape *Tape) *Var { return d.Loss(tape, questions, 7) })
	var stats PolicyStats
	both := s
	both.Old, both.Advantage, both.Reference = old, advantage, nil
	have, grads := learn(mixed, func(d *Decoder, tape *Tape) *Var {
		l, st := d.PolicyLoss(tape, mixed, both, 7)
		stats = st
		return l
	})
	near(t, "loss", []float32{have}, []float32{choices + asked}, 1e-5)
	if stats.Choices != float64(len(plain.Targets)) {
		t.Errorf("%g choices, want %d: questions are none", stats.Choices, len(plain.Targets))
	}
	for i, p := range NewDecoder(m).Params() {
		want := make([]float32, len(grads[i]))
		for j := range want {
			want[j] = choiceGrads[i][j] + askedGrads[i][j]
		}
		near(t, p.Name, grads[i], want, 1e-4)
	}
}

// TestWeigh: a prediction of Weigh is that of Append in the same place, and where
// all alternatives are weighed by their probability, they count as one choice, of
// its entropy, and no advantage that all share has a gradient.
func TestWeigh(t *testing.T) {
	m := mustModel(t, smallConfig(lm.Llama))
	allowed := []int32{2, 5, 9}
	tokens := []int32{5, 7, 2, 8}
	appended, weighed := &Batch{}, &Batch{}
	for _, b := range []*Batch{appended, weighed} {
		b.Append(-1, []int32{1, 4, 6}, make([]float32, 3))
		b.Append(0, []int32{3, 3}, make([]float32, 2)) // a sibling between
	}
	appended.Append(0, tokens, []float32{.5, 0, 2, 0})
	appended.Allowed = [][]int32{allowed, allowed}
	doc := weighed.Append(0, tokens, make([]float32, 4))
	weighed.Weigh(doc, 0, 5, allowed, .5)
	weighed.Weigh(doc, 2, 2, allowed, 2)
	s := Surrogate{Low: .2, High: .28, Advantage: []float32{1, -.5}, Old: []float32{-1, -1.2}}
	have, want := policyGradients(t, m, weighed, s), policyGradients(t, m, appended, s)
	for i := range have {
		near(t, "gradient", have[i], want[i], 1e-6)
	}

	all := &Batch{}
	all.Append(-1, []int32{1, 4, 6}, make([]float32, 3))
	doc = all.Append(0, tokens, make([]float32, 4))
	for _, token := range allowed {
		all.Weigh(doc, 2, token, allowed, 1)
	}
	s = Surrogate{Low: .2, High: .28, Advantage: []float32{3, 3, 3}}
	s.Old = slices.Clone(NewDecoder(m).LogProbs(NewTape(), all))
	entropy := 0.0
	for i, p := range s.Old {
		share := math.Exp(float64(p))
		s.Share, all.Weights[i] = append(s.Share, float32(share)), float32(share)
		entropy -= share * float64(p)
	}
	d, tape := NewDecoder(m), NewTape()
	_, stats := d.PolicyLoss(tape, all, s, 1)
	if math.Abs(stats.Choices-1) > 1e-5 || math.Abs(stats.Entropy-entropy) > 1e-5 {
		t.Errorf("%g choices with entropy %g, want 1 with %g", stats.Choices, stats.Entropy, entropy)
	}
	for _, g := range policyGradients(t, m, all, s) {
		for _, v := range g {
			if math.Abs(float64(v)) > 1e-5 {
				t.Fatalf("a gradient of %g where all choices are worth the same", v)
			}
		}
	}
}

func policyGradients(t *testing.T, m *lm.Model, b *Batch, s Surrogate) (grads [][]float32) {
	t.Helper()
	d, tape := NewDecoder(m), dirtyTape()
	if err := d.Check(b); err != nil {
		t.Fatal(err)
	}
	loss, _ := d.PolicyLoss(tape, b, s, 3)
	tape.Backward(loss)
	for _, p := range d.Params() {
		grads = append(grads, p.Grad)
	}
	return grads
}

// The entropy is right of rows that are masked, near certain or even, under every size of logits.
func TestEntropyOfRows(t *testing.T) {
	const cols, vocab = 8, 50
	allowed := [][]int32{nil, {3, 7, 20, 41}, {9}, nil}
	targets, weights := []int32{2, 20, 9, 0}, make([]float32, 4)
	r := rng.New(3)
	x, w := NewParam("x", 4, cols), NewParam("w", vocab, cols)
	for _, size := range []float32{0, 1, 8} {
		for _, p := range []*Param{x, w} {
			for i := range p.Value {
				p.Value[i] = float32(r.NormFloat64())
			}
		}
		for i := range x.Value {
			x.Value[i] *= size
		}
		tape := dirtyTape()
		_, stats := tape.LinearPolicy(tape.Leaf(x), w, targets, allowed, weights, Surrogate{Advantage: make([]float32, 4), Old: make([]float32, 4)}, 1)
		want := 0.0
		for i, list := range allowed {
			if list == nil {
				for token := range int32(vocab) {
					list = append(list, token)
				}
			}
			want += entropyOfTokens(x.Value[i*cols:(i+1)*cols], w, list)
		}
		if !(math.Abs(stats.Entropy-want) <= 1e-5*(1+want)) { // a NaN, too
			t.Errorf("logits times %g: entropy %g, want %g", size, stats.Entropy, want)
		}
	}
}

// entropyOfTokens is that of softmax(w x) over some tokens, in double precision.
func entropyOfTokens(x []float32, w *Param, tokens []int32) float64 {
	var sum, weighted float64
	for _, token := range tokens {
		logit := 0.0
		for j, v := range x {
			logit += float64(v) * float64(w.Value[int(token)*w.Cols+j])
		}
		sum += math.Exp(logit)
		weighted += logit * math.Exp(logit)
	}
	return math.Log(sum) - weighted/sum
}
