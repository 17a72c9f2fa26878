package report

import (
	"fmt"
	"strconv"

	"github.com/gr2/gr2/internal/sid"
	"github.com/gr2/gr2/internal/sid/quality"
)

// barChart is bars in groups: a group a level, a bar of every series in each.
type barChart struct {
	Title, Note string
	Series      []string
	Bars        []bar
	X, Y        []tick
}

// bar is a rectangle; Series is its number, for the colour.
type bar struct {
	Series             int
	Left, Top, W, H    string
	Value, ValueX, Tip string
}

// newBarChart draws values[series][group], all 0 or more; groups are numbered
// from 1 and called so.
func newBarChart(title, group string, series []string, values [][]float64) barChart {
	c := barChart{Title: title, Series: series}
	top := span{0, 0}
	for _, v := range values {
		top = top.include(v)
	}
	if top.high == 0 {
		top.high = 1
	}
	ticks := niceTicks(top, 5)
	top = top.include(ticks)
	for _, v := range ticks {
		c.Y = append(c.Y, tick{coord(plotB - (plotB-plotT)*top.share(v)), short(v)})
	}
	groups := len(values[0])
	wide := (plotR - plotL) / float64(groups)
	each := .8 * wide / float64(len(values))
	for g := range groups {
		left := plotL + wide*(float64(g)+.1)
		c.X = append(c.X, tick{coord(left + .4*wide), group + " " + strconv.Itoa(g+1)})
		for s, v := range values {
			height := (plotB - plotT) * top.share(v[g])
			c.Bars = append(c.Bars, bar{
				Series: s, Left: coord(left + each*float64(s)), Top: coord(plotB - height), W: coord(.94 * each), H: coord(height),
				Value: short(v[g]), ValueX: coord(left + each*(float64(s)+.47)),
				Tip: fmt.Sprintf("%s, %s %d: %s", series[s], group, g+1, short(v[g])),
			})
		}
	}
	for s, name := range series {
		c.Note += fmt.Sprintf("%s:", name)
		for _, v := range values[s] {
			c.Note += " " + short(v)
		}
		c.Note += "; "
	}
	return c
}

// codesInUse draws how many codes of a level have items and how many have none.
func codesInUse(s sid.Stats) barChart {
	var used, dead []float64
	for _, l := range s.Levels {
		used, dead = append(used, float64(l.Used)), append(dead, float64(l.Dead))
	}
	return newBarChart("Codes in use", "level", []string{"used", "dead"}, [][]float64{used, dead})
}

// mostShared is the last bar of the collision histogram; it stands for all above.
const mostShared = 8

// sharing draws the collision histogram: codes by the number of their items.
func sharing(histogram []quality.Sharing) barChart {
	codes := make([]float64, 1)
	title := "Codes by how many items share them"
	for _, s := range histogram {
		at := min(s.Items, mostShared)
		for len(codes) < at {
			codes = append(codes, 0)
		}
		codes[at-1] += float64(s.Codes)
		if s.Items > mostShared {
			title = fmt.Sprintf("Codes by how many items share them, the last: %d or more", mostShared)
		}
	}
	return newBarChart(title, "shared by", []string{"codes"}, [][]float64{codes})
}

// sidBars are the figures of semantic IDs.
func sidBars(d *SIDs) []barChart {
	q := &d.Quality
	if len(q.Levels) == 0 {
		return nil
	}
	used := func(s sid.Stats) (perplexity []float64) {
		for _, l := range s.Levels {
			perplexity = append(perplexity, l.Perplexity)
		}
		return perplexity
	}
	charts := []barChart{newBarChart("Perplexity of the codes", "level", []string{"as assigned"}, [][]float64{used(q.Stats)})}
	if len(d.Nearest.Levels) == len(q.Levels) {
		charts[0] = newBarChart("Perplexity of the codes", "level", []string{"as assigned", "nearest code"}, [][]float64{used(q.Stats), used(d.Nearest)})
	}
	charts = append(charts, codesInUse(q.Stats), sharing(q.Sharing))
	if len(q.Errors) > 0 {
		charts = append(charts, newBarChart("Reconstruction error left, relative", "level", []string{"error"}, [][]float64{q.Errors}))
	}
	for _, p := range q.Purity {
		charts = append(charts, newBarChart(fmt.Sprintf("Purity of prefixes, category path to depth %d (%d items)", p.Depth, p.Items),
			"level", []string{"codes", "codes shuffled"}, [][]float64{p.Levels, p.Shuffled}))
	}
	if len(q.CoEngagement) > 0 && q.CoEngagement[0].Pairs > 0 {
		var shared, chance []float64
		for _, a := range q.CoEngagement {
			shared, chance = append(shared, a.Shared), append(chance, a.Chance)
		}
		charts = append(charts, newBarChart(fmt.Sprintf("Successive items of a user with one prefix (%d pairs)", q.CoEngagement[0].Pairs),
			"level", []string{"share", "by chance"}, [][]float64{shared, chance}))
	}
	return charts
}
