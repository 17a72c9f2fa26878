package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/spf13/cobra"

	"github.com/gr2/gr2/internal/durable"
	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/lm"
	"github.com/gr2/gr2/internal/pipeline"
	"github.com/gr2/gr2/internal/rerank"
	"github.com/gr2/gr2/internal/token"
)

func newExport(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write a model for other engines, or slates for models of other kinds",
		Long: `Write a model for other engines. A Hugging Face directory loads in transformers,
vLLM and SGLang, a GGUF file in llama.cpp. docs/interop.md says what is kept.

gr2 export slates writes what the models learn from and are measured on.`,
	}
	cmd.AddCommand(newExportHF(e), newExportGGUF(e), newExportSlates(e))
	return cmd
}

func newExportSlates(e *env) *cobra.Command {
	var run, data, out string
	cmd := &cobra.Command{
		Use:   "slates",
		Short: "Write the slates of a run with their evidence as CSV, for models of other kinds",
		Long: `Write the slates of a run as CSV, one candidate a row in the incoming order: the order,
the part (train, valid; held: validation slates of users who choose checkpoints; test),
slate, user, item, rank, the legacy score, the grade, and every value of evidence
before buckets. Training slates are cross-fitted. What trees or a network of your own
reach on them compares with the table of the run. Gzipped where the name ends in .gz.`,
		Example: `  gr2 export slates --run runs/beauty --data data/beauty --out beauty.csv.gz`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := runConfig(run)
			if err != nil {
				return err
			}
			rows := 0
			err = durable.Write(out, func(w io.Writer) (err error) {
				job := &pipeline.Job{Root: run, DataDir: data, Options: *o}
				if !strings.HasSuffix(out, ".gz") {
					rows, err = pipeline.ExportSlates(cmd.Context(), job, w)
					return err
				}
				zip := gzip.NewWriter(w)
				if rows, err = pipeline.ExportSlates(cmd.Context(), job, zip); err != nil {
					return err
				}
				return zip.Close()
			})
			if err != nil {
				return err
			}
			if e.json {
				return e.print(envelope{Schema: 1, Command: "export slates", Inputs: map[string]string{"run": run, "data": data},
					Artifacts: map[string]string{"slates": out}, Metrics: map[string]int{"rows": rows}})
			}
			_, err = fmt.Fprintf(e.out, "%s: %d candidates\n", out, rows)
			return err
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&run, "run", "", "run folder")
	flags.StringVar(&data, "data", "", "dataset folder of the run")
	flags.StringVar(&out, "out", "", "file to write")
	for _, name := range []string{"run", "data", "out"} {
		must(cmd.MarkFlagRequired(name))
	}
	return cmd
}

func newExportHF(e *env) *cobra.Command {
	var from modelSource
	var out string
	var weightsOnly bool
	cmd := &cobra.Command{
		Use:   "hf",
		Short: "Write a Hugging Face directory, from a run or a GGUF file",
		Example: `  gr2 export hf --run runs/beauty --out models/beauty
  gr2 export hf --gguf qwen3-0.6b-q8_0.gguf --out models/qwen3`,
		RunE: func(*cobra.Command, []string) error {
			p, err := from.open(weightsOnly)
			if err != nil {
				return err
			}
			if err := p.saveHF(out); err != nil {
				return err
			}
			return e.exported("export hf", &from, p, "model", out, "F32")
		},
	}
	from.add(cmd, "run", "gguf")
	cmd.Flags().StringVar(&out, "out", "", "directory to write")
	cmd.Flags().BoolVar(&weightsOnly, "weights-only", false, "leave out the tokenizer, which some GGUF files have in a form that is not supported")
	must(cmd.MarkFlagRequired("out"))
	return cmd
}

func newExportGGUF(e *env) *cobra.Command {
	var from modelSource
	var out, kind string
	cmd := &cobra.Command{
		Use:   "gguf",
		Short: "Write a GGUF file for llama.cpp, from a run or a Hugging Face directory",
		Example: `  gr2 export gguf --run runs/beauty --out beauty.gguf --type q8_0
  gr2 export gguf --model models/SmolLM2-135M --out smollm2.gguf`,
		RunE: func(*cobra.Command, []string) error {
			t, ok := map[string]lm.GGUFType{"f16": lm.F16, "q8_0": lm.Q8_0}[strings.ToLower(kind)]
			if !ok {
				return fault.Usagef("--type %q: want f16 or q8_0", kind)
			}
			p, err := from.open(false)
			if err != nil {
				return err
			}
			if err := p.saveGGUF(out, t); err != nil {
				return err
			}
			return e.exported("export gguf", &from, p, "gguf", out, t.String())
		},
	}
	from.add(cmd, "run", "model")
	cmd.Flags().StringVar(&out, "out", "", "file to write")
	cmd.Flags().StringVar(&kind, "type", "f16", "type of the matrices: f16 or q8_0")
	must(cmd.MarkFlagRequired("out"))
	return cmd
}

// modelSource is where a model comes from: exactly one of run, model and gguf.
type modelSource struct {
	run, stage  string
	model, gguf string
	kinds       []string
}

// add adds the flags of those kinds of sources.
func (s *modelSource) add(cmd *cobra.Command, kinds ...string) {
	s.kinds = kinds
	flags := cmd.Flags()
	for _, kind := range kinds {
		switch kind {
		case "run":
			flags.StringVar(&s.run, "run", "", "run folder")
			flags.StringVar(&s.stage, "stage", "", "model of another stage of the run (default the policy)")
		case "model":
			flags.StringVar(&s.model, "model", "", "Hugging Face directory")
		case "gguf":
			flags.StringVar(&s.gguf, "gguf", "", "GGUF file")
		}
	}
}

