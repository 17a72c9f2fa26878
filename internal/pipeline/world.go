package pipeline

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/gr2/gr2/internal/embed"
	"github.com/gr2/gr2/internal/evidence"
	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/prompt"
	"github.com/gr2/gr2/internal/rerank"
	"github.com/gr2/gr2/internal/rng"
	"github.com/gr2/gr2/internal/sid"
	"github.com/gr2/gr2/internal/token"
)

// world is what the stages share. Each part is read from the run folder, or
// computed, when first asked for; so a resumed run loads only what it needs.
type world struct {
	job    *Job
	notify func(Progress)
	now    Progress // stage under way, for notes

	data    *market.Dataset
	cut     *market.Split
	orders  map[string]*orderSet
	stats   *evidence.Stats
	buckets *evidence.Buckets
	vectors embed.Matrix // of the items' texts
	index   *sid.Index
	tok     *token.Tokenizer
	builder *prompt.Builder
}

func newWorld(job *Job) *world {
	w := &world{job: job, orders: map[string]*orderSet{}}
	w.notify = func(p Progress) {
		if p.Event == StageStarted {
			w.now = p
		}
		if job.Notify != nil {
			job.Notify(p)
		}
	}
	return w
}

func (w *world) path(parts ...string) string {
	return filepath.Join(append([]string{w.job.Root}, parts...)...)
}

// say reports a measured fact of the stage under way.
func (w *world) say(format string, args ...any) {
	p := w.now
	p.Event, p.Note = Said, fmt.Sprintf(format, args...)
	w.notify(p)
}

// work reports progress of the stage under way.
func (w *world) work(done, total float64, note string) {
	p := w.now
	p.Event, p.Done, p.Total, p.Note = Working, done, total, note
	w.notify(p)
}

// dataset is the imported data set after the core filter.
func (w *world) dataset() (*market.Dataset, error) {
	if w.data != nil {
		return w.data, nil
	}
	ds, err := market.Open(w.job.DataDir)
	if err != nil {
		return nil, err
	}
	if core := w.job.Options.Data.Core; core > 0 {
		ds = ds.KCore(core)
	}
	ds.Number(cmp.Or(w.job.Options.Data.Numbering, rng.Hash(w.job.Options.Seed, rng.Key("numbering"))))
	if ds.Catalog.Len() == 0 {
		return nil, fault.Inputf("%s has no items (data.core %d)", w.job.DataDir, w.job.Options.Data.Core)
	}
	w.data = ds
	return ds, nil
}

// Protocol is how the events of a data set are cut: data.protocol, or, where that
// is auto, what the data set suggests.
func (o *Options) Protocol(ds *market.Dataset) string {
	switch p := o.Data.Protocol; {
	case p != "auto":
		return p
	case len(ds.Slates) > 0:
		return market.ProtocolLogged
	default:
		return market.ProtocolLeaveOneOut
	}
}

// split cuts the data set by the protocol.
func (w *world) split() (*market.Split, error) {
	if w.cut != nil {
		return w.cut, nil
	}
	ds, err := w.dataset()
	if err != nil {
		return nil, err
	}
	o := &w.job.Options.Data
	switch w.job.Options.Protocol(ds) {
	case market.ProtocolLogged:
		w.cut, err = market.SplitSlates(w.graded(ds), o.ValidShare, o.TestShare, o.Steps, w.job.Options.Seed)
	case market.ProtocolTime:
		w.cut, err = market.TimeSplit(ds, o.ValidShare, o.TestShare, o.Steps, w.job.Options.Seed)
	default:
		w.cut, err = market.LeaveOneOut(ds, w.job.Options.Seed)
	}
	return w.cut, err
}

// graded is the data set without the impressions that have no labels, which say
// nothing and would fill the end of the split.
func (w *world) graded(ds *market.Dataset) *market.Dataset {
	some := *ds
	some.Slates = slices.DeleteFunc(slices.Clone(ds.Slates), func(s market.Slate) bool { return len(s.Grades) == 0 })
	if n := len(ds.Slates) - len(some.Slates); n > 0 {
		w.say("%d of %d impressions have no grades and are left out", n, len(ds.Slates))
	}
	return &some
}

// orderNames are the incoming orders of this run.
func (w *world) orderNames() ([]string, error) {
	ds, err := w.dataset()
	if err != nil {
		return nil, err
	}
	if w.job.Options.Protocol(ds) == market.ProtocolLogged {
		if o := w.job.Options.SFT.Orders; len(o) > 0 && !slices.Contains(o, loggedOrder) {
			return nil, fault.Usagef("sft.orders is %v, and %s has logged impressions, whose only order is %q", o, w.job.DataDir, loggedOrder)
		}
		return []string{loggedOrder}, nil
	}
	names := slices.DeleteFunc(slices.Clone(w.job.Options.Slates.Orders), func(n string) bool { return n == loggedOrder })
	if len(names) == 0 {
		return nil, fault.Usagef("slates.orders has only \"logged\", and %s has no impressions", w.job.DataDir)
	}
	return names, nil
}

// sequenceUser reports whether mid-training may read the user's sequence. The
// others' earlier positions give slates for SFT.
func (w *world) sequenceUser(user int32) bool {
	share := w.job.Options.Midtrain.UserShare
	if user < 0 {
		return false
	}
	return fraction(rng.Hash(w.job.Options.Seed, rng.Key("midtrain-users"), rng.Key(w.data.Users[user]))) < share
}

// fraction maps a hash evenly to 0 <= x < 1.
func fraction(hash uint64) float64 { return float64(hash>>11) / (1 << 53) }

// evidence is what the evidence stage counted, and its buckets.
func (w *world) evidence() (*evidence.Stats, *evidence.Buckets, error) {
	if w.stats != nil {
		return w.stats, w.buckets, nil
	}
	ds, err := w.dataset()
	if err != nil {
		return nil, nil, err
	}
	stats, buckets, err := readEvidence(ds.Catalog, w.path(StageEvidence))
	if err != nil {
		return nil, nil, err
	}
	w.stats, w.buckets = stats, buckets
	return stats, buckets, nil
}

// sids is the index of the sid stage.
func (w *world) sids() (*sid.Index, error) {
	if w.index != nil {
		return w.index, nil
	}
	err := readFile(w.path(StageSID, rerank.SIDIndex), func(r io.Reader) (err error) {
		w.index, err = sid.Read(r)
		return err
	})
	return w.index, err
}

// tokenizer is the one that the tokenizer stage trained.
func (w *world) tokenizer() (*token.Tokenizer, error) {
	if w.tok != nil {
		return w.tok, nil
	}
	err := readFile(w.path(StageTokenizer, rerank.TokenizerFile), func(r io.Reader) (err error) {
		w.tok, err = token.Read(r)
		return err
	})
	return w.tok, err
}

// prompts is the prompt builder over all of these.
func (w *world) prompts() (*prompt.Builder, error) {
	if w.builder != nil {
		return w.builder, nil
	}
	ds, err := w.dataset()
	if err != nil {
		return nil, err
	}
	tok, err := w.tokenizer()
	if err != nil {
		return nil, err
	}
	index, err := w.sids()
	if err != nil {
		return nil, err
	}
	w.builder, err = prompt.New(tok, ds.Catalog, index, w.job.Options.promptOptions())
	return w.builder, err
}

func readFile(path string, read func(io.Reader) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := read(f); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
