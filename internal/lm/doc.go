// Package lm holds a decoder-only language model of the Llama and Qwen family
// as plain data: its configuration, its parameters, and their files. It knows
// no tape (package nn trains it) and no cache (package infer runs it).
//
// Every matrix is row-major float32 of shape (out, in), named as Hugging Face
// names it, so that a directory written by Save loads unchanged in
// `transformers` and a SmolLM2, Llama 3, Qwen2.5 or Qwen3 directory loads here.
// What would change the computation and is not implemented (biases beyond
// Qwen2's, sliding windows, other rope scalings, Hugging Face's quantised
// weights) is refused by name, never ignored. GGUF files, those of llama.cpp,
// are read and written too; their quantised weights become float32.
//
// Readers trust nothing: lengths, offsets and shapes are checked against the
// size of the file before anything of that size is allocated. The package does
// no I/O of its own: Load takes an fs.FS, LoadGGUF an io.ReaderAt, WriteGGUF an
// io.Writer, Save a function that creates one named file.
package lm
