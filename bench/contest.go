package main

import (
	"context"
	"fmt"
	"log"
	"slices"
)

// contest is one task with one figure, the more the better. The first entrant
// is gr2; the others are its peers.
type contest struct {
	name     string
	unit     string
	entrants []entrant
}

// entrant measures itself once.
type entrant struct {
	name string
	run  func(ctx context.Context) (float64, error)
}

// outcome is what a contest found.
type outcome struct {
	Name     string     `json:"name"`
	Unit     string     `json:"unit"`
	Entrants []standing `json:"entrants"`
}

// standing is one entrant's figures. Ratio is gr2's figure over this one's:
// above 1, gr2 is ahead.
type standing struct {
	Name   string    `json:"name"`
	Rounds []float64 `json:"rounds"`
	Median float64   `json:"median"`
	Ratio  float64   `json:"ratio"`
}

// hold runs the rounds.
func (c *contest) hold(ctx context.Context, rounds int) (outcome, error) {
	out := outcome{Name: c.name, Unit: c.unit}
	for _, e := range c.entrants {
		out.Entrants = append(out.Entrants, standing{Name: e.name})
	}
	for round := range rounds {
		for i, e := range c.entrants {
			if err := ctx.Err(); err != nil {
				return out, err
			}
			v, err := e.run(ctx)
			if err != nil {
				return out, fmt.Errorf("%s: %w", e.name, err)
			}
			out.Entrants[i].Rounds = append(out.Entrants[i].Rounds, v)
			log.Printf("%s, round %d, %s: %.4g %s", c.name, round+1, e.name, v, c.unit)
		}
	}
	ours := out.Entrants[0].Rounds
	for i := range out.Entrants {
		s := &out.Entrants[i]
		ratios := make([]float64, rounds)
		for r := range ratios {
			ratios[r] = ours[r] / s.Rounds[r]
		}
		s.Median, s.Ratio = median(s.Rounds), median(ratios)
	}
	return out, nil
}

func median(x []float64) float64 {
	s := slices.Sorted(slices.Values(x))
	n := len(s)
	if n == 0 {
		return 0
	}
	return (s[(n-1)/2] + s[n/2]) / 2
}
