package fault

import (
	"errors"
	"fmt"
)

// Kind classifies an error by who can mend it.
type Kind uint8

const (
	// Failed is any failure that is not the user's: I/O, a full disk, a bug.
	Failed Kind = iota
	// Usage is a wrong flag, argument or configuration key.
	Usage
	// Input is data that cannot be read or does not make sense.
	Input
	// Corrupt is an artifact of ours that does not match its own description.
	Corrupt
)

type kinded struct {
	kind Kind
	err  error
}

func (e *kinded) Error() string { return e.err.Error() }
func (e *kinded) Unwrap() error { return e.err }

// Usagef reports a wrong flag, argument or configuration key.
func Usagef(format string, args ...any) error {
	return &kinded{Usage, fmt.Errorf(format, args...)}
}

// Inputf reports input data that cannot be used. Say which file and line.
func Inputf(format string, args ...any) error {
	return &kinded{Input, fmt.Errorf(format, args...)}
}

// Corruptf reports an artifact that contradicts itself, such as a bad checksum.
func Corruptf(format string, args ...any) error {
	return &kinded{Corrupt, fmt.Errorf(format, args...)}
}

// KindOf returns the kind of the outermost classified error in err's chain,
// and Failed when there is none.
func KindOf(err error) Kind {
	var k *kinded
	if errors.As(err, &k) {
		return k.kind
	}
	return Failed
}

// Exit is the exit code of the command line: 0 for nil, 2 for the user's
// mistakes (Usage, Input), 1 for everything else.
func Exit(err error) int {
	if err == nil {
		return 0
	}
	switch KindOf(err) {
	case Usage, Input:
		return 2
	default:
		return 1
	}
}
