package api

// Visit is one event of a user's history.
type Visit struct {
	Item string `json:"item"`
	Time int64  `json:"time"` // 0 when not given: the time of the request
}

// Candidate is one item to rank, with the score the legacy ranker gave it; 0
// when it gives none.
type Candidate struct {
	Item  string  `json:"item"`
	Score float32 `json:"score"`
}

// Slate is one re-ranking request.
type Slate struct {
	ID         string      `json:"id,omitempty"`
	User       string      `json:"user,omitempty"`
	Time       int64       `json:"time"` // of the request; 0 when not given, see RequestTime
	History    []Visit     `json:"history"`
	Candidates []Candidate `json:"candidates"`
	// Grades say what the user did with each candidate (0 nothing, 1 click,
	// 2 conversion). They are for evaluation; a re-ranker never reads them.
	Grades []int `json:"grades,omitempty"`
}

// RequestTime is the time of the request: Time, or without one that of the
// last visit.
func (s *Slate) RequestTime() int64 {
	if s.Time == 0 && len(s.History) > 0 {
		return s.History[len(s.History)-1].Time
	}
	return s.Time
}

// Ranking is the answer to one Slate.
type Ranking struct {
	ID      string   `json:"id"`
	Ranking []string `json:"ranking"` // item ids, best first
	Order   []int    `json:"order"`   // the same as 0-based positions in the slate's candidates
	Trace   string   `json:"trace"`   // the reasoning, when the policy writes one

	// Fallback is true when the policy could not answer and Ranking is the
	// legacy order; Reason says why.
	Fallback bool   `json:"fallback"`
	Reason   Reason `json:"reason,omitempty"`

	// UnknownHistory counts the visits that were left out because the catalog
	// does not know their item.
	UnknownHistory int `json:"unknown_history,omitempty"`
	// Cut says what else was left out to keep within the policy's budget of
	// tokens; nil when nothing was.
	Cut *Cut `json:"cut,omitempty"`

	Model  string  `json:"model"` // hash of the weights, tokenizer and prompt that answered
	Millis float64 `json:"ms"`    // from start to end, without waiting in the queue
	Phases Phases  `json:"phases"`
	Tokens Tokens  `json:"tokens"`
}

// Cut is what a prompt leaves out to fit its budget.
type Cut struct {
	History int  `json:"history"` // visits, the oldest ones
	Titles  bool `json:"titles"`  // titles are shortened or gone
}

// Phases are the milliseconds that the parts of one answer took.
type Phases struct {
	Queue   float64 `json:"queue_ms"`   // waiting for a worker
	Prompt  float64 `json:"prompt_ms"`  // evidence and tokens
	Prefill float64 `json:"prefill_ms"` // the model reads the prompt
	Decode  float64 `json:"decode_ms"`  // the model writes the answer
}

// Tokens counts what the model read and wrote.
type Tokens struct {
	Prompt int `json:"prompt"`
	Output int `json:"output"`
}

// Reason says why an answer is the legacy order.
type Reason string

const (
	ReasonDeadline Reason = "deadline" // time ran out
	ReasonTooLong  Reason = "too_long" // the prompt does not fit the model's context
	ReasonCanceled Reason = "canceled" // the caller went away
	ReasonFailed   Reason = "failed"   // the policy reported an error, see the log
)

// Request is the body of POST /v1/rerank: one Slate, or several as
// {"slates":[...]}.
type Request struct {
	Slates []Slate
	Batch  bool // the body had the form {"slates":[...]}, and so has the reply
}

// Response is the reply to a batch.
type Response struct {
	Rankings []Ranking `json:"rankings"`
}

// Incoming is the fallback answer to s: the legacy order, for this reason, in
// the name of this model.
func (s *Slate) Incoming(reason Reason, model string) Ranking {
	r := Ranking{ID: s.ID, Fallback: true, Reason: reason, Model: model}
	for i, c := range s.Candidates {
		r.Ranking = append(r.Ranking, c.Item)
		r.Order = append(r.Order, i)
	}
	return r
}
