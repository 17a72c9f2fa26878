package report

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"io"
	"slices"
	"strings"

	"github.com/gr2/gr2/internal/fault"
)

// Curve is one metric of one training stage over its steps.
type Curve struct {
	Stage  string
	Metric string
	Points []Point // X ascends
}

// Point is a value at a step.
type Point struct{ X, Y float64 }

// ReadCurves reads a stage's metrics.jsonl: one flat object a line with a
// number "step"; every other number is a point of the metric of that name.
// Nested objects name their metrics with a dot. Curves come in the order of
// their names. A last line without an end is being written, or was when the run
// was killed, and is left out.
func ReadCurves(stage string, r io.Reader) ([]Curve, error) {
	points := map[string][]Point{}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	lines.Split(whole)
	for n := 1; lines.Scan(); n++ {
		var line map[string]any
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return nil, fault.Corruptf("line %d: not a JSON object: %v; %s", n, err, mend)
		}
		step, ok := line["step"].(float64)
		if !ok {
			return nil, fault.Corruptf("line %d: no number \"step\"; %s", n, mend)
		}
		delete(line, "step")
		collect(points, "", line, step)
	}
	if err := lines.Err(); err != nil {
		return nil, fault.Corruptf("%v; %s", err, mend)
	}
	var curves []Curve
	for metric, p := range points {
		slices.SortStableFunc(p, func(a, b Point) int { return cmp.Compare(a.X, b.X) })
		curves = append(curves, Curve{Stage: stage, Metric: metric, Points: p})
	}
	slices.SortFunc(curves, func(a, b Curve) int { return strings.Compare(a.Metric, b.Metric) })
	return curves, nil
}

// mend is what helps a damaged log.
const mend = "remove the folder of the stage and let gr2 run make it again"

// whole splits into lines that have an end.
func whole(data []byte, atEOF bool) (advance int, line []byte, err error) {
	if end := bytes.IndexByte(data, '\n'); end >= 0 {
		return end + 1, data[:end], nil
	}
	if atEOF {
		return len(data), nil, nil
	}
	return 0, nil, nil
}

func collect(points map[string][]Point, prefix string, line map[string]any, step float64) {
	for key, value := range line {
		switch v := value.(type) {
		case float64:
			points[prefix+key] = append(points[prefix+key], Point{step, v})
		case map[string]any:
			collect(points, prefix+key+".", v, step)
		}
	}
}
