package nn

import (
	"fmt"
	"os"
	"testing"

	"github.com/gr2/gr2/internal/kernel"
)

// TestMain lets GR2_CPU choose the kernels that tests and benchmarks find active.
func TestMain(m *testing.M) {
	if name := os.Getenv("GR2_CPU"); name != "" {
		if err := kernel.Use(name); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
	}
	os.Exit(m.Run())
}
