// Package nn trains: a tape of coarse, fused operations over float32 matrices,
// each with a hand-written gradient, the decoder of package lm on that tape,
// and its optimiser.
//
// # Contract
//
// A Var is a row-major matrix that an operation made; a Param is a matrix that
// is trained. Operations are methods of Tape and run at once; Backward walks
// them in reverse and adds to the Grad of every Param that is not Frozen, so
// gradients of several micro-batches accumulate until AdamW.Step applies and
// clears them. Reset ends a step: every Var of the tape and everything it
// returned becomes invalid, and its memory is used again, so a step of a shape
// seen before allocates nothing. Slices handed to an operation (ids, targets,
// weights) are kept, not copied: leave them alone until after Backward.
//
// The Grad of a Var is arbitrary until the first operation writes it on the way
// back; that one overwrites, the others add.
//
// Documents of a Batch may form trees: rollouts below one prompt compute it once,
// forward and backward. Memory is linear in the tokens of a step, StepBytes tells
// how much it is, and Decoder.Recompute trades most of it for time.
//
// Shapes that do not fit and ids out of range are programming errors and panic,
// as indexing does; Decoder.Check tells beforehand for data from outside.
//
// A tape is for one goroutine; the operations use the worker pool of package
// kernel. For one kernel variant every result is a function of its inputs
// alone, never of the number of threads: work is split by shape, each sum has
// one owner and one order.
package nn
