// Package kerneltest is the conformance suite of package kernel: Conform runs
// it for one variant, forced, against oracles in float64. Buffers lie between
// canaries and inaccessible pages, at every alignment, so that assembly which
// touches a byte too many is caught.
package kerneltest
