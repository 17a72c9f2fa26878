package rqvae

import (
	"bytes"
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/gr2/gr2/internal/embed"
	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/kernel"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/nn"
	"github.com/gr2/gr2/internal/rng"
	"github.com/gr2/gr2/internal/sid/fit"
)

// planted is n unit vectors of length 16 around 20 directions.
func planted(n int) embed.Matrix {
	r := rng.New(3)
	centres := embed.NewMatrix(20, 16)
	for i := range centres.Data {
		centres.Data[i] = float32(r.NormFloat64())
	}
	x := embed.NewMatrix(n, 16)
	for i := range n {
		for j, c := range centres.Row(i % 20) {
			x.Row(i)[j] = c + float32(r.NormFloat64()*0.3)
		}
		embed.Normalize(x.Row(i))
	}
	return x
}

// brief is a fit of a second.
var brief = Options{Levels: 3, Width: 8, Hidden: []int{24}, Latent: 8, Epochs: 12, Batch: 100, Evaluate: 2, Seed: 1}

// chained pairs each row with the one 7 places on, which is of another centre.
func chained(n int) [][2]int32 {
	var pairs [][2]int32
	for i := range n - 7 {
		pairs = append(pairs, [2]int32{int32(i), int32(i + 7)})
	}
	return pairs
}

func fitted(t *testing.T, x embed.Matrix, opt Options) (*fit.Quantizer, *Report) {
	t.Helper()
	q, report, err := Fit(context.Background(), x, chained(x.Rows), opt, nil)
	if err != nil {
		t.Fatal(err)
	}
	return q, report
}

func fileOf(t *testing.T, q *fit.Quantizer) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := q.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// switches turn on one technique each.
var switches = map[string]func(*Options){
	"uniform":       func(o *Options) { o.Init = Uniform },
	"ema":           func(o *Options) { o.EMA = 0.95 },
	"ema optimiser": func(o *Options) { o.EMA, o.EMATarget = 0.95, Optimiser },
	"diversity":     func(o *Options) { o.Diversity = 1 },
	"reset":         func(o *Options) { o.Reset = 3 },
	"contrastive":   func(o *Options) { o.Contrastive, o.ContrastSize = 5, 64 },
	"burn-in":       func(o *Options) { o.BurnIn = 1 },
}

func TestSameSeedSameFileWhateverThreads(t *testing.T) {
	defer kernel.SetThreads(kernel.Threads())
	x := planted(500)
	all := brief
	for _, name := range []string{"ema", "diversity", "reset", "contrastive"} {
		switches[name](&all)
	}
	for _, opt := range []Options{brief, all} {
		var files [][]byte
		for _, threads := range []int{1, 2, 3} {
			kernel.SetThreads(threads)
			q, _ := fitted(t, x, opt)
			files = append(files, fileOf(t, q))
		}
		if !bytes.Equal(files[0], files[1]) || !bytes.Equal(files[0], files[2]) {
			t.Errorf("%+v: the quantizer depends on the number of threads", opt)
		}
		opt.Seed++
		if q, _ := fitted(t, x, opt); bytes.Equal(files[0], fileOf(t, q)) {
			t.Errorf("%+v: the quantizer does not depend on the seed", opt)
		}
	}
}

// Each switch, and no other, changes what it is to change.
func TestSwitchesActAlone(t *testing.T) {
	x, few := planted(300), brief
	few.Width = 48 // more than find use
	base, baseReport := fitted(t, x, few)
	for name, on := range switches {
		opt := few
		on(&opt)
		q, report := fitted(t, x, opt)
		if name != "burn-in" && slices.Equal(q.Books.Levels[0].Data, base.Books.Levels[0].Data) {
			t.Errorf("%s changes no code", name)
		}
		last := report.Epochs[len(report.Epochs)-1]
		for term, have := range map[string]struct {
			value float64
			on    bool
		}{
			"diversity":   {last.Loss.Diversity, opt.Diversity > 0},
			"contrastive": {last.Loss.Contrastive, opt.Contrastive > 0},
			"revived":     {float64(revived(report)), opt.Reset > 0},
		} {
			if have.value != 0 != have.on {
				t.Errorf("%s: %s is %v", name, term, have.value)
			}
		}
	}
	if revived(baseReport) != 0 {
		t.Error("the base resets codes")
	}
}

