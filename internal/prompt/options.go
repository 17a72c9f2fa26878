package prompt

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"github.com/gr2/gr2/internal/fault"
)

// SlateMax is the largest slate a prompt can show: candidates are numbered
// with tokens of at most two digits and rank tokens up to this number.
const SlateMax = 50

// Places of a candidate's number in its line.
const (
	NumberStart = "start"
	NumberEnd   = "end"
	NumberBoth  = "both"
)

// Modes of the assistant's turn.
const (
	ModeAnswer = "answer" // the JSON answer alone
	ModeTrace  = "trace"  // a reasoning trace, then the JSON answer
)

// Options says what a prompt shows. Every part is a switch, so that it can be
// ablated; a false switch costs no token. Zero numbers and empty strings mean
// the default named beside the field.
type Options struct {
	System  string `json:"system" yaml:"system"`   // system text: "compact" (default) or "full"
	Mode    string `json:"mode" yaml:"mode"`       // "answer" (default) or "trace"
	Headers bool   `json:"headers" yaml:"headers"` // header lines above history and candidates

	SID          bool `json:"sid" yaml:"sid"`                     // semantic ID
	SIDBrackets  bool `json:"sid_brackets" yaml:"sid_brackets"`   // with its begin and end tokens
	Title        bool `json:"title" yaml:"title"`                 // cut to TitleMax
	Brand        bool `json:"brand" yaml:"brand"`                 // omitted where it begins the title
	Category     bool `json:"category" yaml:"category"`           // the leaf
	CategoryPath bool `json:"category_path" yaml:"category_path"` // the whole path instead of the leaf
	TitleMax     int  `json:"title_max" yaml:"title_max"`         // tokens of a title, default 16

	HistoryMax int  `json:"history_max" yaml:"history_max"` // items of history, newest kept; default 8, negative: none
	SameDay    bool `json:"same_day" yaml:"same_day"`       // mark history items of the request's day (UTC)
	DaysSince  bool `json:"days_since" yaml:"days_since"`   // mark the others by days since, in buckets

	Rank            bool     `json:"rank" yaml:"rank"`                         // legacy rank of a candidate
	Evidence        bool     `json:"evidence" yaml:"evidence"`                 // one token per evidence name
	EvidenceNames   []string `json:"evidence_names" yaml:"evidence_names"`     // in the order of the codes
	EvidenceBuckets int      `json:"evidence_buckets" yaml:"evidence_buckets"` // codes are 0..EvidenceBuckets-1, 0 included
	NumberAt        string   `json:"number_at" yaml:"number_at"`               // "start", "end" (default) or "both"
	// Judge reserves two tokens with which the model can say at the end of a
	// candidate's line whether it would be engaged with. They are never shown:
	// SFT asks for them beside the ranking, and a policy may rank by them.
	Judge bool `json:"judge" yaml:"judge"`

	MaxTokens  int  `json:"max_tokens" yaml:"max_tokens"`   // budget of a prompt; default no limit
	TraceMax   int  `json:"trace_max" yaml:"trace_max"`     // tokens of a trace, default 256
	SyntaxLoss bool `json:"syntax_loss" yaml:"syntax_loss"` // learn answers for free decoding: forced tokens too, choices among all tokens
}

// Validate reports the first option that makes no sense, and what would.
func (o Options) Validate() error {
	o, err := o.withDefaults()
	if err == nil {
		_, err = systemText(o)
	}
	return err
}

