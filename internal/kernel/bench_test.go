package kernel_test

import (
	"fmt"
	"testing"

	"github.com/gr2/gr2/internal/kernel"
)

func gflops(b *testing.B, flop float64) {
	b.ReportMetric(flop*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
}

func ones(n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(i%7) - 3
	}
	return x
}

// BenchmarkGemm names the roles that shapes play in training a decoder with
// d=256, SwiGLU 768 and 2048 tokens a step, then decoding with it.
func BenchmarkGemm(b *testing.B) {
	for _, c := range []struct {
		role           string
		transA, transB bool
		m, n, k        int
	}{
		{"forward", false, true, 2048, 768, 256},
		{"forward", false, true, 2048, 256, 768},
		{"input_grad", false, false, 2048, 256, 768},
		{"weight_grad", true, false, 768, 256, 2048},
		{"head", false, true, 2048, 4096, 256},
		{"attention", false, true, 256, 256, 64},
		{"prefill", false, true, 48, 768, 256},
		{"block16", false, true, 16, 768, 256},
		{"block8", false, true, 8, 768, 256},
		{"decode", false, true, 1, 768, 256},
		{"decode_head", false, true, 1, 4096, 256},
		{"mix", false, false, 1, 64, 400},
	} {
		b.Run(fmt.Sprintf("%s/%dx%dx%d", c.role, c.m, c.n, c.k), func(b *testing.B) {
			x, y, z := ones(c.m*c.k), ones(c.k*c.n), ones(c.m*c.n)
			lda, ldb := c.k, c.n
			if c.transA {
				lda = c.m
			}
			if c.transB {
				ldb = c.k
			}
			b.ReportAllocs()
			for b.Loop() {
				kernel.Gemm(c.transA, c.transB, c.m, c.n, c.k, 1, x, lda, y, ldb, 0, z, c.n)
			}
			gflops(b, 2*float64(c.m)*float64(c.n)*float64(c.k))
		})
	}
}

// BenchmarkGemmInt8 has the products of BenchmarkGemm with fixed weights, the
// rounding of the activations within the time.
func BenchmarkGemmInt8(b *testing.B) {
	for _, c := range []struct {
		role    string
		m, n, k int
	}{
		{"judge", 256, 768, 256},
		{"judge", 256, 256, 768},
		{"judge", 256, 256, 256},
		{"prefill", 48, 768, 256},
		{"block16", 16, 768, 256},
		{"block8", 8, 768, 256},
		{"decode", 1, 768, 256},
		{"decode_head", 1, 4096, 256},
		{"decode_head", 32, 4096, 256},
	} {
		b.Run(fmt.Sprintf("%s/%dx%dx%d", c.role, c.m, c.n, c.k), func(b *testing.B) {
			x, z := ones(c.m*c.k), ones(c.m*c.n)
			weights, rows := kernel.RoundInt8(c.n, c.k, ones(c.n*c.k)), new(kernel.Int8Rows)
			b.ReportAllocs()
			for b.Loop() {
				rows.Reset(c.m, c.k)
				for i := range c.m {
					rows.Set(i, x[i*c.k:(i+1)*c.k])
				}
				kernel.GemmInt8(rows, weights, false, z, c.n)
			}
			gflops(b, 2*float64(c.m)*float64(c.n)*float64(c.k))
		})
	}
}

// BenchmarkRows gives each row operation's time for 768 elements, in cache.
func BenchmarkRows(b *testing.B) {
	const n = 768
	x, y, z, u, v := ones(n), ones(n), ones(n), ones(n), ones(n)
	for _, c := range []struct {
		name string
		run  func()
	}{
		{"Dot", func() { kernel.Dot(x, y) }},
		{"Axpy", func() { kernel.Axpy(0.5, x, y) }},
		{"Exp", func() { kernel.Exp(z, x) }},
		{"Softmax", func() { kernel.Softmax(z) }},
		{"LogSumExp", func() { kernel.LogSumExp(x) }},
		{"RMSNorm", func() { kernel.RMSNorm(z, x, y, 1e-5) }},
		{"RMSNormGrad", func() { kernel.RMSNormGrad(z, u, y, x, v, 0.1) }},
		{"SwiGLU", func() { kernel.SwiGLU(z, x, y) }},
		{"SwiGLUGrad", func() { kernel.SwiGLUGrad(z, u, v, x, y) }},
		{"RoPE", func() { kernel.RoPE(x, 12, 64, y[:32], z[:32]) }},
		{"AdamW", func() { kernel.AdamW(u, x, y, v, 0.5, 1e-3, 0.9, 0.95, 1e-8, 0.1, 0.1, 0.1) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				c.run()
			}
			b.SetBytes(4 * n)
		})
	}
}

func BenchmarkParallel(b *testing.B) {
	for _, n := range []int{2, 16} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			body := func(int) {}
			for b.Loop() {
				kernel.Parallel(n, body)
			}
		})
	}
}
