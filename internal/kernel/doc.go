// Package kernel computes: float32 matrices and rows, row-major, on the CPU.
//
// # Contract
//
// A matrix is a slice with a row stride (ld, in elements). No function keeps a
// slice after it returns. Slices of unequal length and matrices that do not
// hold what their shape says are programming errors and panic, as indexing
// does; everything else, NaN and Inf included, is computed. Nothing allocates
// in a steady state: packing buffers and parallel jobs are recycled.
//
// Every operation exists as readable Go (portable*.go), which specifies it, and
// as AVX2 and as AVX-512 assembly, which the program in _gen generates from one
// text. The best variant the CPU offers is active from the start; Use forces
// another. Variants agree up to rounding, and each is tested by the suite in
// kerneltest. A build with the tag noasm holds the portable variant only.
//
// A further variant is a value of type variant, its assembly and a line in
// detect; its rowStep must divide its mr and its tile fit tileMax.
//
// For one variant a result depends on the operands and shapes alone: never on
// Threads, nor on what else runs. Gemm splits its work by shape, every element
// of C is summed by one worker, in one order.
package kernel