// withDefaults fills zero values and checks the rest.
func (o Options) withDefaults() (Options, error) {
	o.System = cmp.Or(o.System, "compact")
	o.Mode = cmp.Or(o.Mode, ModeAnswer)
	o.NumberAt = cmp.Or(o.NumberAt, NumberEnd)
	o.TitleMax = cmp.Or(o.TitleMax, 16)
	o.HistoryMax = cmp.Or(o.HistoryMax, 8)
	o.TraceMax = cmp.Or(o.TraceMax, 256)
	o.EvidenceNames = slices.Clone(o.EvidenceNames)
	switch {
	case !slices.Contains([]string{ModeAnswer, ModeTrace}, o.Mode):
		return o, fault.Usagef("prompt: mode %q: use %q or %q", o.Mode, ModeAnswer, ModeTrace)
	case !slices.Contains([]string{NumberStart, NumberEnd, NumberBoth}, o.NumberAt):
		return o, fault.Usagef("prompt: number_at %q: use %q, %q or %q", o.NumberAt, NumberStart, NumberEnd, NumberBoth)
	case o.TitleMax < 0 || o.MaxTokens < 0 || o.TraceMax < 0:
		return o, fault.Usagef("prompt: title_max, max_tokens and trace_max cannot be negative")
	case !o.SID && !o.Title && !o.Brand && !o.Category:
		return o, fault.Usagef("prompt: items would show nothing: switch on sid, title, brand or category")
	case o.CategoryPath && !o.Category:
		return o, fault.Usagef("prompt: category_path needs category")
	case o.SIDBrackets && !o.SID:
		return o, fault.Usagef("prompt: sid_brackets needs sid")
	case o.Evidence && (len(o.EvidenceNames) == 0 || o.EvidenceBuckets < 1 || o.EvidenceBuckets > 256):
		return o, fault.Usagef("prompt: evidence needs evidence_names and 1 to 256 evidence_buckets")
	}
	seen := map[string]bool{}
	for _, name := range SpecialTokens(o) {
		if seen[name] {
			return o, fault.Usagef("prompt: evidence_names give the token %s twice", name)
		}
		seen[name] = true
	}
	return o, nil
}

// Names of the tokens that frame turns and documents, and of the trace's marks.
const (
	startToken    = "<|im_start|>"
	endToken      = "<|im_end|>"
	documentToken = "<|endoftext|>"
	thinkToken    = "<think>"
	noToken       = "<|no|>"
	yesToken      = "<|yes|>"
	answerToken   = "</think>"
)

// ControlTokens frame turns and documents. They are the special ones of
// SpecialTokens, never part of a text.
func ControlTokens() []string { return []string{startToken, endToken, documentToken} }

// SpecialTokens are the added tokens that prompts under these options need,
// semantic IDs (sid.TokenNames) aside. The order is part of the vocabulary.
func SpecialTokens(opt Options) []string {
	names := ControlTokens()
	if opt.Mode == ModeTrace {
		names = append(names, thinkToken, answerToken)
	}
	if opt.Judge {
		names = append(names, noToken, yesToken)
	}
	if opt.SameDay || opt.DaysSince {
		for b := range dayBuckets {
			names = append(names, dayToken(b))
		}
	}
	if opt.Rank {
		for r := 1; r <= SlateMax; r++ {
			names = append(names, rankToken(r))
		}
	}
	if opt.Evidence {
		for _, name := range opt.EvidenceNames {
			for b := range opt.EvidenceBuckets {
				names = append(names, evidenceToken(name, b))
			}
		}
	}
	return names
}

// RequiredTokens are the strings that a tokenizer trained for prompts should
// keep whole, so that an answer takes one token per number.
func RequiredTokens() []string {
	names := []string{`{"`, "ranking", `":[`, "]}", "system", "user", "assistant"}
	for n := 10; n <= SlateMax; n++ {
		names = append(names, strconv.Itoa(n))
	}
	return names
}

func dayToken(bucket int) string                 { return fmt.Sprintf("<|day_%d|>", bucket) }
func rankToken(rank int) string                  { return fmt.Sprintf("<|rank_%d|>", rank) }
func evidenceToken(name string, code int) string { return fmt.Sprintf("<|%s_%d|>", name, code) }

// dayLimits are the largest numbers of days of the buckets: the same day, one
// day, up to three, a week, a month, a quarter, a year; older ones come last.
var dayLimits = []int64{0, 1, 3, 7, 30, 90, 365}

const dayBuckets = 8

// dayBucket is the bucket of a visit seen from the request; days are UTC days.
func dayBucket(request, visit int64) int {
	days := utcDay(request) - utcDay(visit)
	for b, limit := range dayLimits {
		if days <= limit {
			return b
		}
	}
	return dayBuckets - 1
}

// utcDay numbers the days since 1970; times before are negative.
func utcDay(t int64) int64 {
	const day = 24 * 60 * 60
	if t < 0 {
		return (t+1)/day - 1
	}
	return t / day
}
