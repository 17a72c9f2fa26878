package cli

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/gr2/gr2/internal/config"
	"github.com/gr2/gr2/internal/fault"
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

// load composes the configuration and returns, beside it, the one that the run
// folder has; nil where it has none. Settings change the latter, so that the
// bare command goes on with a run; a preset or a file starts anew.
func (f *configFlags) load(cmd *cobra.Command, run string) (o pipeline.Options, stored *pipeline.Options, err error) {
	flags := cmd.Flags()
	if stored, err = storedConfig(run); err != nil {
		return o, nil, err
	}
	if stored == nil || flags.Changed("preset") || flags.Changed("config") {
		o, err = config.Load(f.preset, f.file, f.settings)
	} else {
		o, err = config.Change(*stored, f.settings)
	}
	if err == nil && flags.Changed("seed") {
		o.Seed = f.seed
	}
	return o, stored, err
}

// storedConfig reads the configuration of a run folder, nil where there is none. What
// goes on with it validates it, for a setting may mend what an older version allowed.
func storedConfig(run string) (*pipeline.Options, error) {
	if run == "" {
		return nil, nil
	}
	path := filepath.Join(run, pipeline.ConfigFile)
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, nil // whatever is wrong with the folder, the run will say
	}
	o, err := config.Read(b, path)
	if err != nil {
		return nil, fault.Usagef("%s holds no run of this version: choose another --out (%w)", run, err)
	}
	return &o, nil
}

// runConfig is the configuration of a run that has to be there, and one that holds.
func runConfig(run string) (*pipeline.Options, error) {
	o, err := storedConfig(run)
	switch {
	case err != nil:
		return nil, err
	case o == nil:
		return nil, fault.Inputf("%s has no %s: it holds no run", run, pipeline.ConfigFile)
	}
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(run, pipeline.ConfigFile), err)
	}
	return o, nil
}

func newConfig(e *env) *cobra.Command {
	var f configFlags
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Print the resolved configuration",
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, _, err := f.load(cmd, "")
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