func revived(r *Report) int {
	n := 0
	for _, e := range r.Epochs {
		n += e.Revived
	}
	return n
}

func TestTrainingReducesTheErrors(t *testing.T) {
	x := planted(500)
	opt := brief
	opt.Epochs, opt.BurnIn = 40, 1
	q, report := fitted(t, x, opt)
	first, last := report.Epochs[0].Loss, report.Epochs[39].Loss
	if last.Reconstruction > 0.6*first.Reconstruction || last.Reconstruction > 0.7*16 {
		t.Errorf("reconstruction %.3f at first, %.3f at last", first.Reconstruction, last.Reconstruction)
	}
	// The encoder that is kept takes raw embeddings and gives what training saw.
	latent := q.Latent(x)
	if e := q.RelativeError(latent, q.Books.Nearest(latent)); math.Abs(e-report.Epochs[39].Usage.Error) > 1e-6 || e > 0.2 {
		t.Errorf("quantisation error %.4f, the report says %.4f", e, report.Epochs[39].Usage.Error)
	}
}

func TestScaledInputsFoldIntoTheEncoder(t *testing.T) {
	x := planted(50)
	for i := range x.Data {
		x.Data[i] = 3*x.Data[i] + float32(i%16)
	}
	tr, err := newTrainer(x, nil, brief.withDefaults())
	if err != nil {
		t.Fatal(err)
	}
	input := make([]float32, len(x.Data))
	square := 0.0
	for i := range x.Rows {
		tr.scale.apply(x.Row(i), input[i*16:(i+1)*16])
	}
	for _, v := range input {
		square += float64(v) * float64(v) / float64(len(input))
	}
	if math.Abs(square-1) > 1e-4 {
		t.Errorf("mean square %v after scaling", square)
	}
	tape := nn.NewTape()
	want := tr.encoder.forward(tape, tape.Const(50, 16, input)).Value
	for i, have := range fit.Encode(tr.encoder.layers(tr.scale), x).Data {
		if math.Abs(float64(have-want[i])) > 1e-4 {
			t.Fatalf("element %d is %v folded, %v scaled", i, have, want[i])
		}
	}
}

func TestBestEpochAfterBurnInIsKept(t *testing.T) {
	x := planted(400)
	opt := brief
	opt.Epochs, opt.BurnIn, opt.Reset = 20, 0.4, 2
	q, report := fitted(t, x, opt)
	best := 0
	for _, e := range report.Epochs {
		if (e.Usage != nil) != (e.Number%2 == 0) {
			t.Errorf("epoch %d is measured: %v", e.Number, e.Usage != nil)
		}
		if e.Number > 8 && e.Usage != nil && (best == 0 || e.Usage.Uniqueness >= report.Epochs[best-1].Usage.Uniqueness) {
			best = e.Number
		}
	}
	if report.Chosen != best {
		t.Errorf("epoch %d is kept, %d has the highest uniqueness", report.Chosen, best)
	}
	u := usageOf(q.Books.Nearest(q.Latent(x)), opt.withDefaults())
	if want := report.Epochs[best-1].Usage.Uniqueness; u.Uniqueness != want {
		t.Errorf("the quantizer has uniqueness %v, its epoch %v", u.Uniqueness, want)
	}
	opt.BurnIn = 1
	if _, report := fitted(t, x, opt); report.Chosen != 20 {
		t.Errorf("burn-in of all epochs keeps epoch %d", report.Chosen)
	}
}

func TestUsageCounts(t *testing.T) {
	u := usageOf([]uint8{0, 1, 0, 1, 2, 1}, Options{Levels: 2, Width: 3})
	if math.Abs(u.Uniqueness-1.0/3) > 1e-12 || !slices.Equal(u.Dead, []int{1, 2}) {
		t.Errorf("%+v", u)
	}
}

// book is a codebook of three codes on a line that rows have chosen.
func book(codes []float32, rows ...float32) *codebook {
	b := &codebook{codes: nn.NewParam("codes", len(codes), 1), idle: make([]int, len(codes))}
	copy(b.codes.Value, codes)
	b.choose(embed.Matrix{Rows: len(rows), Cols: 1, Data: rows})
	return b
}

func TestAverageFollowsTheMean(t *testing.T) {
	b := book([]float32{0, 10, 99}, 1, 3, 12)
	b.average(0.75)
	if want := []float32{0.5, 10.5, 99}; !slices.Equal(b.codes.Value, want) { // means 2 and 12; the third is not chosen
		t.Errorf("codes %v, want %v", b.codes.Value, want)
	}
}

