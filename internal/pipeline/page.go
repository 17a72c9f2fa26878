package pipeline

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/gr2/gr2/internal/baseline"
	"github.com/gr2/gr2/internal/durable"
	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/report"
	"github.com/gr2/gr2/internal/sid/fit"
	"github.com/gr2/gr2/internal/sid/quality"
	"github.com/gr2/gr2/internal/train"
	"github.com/gr2/gr2/internal/train/rl"
)

const samplesFile = "samples.json"

// publish puts the results of the finished stages at the top of the run folder.
func publish(root, command string) error {
	results, err := os.ReadFile(filepath.Join(root, StageEval, ReportFile))
	if err != nil {
		return err
	}
	if err := durable.WriteBytes(filepath.Join(root, ReportFile), results); err != nil {
		return err
	}
	return writePage(root, command)
}

// WritePage renders report.html of a finished run from its artifacts. command
// is what makes the run again.
func WritePage(root, command string) error {
	if _, err := ReadReport(root); err != nil {
		return err // before there is a lock in a folder that is no run
	}
	unlock, err := lock(root)
	if err != nil {
		return err
	}
	defer unlock()
	return writePage(root, command)
}

func writePage(root, command string) error {
	return WritePageBeside(filepath.Join(root, PageFile), root, command, nil)
}

// Beside is a run whose curves stand beside another's, and the settings in which it
// differs from that.
type Beside struct {
	Root    string
	Changes []string
}

// WritePageBeside renders the report of a finished run as a file of its own, with
// the training curves of other runs, which may still be under way, beside its own.
func WritePageBeside(file, root, command string, others []Beside) error {
	data, err := pageData(root)
	if err != nil {
		return err
	}
	data.Command = command
	if err := addBeside(&data, root, others); err != nil {
		return err
	}
	return durable.Write(file, func(w io.Writer) error { return report.Write(w, data) })
}

// addBeside reads the curves of other runs. A run is called by the name of its
// folder, or by the whole path where names are equal.
func addBeside(d *report.Data, root string, others []Beside) error {
	names := map[string]int{filepath.Base(root): 1}
	for _, other := range others {
		names[filepath.Base(other.Root)]++
	}
	name := func(root string) string {
		if base := filepath.Base(root); names[base] == 1 {
			return base
		}
		return root
	}
	if len(others) > 0 {
		d.Title = name(root)
	}
	for _, other := range others {
		curves, err := curvesOf(other.Root)
		if err != nil {
			return err
		}
		if len(curves) == 0 {
			return fault.Inputf("%s has no training logs: name the folder of a run", other.Root)
		}
		run := report.Run{Name: name(other.Root), Changes: other.Changes}
		run.Curves, d.Alarms = splitAlarms(curves, d.Alarms, " of "+run.Name)
		if err := addWarnings(d, other.Root, run.Name+": "); err != nil {
			return err
		}
		d.Beside = append(d.Beside, run)
	}
	return nil
}

func pageData(root string) (report.Data, error) {
	results, err := ReadReport(root)
	if err != nil {
		return report.Data{}, err
	}
	d := report.Data{Title: filepath.Base(root), Report: results, Limits: limits()}
	if err := addWarnings(&d, root, ""); err != nil {
		return d, err
	}
	config, err := os.ReadFile(filepath.Join(root, ConfigFile))
	if err != nil {
		return d, err
	}
	d.Config = string(config)
	if err := readJSON(filepath.Join(root, StageEval, samplesFile), &d.Samples); err != nil {
		return d, err
	}
	var ids fit.Report
	if err := readJSON(filepath.Join(root, StageSID, sidReportFile), &ids); err != nil {
		return d, err
	}
	var codes quality.Report
	if err := readJSON(filepath.Join(root, StageSID, qualityFile), &codes); err != nil {
		return d, err
	}
	d.SID = &report.SIDs{Quality: codes, Nearest: ids.Nearest}
	for _, add := range []func(string, *report.Data) error{addSummary, addBaselines, addCurves, addStages} {
		if err := add(root, &d); err != nil {
			return d, err
		}
	}
	return d, nil
}

