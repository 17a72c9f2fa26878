package encoder

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/gr2/gr2/internal/embed"
	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/infer"
	"github.com/gr2/gr2/internal/kernel"
	"github.com/gr2/gr2/internal/lm"
	"github.com/gr2/gr2/internal/token"
)

// Options of an encoder. The zero value takes everything from the directory.
type Options struct {
	Pooling   string // Auto (default), Last or Mean
	Prefix    string // put before each text; empty is the directory's default prompt
	MaxTokens int    // longer texts are cut; 0 is the directory's limit
	Dim       int    // leading columns that are kept; 0 keeps all
}

// Encoder is an Embedder. It holds its weights as float32.
type Encoder struct {
	engine        *infer.Engine
	tok           *token.Tokenizer
	before, after []int32 // special tokens around a text
	opt           Options // resolved
	dim           int
	sum           [sha256.Size]byte
	cut           atomic.Int64
}

// Open loads the encoder of a directory.
func Open(path string, opt Options) (*Encoder, error) {
	dir, err := directory(path)
	if err != nil {
		return nil, err
	}
	e, err := open(dir, opt)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return e, nil
}

// Digest identifies what the vectors of a directory and options depend on,
// wherever the directory stands. It reads all files and loads nothing.
func Digest(path string, opt Options) (string, error) {
	dir, err := directory(path)
	if err != nil {
		return "", err
	}
	_, _, sum, err := survey(dir, &opt)
	if err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	return fmt.Sprintf("%x", sum), nil
}

// directory opens the folder at path.
func directory(path string) (fs.FS, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, fault.Usagef("sentence encoder: %w", err)
	case !info.IsDir():
		return nil, fault.Usagef("sentence encoder: %s is a file; give the directory that holds config.json", path)
	}
	return os.DirFS(path), nil
}

// survey finds the decoder of a directory, how its states are to be pooled, and
// a digest of all that and of the options, whose defaults it fills in.
func survey(dir fs.FS, opt *Options) (l layout, model fs.FS, sum [sha256.Size]byte, err error) {
	opt.Pooling = cmp.Or(opt.Pooling, Auto)
	if l, err = readLayout(dir, opt.Pooling); err != nil {
		return l, nil, sum, err
	}
	if model, err = fs.Sub(dir, l.model); err != nil {
		return l, nil, sum, err
	}
	files, err := digest(model)
	where := l
	where.model = ""
	return l, model, sha256.Sum256(fmt.Appendf(nil, "%x %+v %+v", files, where, Options{Prefix: opt.Prefix, MaxTokens: opt.MaxTokens, Dim: opt.Dim})), err
}

func open(dir fs.FS, opt Options) (*Encoder, error) {
	l, folder, sum, err := survey(dir, &opt)
	if err != nil {
		return nil, err
	}
	e := &Encoder{sum: sum}
	model, err := lm.LoadBase(folder)
	if err != nil {
		return nil, err
	}
	if e.engine, err = infer.New(model); err != nil {
		return nil, err
	}
	limit, err := e.readTokenizer(folder)
	if err != nil {
		return nil, err
	}
	return e, e.resolve(opt, l, limit)
}

// readTokenizer reads the tokenizer and returns its limit of tokens, 0 for none.
func (e *Encoder) readTokenizer(model fs.FS) (limit int, err error) {
	f, err := model.Open("tokenizer.json")
	if err != nil {
		return 0, fault.Inputf("%w: the directory holds no fast tokenizer", err)
	}
	defer f.Close()
	if e.tok, err = token.Read(f); err != nil {
		return 0, err
	}
	if e.before, e.after, err = e.tok.Frame(); err != nil {
		return 0, err
	}
	if have, rows := e.tok.Size(), e.engine.Config().VocabSize; have > rows {
		return 0, fault.Inputf("the tokenizer has %d tokens and the model rows for %d: they do not belong together", have, rows)
	}
	c, err := model.Open("tokenizer_config.json")
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer c.Close()
	settings, err := token.ReadConfig(c)
	return settings.MaxLength, err
}

