package cli

import (
	"github.com/spf13/cobra"

	"github.com/gr2/gr2/internal/config"
	"github.com/gr2/gr2/internal/pipeline"
)

// configFlags are the flags that compose a configuration.
type configFlags struct {
	preset, file string
	settings     []string
	seed         uint64
}

func (f *configFlags) add(cmd *cobra.Command, preset string) {
	flags := cmd.Flags()
	flags.StringVar(&f.preset, "preset", preset, "preset to start from: nano, small, base")
	flags.StringVarP(&f.file, "config", "c", "", "YAML file over the preset")
	flags.StringArrayVar(&f.settings, "set", nil, "section.key=value over both, repeatable")
	flags.Uint64Var(&f.seed, "seed", 1, "seed of everything random")
}

func (f *configFlags) load(cmd *cobra.Command) (pipeline.Options, error) {
	o, err := config.Load(f.preset, f.file, f.settings)
	if err == nil && cmd.Flags().Changed("seed") {
		o.Seed = f.seed
	}
	return o, err
}

func newConfig(e *env) *cobra.Command {
	var f configFlags
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Print the resolved configuration",
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := f.load(cmd)
			if err != nil {
				return err
			}
			if e.json {
				return e.print(o)
			}
			b, err := config.Marshal(o)
			if err != nil {
				return err
			}
			_, err = e.out.Write(b)
			return err
		},
	}
	f.add(cmd, "small")
	return cmd
}