// addWarnings puts the warnings of a run's training among the alarms, which the logs
// have.
func addWarnings(d *report.Data, root, name string) error {
	warnings, err := Warnings(root)
	for _, warning := range warnings {
		if strings.HasPrefix(warning, warningOf) {
			d.Alarms = append(d.Alarms, name+warning)
		}
	}
	return err
}

func limits() []string {
	return []string{
		"One seed: the intervals cover the choice of test slates, not the noise of training.",
		"The linear control reads the raw evidence and all training slates; the policy reads buckets and the slates of users whose sequences it has not seen.",
	}
}

// addSummary describes the data set.
func addSummary(root string, d *report.Data) error {
	var s summary
	if err := readJSON(filepath.Join(root, StageCatalog, summaryFile), &s); err != nil {
		return err
	}
	d.Summary = fmt.Sprintf("%s, split by protocol %s. Every policy ranks the same test slates; lifts are relative to the incoming order.", s.Name, s.Protocol)
	d.Facts = []report.Fact{
		{Name: "users", Value: fmt.Sprint(s.Counts.Users)},
		{Name: "items", Value: fmt.Sprint(s.Counts.Items)},
		{Name: "events", Value: fmt.Sprint(s.Counts.Events)},
		{Name: "impressions", Value: fmt.Sprint(s.Counts.Slates)},
		{Name: "training events", Value: fmt.Sprint(s.TrainEvents)},
	}
	return nil
}

// addBaselines shows the legacy rankers over the whole catalog, where they
// were trained here.
func addBaselines(root string, d *report.Data) error {
	var m struct {
		Orders map[string]map[string]baseline.Measures `json:"orders"`
	}
	err := readJSON(filepath.Join(root, StageBaseline, measuresFile), &m)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	t := &report.Table{Caption: "Legacy rankers over the whole catalog, seen items masked", Columns: []string{"order", "split", "n", "R@1", "R@5", "R@10", "N@10"}}
	for _, order := range baseline.Orders() {
		for _, split := range []string{"valid", "test"} {
			x, ok := m.Orders[order][split]
			if !ok {
				continue
			}
			row := []string{order, split, fmt.Sprint(x.Targets)}
			for _, v := range []float64{x.R1, x.R5, x.R10, x.N10} {
				row = append(row, fmt.Sprintf("%.4f", v))
			}
			t.Rows = append(t.Rows, row)
		}
	}
	d.Baselines = t
	return nil
}

func addCurves(root string, d *report.Data) error {
	curves, err := curvesOf(root)
	d.Curves, d.Alarms = splitAlarms(curves, d.Alarms, "")
	return err
}

// leftOut reports whether the run's configuration leaves reinforcement learning out,
// of which its folder may hold an earlier one.
func leftOut(root string) bool {
	var o struct {
		RL struct {
			Steps int `yaml:"steps"`
		} `yaml:"rl"`
	}
	b, err := os.ReadFile(filepath.Join(root, ConfigFile))
	return err == nil && yaml.Unmarshal(b, &o) == nil && o.RL.Steps == 0
}