// resolve settles the options by what the directory says.
func (e *Encoder) resolve(opt Options, l layout, limit int) error {
	c := e.engine.Config()
	e.opt = Options{Pooling: l.pooling, Prefix: cmp.Or(opt.Prefix, l.prompt), Dim: opt.Dim, MaxTokens: c.MaxPositions}
	for _, n := range []int{limit, l.maxTokens} {
		if n > 0 {
			e.opt.MaxTokens = min(e.opt.MaxTokens, n)
		}
	}
	if opt.MaxTokens > c.MaxPositions {
		return fault.Usagef("max_tokens is %d; the model reads at most %d", opt.MaxTokens, c.MaxPositions)
	}
	e.opt.MaxTokens = cmp.Or(opt.MaxTokens, e.opt.MaxTokens)
	e.dim = cmp.Or(opt.Dim, c.Hidden)
	least := len(e.before) + len(e.after) + 1
	switch {
	case e.opt.Pooling != Last && e.opt.Pooling != Mean:
		return fault.Usagef("pooling is %q; use %s, %s or %s", opt.Pooling, Auto, Last, Mean)
	case opt.Dim < 0 || opt.Dim > c.Hidden:
		return fault.Usagef("dim is %d; the model's vectors have length %d", opt.Dim, c.Hidden)
	case e.opt.MaxTokens < least:
		return fault.Usagef("max_tokens is %d; with the special tokens a text needs %d", e.opt.MaxTokens, least)
	case e.opt.Pooling == Mean && !l.promptPooled && e.opt.Prefix != "":
		return fault.Inputf("1_Pooling/config.json: include_prompt is false, and a mean without the prompt %q is not supported", e.opt.Prefix)
	}
	return nil
}

// Name implements Embedder. It holds a digest of the directory's files and of the
// options.
func (e *Encoder) Name() string {
	return fmt.Sprintf("encoder/%s/%d/%x", e.opt.Pooling, e.dim, e.sum[:8])
}

// Dim is the length of the vectors.
func (e *Encoder) Dim() int { return e.dim }

// MaxTokens is where texts are cut, special tokens included.
func (e *Encoder) MaxTokens() int { return e.opt.MaxTokens }

// Cut is how many texts were cut so far.
func (e *Encoder) Cut() int64 { return e.cut.Load() }

// Embed implements Embedder. Texts of like length are read together.
func (e *Encoder) Embed(ctx context.Context, texts []string) (embed.Matrix, error) {
	out := embed.NewMatrix(len(texts), e.dim)
	sequences := make([][]int32, len(texts))
	kernel.Parallel(len(texts), func(i int) { sequences[i] = e.tokens(texts[i]) })
	groups := group(sequences)
	errs := make([]error, len(groups))
	kernel.Parallel(len(groups), func(g int) {
		if errs[g] = ctx.Err(); errs[g] == nil {
			errs[g] = e.encode(out, sequences, groups[g])
		}
	})
	return out, cmp.Or(errs...)
}

// tokens is the sequence of a text, none when it is blank.
func (e *Encoder) tokens(text string) []int32 {
	if strings.TrimSpace(text) == "" {
		return nil
	}
	ids := e.tok.EncodeText(strings.TrimSpace(e.opt.Prefix + text))
	if room := e.opt.MaxTokens - len(e.before) - len(e.after); len(ids) > room {
		ids = ids[:room]
		e.cut.Add(1)
	}
	return slices.Concat(e.before, ids, e.after)
}

// groupTokens is what one task reads, more or less: enough to share the products
// of a pass, few enough to occupy all threads.
const groupTokens = 256

// group divides the sequences that have tokens, by length, into tasks.
func group(sequences [][]int32) [][]int {
	order := make([]int, 0, len(sequences))
	for i, s := range sequences {
		if len(s) > 0 {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return len(sequences[b]) - len(sequences[a]) })
	var groups [][]int
	room := 0
	for _, i := range order {
		if n := len(sequences[i]); n > room {
			groups = append(groups, nil)
			room = max(groupTokens, n)
		}
		room -= len(sequences[i])
		groups[len(groups)-1] = append(groups[len(groups)-1], i)
	}
	return groups
}

// encode fills the rows of some texts.
func (e *Encoder) encode(out embed.Matrix, sequences [][]int32, some []int) error {
	batch := make([][]int32, len(some))
	for j, i := range some {
		batch[j] = sequences[i]
	}
	d := e.engine.Config().Hidden
	return e.engine.Encode(batch, e.opt.Pooling == Last, func(j int, states []float32) {
		sum := states[:d:d]
		for at := d; at < len(states); at += d {
			kernel.Add(sum, sum, states[at:at+d]) // a mean, but for the scale
		}
		row := out.Row(some[j])
		copy(row, sum)
		embed.Normalize(row)
	})
}