// inputs are the sources that were given, by kind.
func (s *modelSource) inputs() map[string]string {
	given := map[string]string{}
	for kind, value := range map[string]string{"run": s.run, "model": s.model, "gguf": s.gguf} {
		if value != "" {
			given[kind] = value
		}
	}
	return given
}

func (s *modelSource) open(weightsOnly bool) (*portable, error) {
	switch given := s.inputs(); {
	case len(given) != 1:
		return nil, fault.Usagef("name a model by one of --%s", strings.Join(s.kinds, " and --"))
	case s.stage != "" && s.run == "":
		return nil, fault.Usagef("--stage is of a run: it needs --run")
	case s.gguf != "":
		return openGGUF(s.gguf, weightsOnly)
	case s.model != "":
		return openHF(s.model)
	}
	if err := pipeline.Verify(s.run, s.stage); err != nil {
		return nil, err
	}
	dir, err := rerank.ModelPath(s.run, s.stage)
	if err != nil {
		return nil, err
	}
	p, err := openHF(dir)
	if err != nil {
		return nil, err
	}
	p.name = baseName(s.run)
	if weightsOnly {
		p.tok = nil
	}
	return p, nil
}

// portable is all that other engines need of a model.
type portable struct {
	name   string
	model  *lm.Model
	tok    *token.Tokenizer // nil when it was left out
	config token.Config
}

func baseName(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	return strings.TrimSuffix(filepath.Base(path), ".gguf")
}

func openHF(dir string) (*portable, error) {
	p := &portable{name: baseName(dir)}
	err := readFile(filepath.Join(dir, rerank.TokenizerFile), func(f *os.File) (err error) {
		p.tok, err = token.Read(f)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := p.readConfig(dir); err != nil {
		return nil, err
	}
	if p.model, err = lm.Load(os.DirFS(dir)); err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return p, nil
}

const (
	tokenizerConfigFile = "tokenizer_config.json"
	templateFile        = "chat_template.jinja" // where newer directories have the template
)

// readConfig reads what a directory may have beside its tokenizer.
func (p *portable) readConfig(dir string) error {
	err := readFile(filepath.Join(dir, tokenizerConfigFile), func(f *os.File) (err error) {
		p.config, err = token.ReadConfig(f)
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if p.config.ChatTemplate != "" {
		return nil
	}
	err = readFile(filepath.Join(dir, templateFile), func(f *os.File) error {
		const limit = 1 << 20
		template, err := io.ReadAll(io.LimitReader(f, limit+1))
		if err == nil && len(template) > limit {
			err = fault.Inputf("larger than %d bytes: no chat template", limit)
		}
		p.config.ChatTemplate = string(template)
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func openGGUF(path string, weightsOnly bool) (*portable, error) {
	p := &portable{name: baseName(path)}
	return p, readFile(path, func(f *os.File) error {
		info, err := f.Stat()
		if err != nil {
			return err
		}
		var meta map[string]any
		if p.model, meta, err = lm.LoadGGUF(f, info.Size()); err != nil || weightsOnly {
			return err
		}
		if p.tok, p.config, err = token.ReadGGUF(meta); err != nil {
			return fmt.Errorf("%w (--weights-only leaves the tokenizer out)", err)
		}
		p.config.MaxLength = p.model.Config.MaxPositions
		return nil
	})
}

// readFile opens the file for parse and puts its name before any error.
func readFile(path string, parse func(*os.File) error) error {
	f, err := os.Open(path)
	if err != nil {
		return fault.Inputf("%w", err)
	}
	defer f.Close()
	if err := parse(f); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// saveHF writes a Hugging Face directory, the weights last.
func (p *portable) saveHF(dir string) error {
	create := func(name string, fill func(io.Writer) error) error {
		return durable.Write(filepath.Join(dir, name), fill)
	}
	if p.tok != nil {
		config, err := p.tok.ConfigJSON(p.config)
		if err != nil {
			return err
		}
		if err := create(rerank.TokenizerFile, p.tok.Write); err != nil {
			return err
		}
		if err := durable.WriteBytes(filepath.Join(dir, tokenizerConfigFile), config); err != nil {
			return err
		}
	}
	return p.model.Save(create)
}

func (p *portable) saveGGUF(path string, kind lm.GGUFType) error {
	meta, err := p.tok.GGUF(p.config, p.model.Config.VocabSize)
	if err != nil {
		return err
	}
	meta["general.name"] = p.name
	return durable.Write(path, func(w io.Writer) error { return p.model.WriteGGUF(w, kind, meta) })
}

// exported says what was written.
func (e *env) exported(command string, from *modelSource, p *portable, artifact, out, kind string) error {
	c := p.model.Config
	if e.json {
		return e.print(envelope{
			Schema: 1, Command: command, Inputs: from.inputs(), Artifacts: map[string]string{artifact: out},
			Metrics: map[string]any{"architecture": c.Architecture, "parameters": p.model.Parameters(), "vocabulary": c.VocabSize, "type": kind},
		})
	}
	_, err := fmt.Fprintf(e.out, "%s: %s, %d parameters, vocabulary of %d, %s\n", out, c.Architecture, p.model.Parameters(), c.VocabSize, kind)
	return err
}
