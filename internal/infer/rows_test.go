package infer

import (
	"testing"

	"github.com/gr2/gr2/internal/kernel"
	"github.com/gr2/gr2/internal/rng"
)

// TestRowsDoNotDependOnTheirNumber is what batches rest on: from two rows to
// shareRows a product gives a row the same bits, whatever the other rows, for
// linear maps and for attention's two products, in every variant. A weighted
// sum (plain B) gives them to a single row, too.
func TestRowsDoNotDependOnTheirNumber(t *testing.T) {
	best := kernel.Active()
	defer func() {
		if err := kernel.Use(best); err != nil {
			t.Fatal(err)
		}
	}()
	r := rng.New(1)
	random := func(n int) []float32 {
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(r.NormFloat64())
		}
		return x
	}
	shapes := []struct{ n, k int }{{256, 256}, {768, 256}, {256, 768}, {1000, 72}, {61, 24}, {37, 20},
		{pageLen, 64}, {pageLen, 6}, {1, 64}, {5, 64}, {64, pageLen}, {64, 3}, {6, 33}}
	for _, name := range kernel.Available() {
		if err := kernel.Use(name); err != nil {
			t.Fatal(err)
		}
		for _, s := range shapes {
			for _, transB := range []bool{true, false} {
				ldb, fewest := s.n, 1
				if transB {
					ldb, fewest = s.k, 2
				}
				a, b, c := random(shareRows*s.k), random(s.n*s.k), random(shareRows*s.n)
				product := func(from, rows int, keep float32) []float32 {
					got := append([]float32(nil), c[from*s.n:(from+rows)*s.n]...)
					kernel.Gemm(false, transB, rows, s.n, s.k, 1, a[from*s.k:], s.k, b, ldb, keep, got, s.n)
					return got
				}
				for _, keep := range []float32{0, 1} {
					all := product(0, shareRows, keep)
					for rows := fewest; rows < shareRows; rows += 1 + rows/8 {
						for from := 0; from+rows <= shareRows; from += max(1, rows/2) {
							for i, got := range product(from, rows, keep) {
								if want := all[from*s.n+i]; got != want {
									t.Fatalf("%s, n=%d k=%d transB=%v keep=%g: element %d of rows %d..%d is %g among %d rows, %g among %d",
										name, s.n, s.k, transB, keep, i, from, from+rows-1, got, rows, want, shareRows)
								}
							}
						}
					}
				}
			}
		}
	}
}
