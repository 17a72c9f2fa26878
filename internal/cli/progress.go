package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"github.com/gr2/gr2/internal/pipeline"
)

// plainEvery is the least time between two progress lines where stderr is
// not a terminal.
const plainEvery = 15 * time.Second

// watcher renders the progress of a run: one updating line on a terminal, a
// line now and then elsewhere.
type watcher struct {
	w        io.Writer
	terminal bool
	began    time.Time // of the stretch of work under way
	from     float64   // Done when it began
	done     float64   // Done of the last message; less than before means other work
	last     time.Time // of the last line
	open     bool      // the cursor stands behind an updating line
}

func (e *env) watch() func(pipeline.Progress) {
	if e.quiet {
		return func(pipeline.Progress) {}
	}
	f, isFile := e.err.(*os.File)
	w := &watcher{w: e.err, terminal: isFile && term.IsTerminal(int(f.Fd())) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
	return w.show
}

func (w *watcher) show(p pipeline.Progress) {
	head := fmt.Sprintf("[%d/%d] %s", p.Index, p.Stages, p.Stage)
	switch p.Event {
	case pipeline.StageStarted:
		w.began, w.last = time.Time{}, time.Now()
		w.line(head)
	case pipeline.StageSkipped:
		w.line(head + ": already done")
	case pipeline.StageFinished:
		w.line(fmt.Sprintf("%s: done in %s", head, p.Took.Round(100*time.Millisecond)))
	case pipeline.Said:
		w.line("      " + p.Note)
	case pipeline.Working:
		w.working(p)
	}
}

func (w *watcher) working(p pipeline.Progress) {
	now := time.Now()
	if w.began.IsZero() || p.Done < w.done {
		w.began, w.from = now, p.Done
	}
	w.done = p.Done
	pause := plainEvery
	if w.terminal {
		pause = 100 * time.Millisecond
	}
	if now.Sub(w.last) < pause && p.Done < p.Total {
		return
	}
	w.last = now
	text := "      " + p.Note
	if p.Total > 0 {
		text = fmt.Sprintf("      %3.0f%% %s", 100*p.Done/p.Total, p.Note)
		if done := p.Done - w.from; done > 0 && p.Done < p.Total {
			left := time.Duration(float64(now.Sub(w.began)) * (p.Total - p.Done) / done)
			text += fmt.Sprintf(", %s left", left.Round(time.Second))
		}
	}
	if !w.terminal {
		fmt.Fprintln(w.w, text)
		return
	}
	fmt.Fprintf(w.w, "\r\x1b[K%s", strings.TrimRight(text, " "))
	w.open = true
}

func (w *watcher) line(text string) {
	if w.open {
		fmt.Fprint(w.w, "\r\x1b[K")
		w.open = false
	}
	fmt.Fprintln(w.w, text)
}
