//go:build !amd64 || noasm

package kernel

func detect() []*variant { return []*variant{&portable} }
