package cli

import (
	"os"
	"path/filepath"

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

// load composes the configuration. A run folder that has one keeps it unless
// the flags say otherwise: so the bare command goes on with a run.
func (f *configFlags) load(cmd *cobra.Command, run string) (pipeline.Options, error) {
	flags := cmd.Flags()
	given := flags.Changed("preset") || flags.Changed("config") || flags.Changed("set")
	path := filepath.Join(run, pipeline.ConfigFile)
	stored, err := os.ReadFile(path)
	var o pipeline.Options
	if run != "" && !given && err == nil {
		o, err = config.Read(stored, path)
	} else {
		o, err = config.Load(f.preset, f.file, f.settings)
	}
	if err == nil && flags.Changed("seed") {
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
			o, err := f.load(cmd, "")
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
