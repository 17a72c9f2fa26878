package kernel_test

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gr2/gr2/internal/kernel"
	"github.com/gr2/gr2/internal/kernel/kerneltest"
)

// TestMain lets GR2_CPU choose the variant that tests and benchmarks find active.
// The go command does not see this reading of it: pass -count=1.
func TestMain(m *testing.M) {
	if name := os.Getenv("GR2_CPU"); name != "" {
		if err := kernel.Use(name); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
	}
	os.Exit(m.Run())
}

func TestConformance(t *testing.T) {
	for _, name := range kernel.Available() {
		t.Run(name, func(t *testing.T) { kerneltest.Conform(t, name) })
	}
}

func FuzzGemm(f *testing.F) {
	f.Add(uint8(0), uint8(6), uint8(16), uint8(8), uint8(0), uint64(1))
	f.Add(uint8(3), uint8(17), uint8(33), uint8(70), uint8(21), uint64(2))
	f.Add(uint8(14), uint8(97), uint8(5), uint8(1), uint8(63), uint64(3))
	f.Add(uint8(65), uint8(97), uint8(33), uint8(71), uint8(9), uint64(4))
	f.Fuzz(func(t *testing.T, mode, m, n, k, pads uint8, seed uint64) {
		scalars := []float32{0, 1, -0.5, 3}
		kerneltest.GemmCase{
			TransA: mode&1 != 0, TransB: mode&2 != 0,
			Alpha: scalars[mode>>2&3], Beta: scalars[mode>>4&3],
			M: int(m), N: int(n), K: int(k),
			PadA: int(pads & 3), PadB: int(pads >> 2 & 3), PadC: int(pads >> 4 & 3),
			BF16: mode>>6&1 != 0, Seed: seed,
		}.Check(t)
	})
}

func FuzzGemmInt8(f *testing.F) {
	f.Add(uint8(1), uint8(16), uint16(4), uint8(0), uint64(1))
	f.Add(uint8(13), uint8(70), uint16(515), uint8(25), uint64(2))
	f.Add(uint8(49), uint8(129), uint16(257), uint8(7), uint64(3))
	f.Fuzz(func(t *testing.T, m, n uint8, k uint16, mode uint8, seed uint64) {
		kerneltest.Int8Case{
			M: int(m), N: 1 + int(n), K: 1 + int(k)%1500, Add: mode&1 != 0,
			PadA: int(mode >> 1 & 3), PadC: int(mode >> 3 & 3), Seed: seed,
		}.Check(t)
	})
}

func TestUseUnknownVariant(t *testing.T) {
	before := kernel.Active()
	err := kernel.Use("avx1024")
	if err == nil || !strings.Contains(err.Error(), "portable") {
		t.Errorf("Use(avx1024) = %v, want an error that lists the variants", err)
	}
	if kernel.Active() != before {
		t.Errorf("a failed Use changed the variant to %s", kernel.Active())
	}
}

func TestMisshapenOperandsPanic(t *testing.T) {
	x := make([]float32, 12)
	for name, call := range map[string]func(){
		"short A":   func() { kernel.Gemm(false, false, 4, 2, 4, 1, x, 4, x, 2, 0, x, 2) },
		"short B":   func() { kernel.Gemm(false, false, 2, 4, 4, 1, x, 4, x, 4, 0, x, 4) },
		"short C":   func() { kernel.Gemm(false, false, 4, 4, 1, 1, x, 1, x, 4, 0, x, 4) },
		"stride":    func() { kernel.Gemm(false, false, 2, 2, 4, 1, x, 3, x, 2, 0, x, 2) },
		"Dot":       func() { kernel.Dot(x, x[:3]) },
		"Axpy":      func() { kernel.Axpy(1, x[:3], x) },
		"RoPE":      func() { kernel.RoPE(x, 2, 4, x[:2], x[:2]) },
		"AdamW":     func() { kernel.AdamW(x, x, x, x[:1], 1, 0, 0, 0, 0, 0, 1, 1) },
		"long dst":  func() { kernel.Exp(x, x[:11]) },
		"RMSNorm":   func() { kernel.RMSNorm(x, x, x[:1], 0) },
		"SwiGLU up": func() { kernel.SwiGLU(x, x, nil) },
		"RoundInt8": func() { kernel.RoundInt8(3, 5, x) },
		"no weight": func() { kernel.RoundInt8(0, 5, nil) },
		"Int8Rows":  func() { int8Rows(2, 6, x).Set(0, x[:5]) },
		"int8 k":    func() { kernel.GemmInt8(int8Rows(2, 6, x), kernel.RoundInt8(4, 3, x), false, x, 4) },
		"int8 C":    func() { kernel.GemmInt8(int8Rows(4, 3, x), kernel.RoundInt8(4, 3, x), false, x, 4) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			call()
		})
	}
}