func TestBlendLagsBehindTheOptimiser(t *testing.T) {
	b := book([]float32{0, 10, 99}, 1, 3, 12)
	before := slices.Clone(b.codes.Value)
	copy(b.codes.Value, []float32{4, 6, 95})
	b.blend(before, 0.75)
	if want := []float32{1, 9, 95}; !slices.Equal(b.codes.Value, want) {
		t.Errorf("codes %v, want %v", b.codes.Value, want)
	}
}

func TestResetRevivesDeadCodes(t *testing.T) {
	b := book([]float32{0, 100, 200, 300}, 1, -3, -3, 2)
	if got := b.reset(2); got != nil {
		t.Errorf("codes %v are reset after one step", got)
	}
	b.choose(b.residual)
	if got := b.reset(2); !slices.Equal(got, []int{1, 2, 3}) {
		t.Errorf("codes %v are reset, want all but the first", got)
	}
	if want := []float32{0, -3, 2, 1}; !slices.Equal(b.codes.Value, want) { // the largest error first, equal residuals once
		t.Errorf("codes %v, want %v", b.codes.Value, want)
	}
	b.choose(b.residual)
	if b.reset(1); !slices.Equal(b.codes.Value, []float32{0, -3, 2, 1}) {
		t.Errorf("codes %v: residuals that are met exactly revive none", b.codes.Value)
	}
}

func TestResetForgetsMoments(t *testing.T) {
	tr, err := newTrainer(planted(300), nil, brief.withDefaults())
	if err != nil {
		t.Fatal(err)
	}
	tr.step([]int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19})
	first, second := tr.adam.Moments()
	at := len(first) - 2 // of level 1 of 3
	used := int(tr.books[1].chosen[0])
	other := slices.IndexFunc(tr.books[1].chosen, func(c int32) bool { return int(c) != used })
	moving := func(code int) bool {
		row := func(m []float32) []float32 { return m[code*8 : (code+1)*8] }
		zero := make([]float32, 8)
		return !slices.Equal(row(first[at]), zero) && !slices.Equal(row(second[at]), zero)
	}
	if !moving(used) {
		t.Fatal("a chosen code has no moments")
	}
	tr.forget(tr.books[1].codes, []int{used})
	if moving(used) || !moving(int(tr.books[1].chosen[other])) {
		t.Error("forget clears the wrong rows")
	}
}

// From uniform codes most die; each of reset, EMA with reset and diversity must
// bring more into use than nothing does.
func TestDeadCodesComeToLife(t *testing.T) {
	x := planted(600)
	dead := func(on ...string) int {
		opt := brief
		opt.Width, opt.Epochs, opt.Init, opt.BurnIn = 32, 20, Uniform, 1
		for _, name := range on {
			switches[name](&opt)
		}
		_, report := fitted(t, x, opt)
		sum := 0
		for _, n := range report.Epochs[19].Usage.Dead {
			sum += n
		}
		return sum
	}
	base := dead()
	if base < 20 {
		t.Fatalf("only %d codes of 96 die", base)
	}
	for _, on := range [][]string{{"reset"}, {"ema", "reset"}} {
		if n := dead(on...); n > base/2 {
			t.Errorf("%v: %d dead codes, %d without", on, n, base)
		}
	}
}

func TestDiversityEvensOutTheCodes(t *testing.T) {
	x := planted(500)
	usage := func(weight float64) float64 {
		opt := brief
		opt.Diversity = weight
		_, report := fitted(t, x, opt)
		return report.Epochs[11].Loss.Diversity - 3 // 1 a level is the least
	}
	if weak, strong := usage(1e-6), usage(5); strong > 0.6*weak {
		t.Errorf("the excess is %.3f under a strong loss, %.3f under a weak one", strong, weak)
	}
}

// Pairs come nearer each other than they are to others, though their embeddings
// are not.
func TestContrastiveLossJoinsPairs(t *testing.T) {
	x := planted(400)
	gain := func(weight float64) float64 {
		opt := brief
		opt.Contrastive, opt.BurnIn, opt.Epochs = weight, 1, 60
		q, _ := fitted(t, x, opt)
		z := q.Latent(x)
		cos := func(a, b int) float64 {
			return float64(kernel.Dot(z.Row(a), z.Row(b))) / math.Sqrt(float64(kernel.Dot(z.Row(a), z.Row(a))*kernel.Dot(z.Row(b), z.Row(b))))
		}
		sum := 0.0
		for i := range 380 {
			sum += (cos(i, i+7) - cos(i, i+5)) / 380
		}
		return sum
	}
	without, with := gain(0), gain(100)
	if with < without+0.2 {
		t.Errorf("pairs are %.3f nearer than others, %.3f without the loss", with, without)
	}
}