// curvesOf reads the training logs, as far as they are written.
func curvesOf(root string) (all []report.Curve, err error) {
	without := leftOut(root)
	for _, s := range []struct{ name, log string }{
		{"midtrain: token warm-up", filepath.Join(StageMidtrain, stateDir, warmupDir, train.LogName)},
		{"midtrain", filepath.Join(StageMidtrain, stateDir, train.LogName)},
		{"sft", filepath.Join(StageSFT, stateDir, train.LogName)},
		{StageRL, filepath.Join(StageRL, stateDir, train.LogName)},
		{StageRL, filepath.Join(StageRL, stateDir, rl.SpeedLog)},
	} {
		path := filepath.Join(root, s.log)
		if without && s.name == StageRL {
			continue
		}
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		err := readFile(path, func(in io.Reader) error {
			curves, err := report.ReadCurves(s.name, in)
			all = append(all, curves...)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// splitAlarms makes sentences of the alarms among the curves and takes out what is
// bookkeeping. of says of which run they are.
func splitAlarms(curves []report.Curve, alarms []string, of string) (shown []report.Curve, more []string) {
	for _, c := range curves {
		switch {
		case c.Metric == alarmMetric:
			alarms = append(alarms, alarmsOf(c, of)...)
		case shownCurve(c.Metric):
			shown = append(shown, c)
		}
	}
	return shown, alarms
}

// alarmMetric stands in the logs where reward and validation part.
const alarmMetric = "alarm"

// alarmsOf has a line for each kind of alarm.
func alarmsOf(c report.Curve, of string) (alarms []string) {
	steps := map[rl.AlarmKind][]string{}
	for _, p := range c.Points {
		kind := rl.AlarmKind(p.Y)
		steps[kind] = append(steps[kind], fmt.Sprint(p.X))
	}
	for _, kind := range slices.Sorted(maps.Keys(steps)) {
		alarms = append(alarms, fmt.Sprintf("ALARM of %s%s at step %s: %v.", c.Stage, of, strings.Join(steps[kind], ", "), kind))
	}
	return alarms
}

// shownCurve leaves out bookkeeping.
func shownCurve(metric string) bool {
	return metric != "done" && metric != "tokens" && metric != "draws"
}

// addStages says how long each stage took.
func addStages(root string, d *report.Data) error {
	for _, name := range Stages() {
		m, err := readManifest(filepath.Join(root, name))
		if err != nil {
			continue
		}
		took := time.Duration(m.Seconds * float64(time.Second)).Round(100 * time.Millisecond)
		d.Stages = append(d.Stages, report.Fact{Name: name, Value: took.String()})
	}
	return nil
}

// samples picks slates where the policy moved a positive the most, up and down
// in turn, so that wins and losses are shown alike.
func (e *evaluation) samples(n int) []report.Sample {
	if n <= 0 {
		return nil
	}
	answers := e.served().answers
	gain := make([]float64, len(answers))
	index := make([]int, len(answers))
	for i, a := range answers {
		index[i], gain[i] = i, placesGained(e.set.test.Slates[i].Grades, a.Order)
	}
	slices.SortStableFunc(index, func(a, b int) int { return cmp.Compare(gain[b], gain[a]) })
	var out []report.Sample
	for i := 0; i < (n+1)/2 && i < len(index); i++ {
		out = append(out, e.sample(index[i], fmt.Sprintf("gains %.0f places", gain[index[i]])))
	}
	for i := 0; i < n/2 && i < len(index)-(n+1)/2; i++ {
		at := index[len(index)-1-i]
		out = append(out, e.sample(at, fmt.Sprintf("loses %.0f places", -gain[at])))
	}
	return out
}

// placesGained is how far the best positive rose.
func placesGained(grades []uint8, order []int) float64 {
	before, after := -1, -1
	for i, g := range grades {
		if g > market.GradeNone && before < 0 {
			before = i
		}
	}
	for i, c := range order {
		if grades[c] > market.GradeNone && after < 0 {
			after = i
		}
	}
	return float64(before - after)
}

func (e *evaluation) sample(i int, note string) report.Sample {
	s, served := &e.set.test.Slates[i], e.served()
	out := report.Sample{ID: s.ID, Note: note, Policy: served.name, Order: e.order, Ranking: served.answers[i].Order, Trace: served.answers[i].Trace}
	for h := len(s.History) - 1; h >= max(0, len(s.History)-e.job.Options.Prompt.HistoryMax); h-- {
		v := s.History[h]
		item := e.sampleItem(v.Item)
		item.Detail += time.Unix(v.Time, 0).UTC().Format(" 2006-01-02")
		out.History = append(out.History, item)
	}
	for c, candidate := range s.Candidates {
		item := e.sampleItem(candidate.Item)
		item.Grade = s.Grades[c]
		out.Candidates = append(out.Candidates, item)
	}
	return out
}

func (e *evaluation) sampleItem(n int32) report.SampleItem {
	it := &e.data.Catalog.Items[n]
	out := report.SampleItem{Title: it.Title, Detail: it.Brand}
	if out.Title == "" {
		out.Title = it.ID
	}
	return out
}
