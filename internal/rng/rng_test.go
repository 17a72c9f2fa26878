package rng_test

import (
	"math"
	"testing"

	"github.com/gr2/gr2/internal/rng"
)

func TestStreamDependsOnCoordinatesOnly(t *testing.T) {
	a, b := rng.New(1, 2, 3), rng.New(1, 2, 3)
	rng.New(9).Uint64()
	for i := range 100 {
		if x, y := a.Uint64(), b.Uint64(); x != y {
			t.Fatalf("draw %d: %d and %d", i, x, y)
		}
	}
}

func TestNeighbouringCoordinatesDiffer(t *testing.T) {
	seen := map[uint64]bool{}
	for seed := range uint64(10) {
		for c := range uint64(1000) {
			seen[rng.New(seed, c).Uint64()] = true
			seen[rng.New(seed, c, 0).Uint64()] = true
		}
	}
	if len(seen) != 20000 {
		t.Errorf("%d distinct first draws of 20000 streams", len(seen))
	}
}

func TestHashIsUniform(t *testing.T) {
	const n, bins = 100000, 20
	var count [bins]float64
	for i := range uint64(n) {
		count[rng.Hash(7, i)%bins]++
	}
	chi := 0.0
	for _, c := range count {
		chi += (c - n/bins) * (c - n/bins) / (n / bins)
	}
	// 19 degrees of freedom: mean 19, standard deviation 6.2.
	if math.Abs(chi-19) > 31 {
		t.Errorf("chi-square %.1f over %d bins", chi, bins)
	}
}

// The values are frozen: slates, folds and shuffles of stored runs hang on them.
func TestFrozenValues(t *testing.T) {
	if got := rng.Key("sasrec"); got != 0xa2a342ab128f4c50 {
		t.Errorf("Key = %#x", got)
	}
	if got := rng.Hash(1, 2, 3); got != 0x58656ad354fe71da {
		t.Errorf("Hash = %#x", got)
	}
	if got := rng.New(1, 2, 3).Uint64(); got != 0x3e2e497989ba41e3 {
		t.Errorf("New = %#x", got)
	}
}