func TestDegenerateEmbeddings(t *testing.T) {
	for name, x := range map[string]embed.Matrix{
		"one":   planted(1),
		"few":   planted(3),
		"equal": {Rows: 40, Cols: 2, Data: slices.Repeat([]float32{1, 2}, 40)},
		"zero":  embed.NewMatrix(40, 3),
	} {
		opt := brief
		opt.EMA, opt.Reset, opt.Diversity = 0.9, 2, 1
		q, _, err := Fit(context.Background(), x, nil, opt, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, err := fit.ReadQuantizer(bytes.NewReader(fileOf(t, q))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFitRefuses(t *testing.T) {
	x, ctx := planted(20), context.Background()
	for _, c := range []struct {
		change func(*Options)
		want   string
	}{
		{func(o *Options) { o.Levels = 9 }, "levels 9"},
		{func(o *Options) { o.Width = 300 }, "width 300"},
		{func(o *Options) { o.Hidden = []int{-1} }, "hidden -1"},
		{func(o *Options) { o.Latent = -2 }, "latent -2"},
		{func(o *Options) { o.Beta = math.NaN() }, "beta NaN"},
		{func(o *Options) { o.EMA = 1 }, "ema 1"},
		{func(o *Options) { o.Reset = -1 }, "reset -1"},
		{func(o *Options) { o.ContrastSize = 1 }, "contrast_size 1"},
		{func(o *Options) { o.BurnIn = 1.5 }, "burn_in 1.5"},
		{func(o *Options) { o.Init = "xavier" }, `init "xavier"`},
		{func(o *Options) { o.EMATarget = "mean" }, `ema_target "mean"`},
	} {
		opt := brief
		c.change(&opt)
		if _, _, err := Fit(ctx, x, nil, opt, nil); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
	contrastive := brief
	contrastive.Contrastive = 1
	broken := planted(20)
	broken.Data[17] = float32(math.Inf(1))
	for name, c := range map[string]struct {
		x     embed.Matrix
		pairs [][2]int32
		opt   Options
		want  string
	}{
		"empty":    {embed.Matrix{}, nil, brief, "no embeddings"},
		"infinite": {broken, nil, brief, "row 1 "},
		"no pairs": {x, nil, contrastive, "no pairs"},
		"far pair": {x, [][2]int32{{0, 1}, {3, 20}}, contrastive, "pair 1"},
		"own pair": {x, [][2]int32{{4, 4}}, contrastive, "pair 0"},
	} {
		if _, _, err := Fit(ctx, c.x, c.pairs, c.opt, nil); fault.KindOf(err) != fault.Input || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	ended, cancel := context.WithCancel(ctx)
	if _, _, err := Fit(ended, x, nil, brief, func(Epoch) { cancel() }); !errors.Is(err, context.Canceled) {
		t.Errorf("an ended context: %v", err)
	}
}

func TestDivergenceIsAnError(t *testing.T) {
	tr, err := newTrainer(planted(50), nil, brief.withDefaults())
	if err != nil {
		t.Fatal(err)
	}
	tr.decoder.biases[0].Value[0] = 1e30
	if err := tr.epoch(context.Background(), &Epoch{Number: 1}); err == nil || !strings.Contains(err.Error(), "learning_rate") {
		t.Errorf("a loss beyond all numbers: %v", err)
	}
}

func TestCoEngaged(t *testing.T) {
	var events []market.Event
	for _, e := range [][2]int32{{0, 5}, {0, 6}, {0, 5}, {0, 7}, {1, 7}, {1, 8}} {
		events = append(events, market.Event{User: e[0], Item: e[1]})
	}
	if got, want := CoEngaged(events, 1), [][2]int32{{5, 6}, {6, 5}, {5, 7}, {7, 8}}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if got, want := CoEngaged(events, 2), [][2]int32{{5, 6}, {6, 5}, {6, 7}, {5, 7}, {7, 8}}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