// int8Rows rounds a matrix stored without gaps.
func int8Rows(rows, cols int, x []float32) *kernel.Int8Rows {
	var r kernel.Int8Rows
	r.Reset(rows, cols)
	for i := range rows {
		r.Set(i, x[i*cols:(i+1)*cols])
	}
	return &r
}

func TestParallelRunsEachIndexOnce(t *testing.T) {
	defer kernel.SetThreads(0)
	for _, threads := range []int{1, 2, 4} {
		kernel.SetThreads(threads)
		var wg sync.WaitGroup
		for range 4 { // callers at the same time
			wg.Go(func() {
				for n := range 40 {
					counts := make([]atomic.Int32, n)
					kernel.Parallel(n, func(i int) {
						kernel.Parallel(3, func(int) { counts[i].Add(1) }) // nested
					})
					for i := range counts {
						if c := counts[i].Load(); c != 3 {
							t.Errorf("threads=%d n=%d: body(%d) ran %d/3 times", threads, n, i, c)
						}
					}
				}
			})
		}
		wg.Wait()
	}
}

func TestParallelRaisesPanicsInTheCaller(t *testing.T) {
	defer kernel.SetThreads(0)
	for _, threads := range []int{1, 3} {
		kernel.SetThreads(threads)
		var ran atomic.Int32
		func() {
			defer func() {
				if r := recover(); r == nil {
					t.Errorf("threads=%d: the panic was lost", threads)
				}
			}()
			kernel.Parallel(8, func(i int) {
				ran.Add(1)
				if i == 7 {
					panic("planted")
				}
			})
		}()
		if ran.Load() != 8 {
			t.Errorf("threads=%d: %d of 8 indices ran", threads, ran.Load())
		}
	}
}

// TestConcurrentGemm multiplies from several goroutines, which share the pool
// and the recycled buffers.
func TestConcurrentGemm(t *testing.T) {
	var wg sync.WaitGroup
	for seed := range uint64(4) {
		wg.Go(func() {
			for range 5 {
				kerneltest.GemmCase{TransB: true, M: 70, N: 90, K: 60, Alpha: 1, Seed: seed}.Check(t)
				kerneltest.GemmCase{M: 3, N: 500, K: 90, Alpha: 1, Seed: seed}.Check(t)
			}
		})
	}
	wg.Wait()
}

func TestSteadyStateDoesNotAllocate(t *testing.T) {
	a, b, c := make([]float32, 200*64), make([]float32, 200*64), make([]float32, 200*200)
	weights, rows := kernel.RoundInt8(200, 64, b), new(kernel.Int8Rows)
	for name, call := range map[string]func(){
		"int8": func() {
			for _, m := range []int{1, 200} {
				rows.Reset(m, 64)
				for i := range m {
					rows.Set(i, a[i*64:(i+1)*64])
				}
				kernel.GemmInt8(rows, weights, false, c, 200)
			}
		},
		"packed": func() { kernel.Gemm(false, true, 200, 200, 64, 1, a, 64, b, 64, 0, c, 200) },
		"bf16":   func() { kernel.GemmBF16(false, true, 200, 200, 64, 1, a, 64, b, 64, 0, c, 200) },
		"few":    func() { kernel.Gemm(false, true, 2, 200, 64, 1, a, 64, b, 64, 0, c, 200) },
		"both":   func() { kernel.Gemm(true, true, 2, 200, 64, 1, a, 200, b, 64, 0, c, 200) },
		"rows": func() {
			kernel.RMSNorm(a, b, b, 1e-5)
			kernel.SwiGLU(c[:100], a[:100], b[:100])
			kernel.Softmax(c[:100])
		},
	} {
		if n := testing.AllocsPerRun(50, call); n >= 1 {
			t.Errorf("%s: %g allocations a call", name, n)
		}
	}
}
