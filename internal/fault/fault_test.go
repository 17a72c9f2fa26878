package fault_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/gr2/gr2/internal/fault"
)

func TestKindAndExitFollowTheChain(t *testing.T) {
	cases := []struct {
		err  error
		kind fault.Kind
		exit int
	}{
		{nil, fault.Failed, 0},
		{errors.New("disk"), fault.Failed, 1},
		{fault.Usagef("flag"), fault.Usage, 2},
		{fault.Inputf("line %d", 3), fault.Input, 2},
		{fault.Corruptf("checksum"), fault.Corrupt, 1},
		{fmt.Errorf("import: %w", fault.Inputf("line 3")), fault.Input, 2},
		{fault.Inputf("read: %w", fault.Corruptf("checksum")), fault.Input, 2},
	}
	for _, c := range cases {
		if got := fault.KindOf(c.err); got != c.kind {
			t.Errorf("KindOf(%v) = %v, want %v", c.err, got, c.kind)
		}
		if got := fault.Exit(c.err); got != c.exit {
			t.Errorf("Exit(%v) = %d, want %d", c.err, got, c.exit)
		}
	}
}

func TestCauseStaysReachable(t *testing.T) {
	cause := errors.New("cause")
	if !errors.Is(fault.Inputf("file: %w", cause), cause) {
		t.Error("the cause is lost")
	}
}
