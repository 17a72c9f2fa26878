package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/gr2/gr2/internal/kernel"
)

func newVersion(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print version, toolchain and kernels",
		RunE: func(*cobra.Command, []string) error {
			version := "devel"
			if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
				version = info.Main.Version
			}
			if e.json {
				return e.print(map[string]any{
					"version": version, "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH,
					"kernels": kernel.Active(), "available": kernel.Available(),
				})
			}
			_, err := fmt.Fprintf(e.out, "gr2 %s, %s %s/%s, kernels %s\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH, kernel.Active())
			return err
		},
	}
}
