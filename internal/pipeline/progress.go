package pipeline

import "time"

// Event is what a Progress tells.
type Event uint8

const (
	// StageStarted: the stage begins or goes on from its state.
	StageStarted Event = iota
	// StageSkipped: the stage's files already stand.
	StageSkipped
	// StageFinished: the stage's manifest is written; Took is set.
	StageFinished
	// Working: Done of Total units (Total 0 when unknown), with a Note.
	Working
	// Said: a Note worth keeping, such as a measured number.
	Said
)

// Progress is one message from a run to whoever watches it.
type Progress struct {
	Event  Event
	Stage  string
	Index  int // of the stage, from 1
	Stages int
	Done   float64
	Total  float64
	Unit   string
	Note   string
	Took   time.Duration
}
