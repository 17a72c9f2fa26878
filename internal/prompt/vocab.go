package prompt

import (
	"strconv"

	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/sid"
	"github.com/gr2/gr2/internal/token"
)

// sidLevels is the longest code an index can have; sid's own bound.
const sidLevels = 8

// vocab holds the token ids that every prompt is made of, resolved once.
type vocab struct {
	start, end, document int32
	think, answer        int32 // -1 in answer mode
	no, yes              int32 // -1 unless Judge
	sidBegin, sidEnd     int32 // -1 when SIDs are off
	sids                 [sidLevels][256]int32
	sidSet               []bool             // by token id
	sidLevel             map[int32]int      // of the tokens that are a code
	sidCodes             [sidLevels][]int32 // the same by level, ascending by code
	days                 [dayBuckets]int32
	ranks                [SlateMax + 1]int32
	evidence             [][]int32 // name x code
	numbers              [SlateMax + 1][]int32
	named                map[int32]int // place of the candidate whose number is this token alone
	lineEnd, hash        []int32       // "\n" and " #", which parts a number from text before it
	open, comma, close   []int32       // syntax of the answer; close ends with <|im_end|>
	traceTokens          []int32       // what a trace may consist of, and its end mark; ascending
}

func newVocab(tok *token.Tokenizer, o Options) (*vocab, error) {
	v := &vocab{think: -1, answer: -1, no: -1, yes: -1, sidBegin: -1, sidEnd: -1, named: map[int32]int{}}
	for _, name := range SpecialTokens(o) {
		if id, ok := tok.ID(name); !ok || !tok.Added(id) {
			return nil, fault.Usagef("prompt: the tokenizer has no added token %s: train or extend it with prompt.SpecialTokens of these options", name)
		}
	}
	id := func(name string) int32 { n, _ := tok.ID(name); return n }
	v.start, v.end, v.document = id(startToken), id(endToken), id(documentToken)
	if o.Judge {
		v.no, v.yes = id(noToken), id(yesToken)
	}
	for b := range v.days {
		v.days[b] = id(dayToken(b))
	}
	for n := 1; n <= SlateMax; n++ {
		v.ranks[n] = id(rankToken(n))
		v.numbers[n] = tok.EncodeText(strconv.Itoa(n))
		if len(v.numbers[n]) == 1 {
			v.named[v.numbers[n][0]] = n - 1
		}
	}
	if o.Evidence {
		v.evidence = make([][]int32, len(o.EvidenceNames))
		for i, name := range o.EvidenceNames {
			for b := range o.EvidenceBuckets {
				v.evidence[i] = append(v.evidence[i], id(evidenceToken(name, b)))
			}
		}
	}
	v.lineEnd, v.hash = tok.EncodeText("\n"), tok.EncodeText(" #")
	v.open, v.comma = tok.EncodeText(answerOpen), tok.EncodeText(answerComma)
	v.close = append(tok.EncodeText(answerClose), v.end)
	if o.SID {
		if err := v.readSIDs(tok); err != nil {
			return nil, err
		}
	}
	if o.Mode == ModeTrace {
		v.think, v.answer = id(thinkToken), id(answerToken)
		v.traceTokens = v.inTrace(tok)
	}
	return v, nil
}

// readSIDs resolves every semantic ID token that the tokenizer has; -1 for the others.
func (v *vocab) readSIDs(tok *token.Tokenizer) error {
	v.sidSet, v.sidLevel = make([]bool, tok.Size()), map[int32]int{}
	find := func(name string) int32 {
		if id, ok := tok.ID(name); ok && tok.Added(id) {
			v.sidSet[id] = true
			return id
		}
		return -1
	}
	v.sidBegin, v.sidEnd = find(sid.BeginToken), find(sid.EndToken)
	for level := range v.sids {
		for code := range v.sids[level] {
			id := find(sid.TokenName(level, uint8(code)))
			if v.sids[level][code] = id; id >= 0 {
				v.sidLevel[id], v.sidCodes[level] = level, append(v.sidCodes[level], id)
			}
		}
	}
	if v.sidBegin < 0 || v.sidEnd < 0 || v.sids[0][0] < 0 {
		return fault.Usagef("prompt: the tokenizer has no semantic ID tokens: train or extend it with sid.TokenNames")
	}
	return nil
}

// checkCodes makes sure that every item's semantic ID can be spelt.
func (v *vocab) checkCodes(codes Codes, items int) error {
	for item := range int32(items) {
		for level, c := range codes.Code(item) {
			if level >= sidLevels || v.sids[level][c] < 0 {
				return fault.Usagef("prompt: the tokenizer has no token for code %d at level %d of semantic IDs: extend it with sid.TokenNames of this index", c, level)
			}
		}
	}
	return nil
}

// isSID reports whether id belongs to a semantic ID.
func (v *vocab) isSID(id int32) bool { return int(id) < len(v.sidSet) && v.sidSet[id] }

func (v *vocab) inTrace(tok *token.Tokenizer) (ids []int32) {
	for id := range int32(tok.Size()) {
		if !tok.Added(id) || v.isSID(id) || id == v.answer {
			ids = append(ids, id)
		}
	}
	return ids
}
