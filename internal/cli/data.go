package cli

import (
	"fmt"
	"io"
	"path/filepath"
	"sort"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gr2/gr2/internal/durable"
	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/market/importer"
	"github.com/gr2/gr2/internal/market/synth"
	"github.com/gr2/gr2/internal/pipeline"
)

func newData(e *env) *cobra.Command {
	cmd := &cobra.Command{Use: "data", Short: "Import, describe and synthesise data sets"}
	imports := &cobra.Command{
		Use:   "import",
		Short: "Turn logs and a catalog into a dataset folder",
		Long: `Turn logs and a catalog into a dataset folder. Files may be gzipped; layouts are
told from their content. docs/data.md describes every layout and column.`,
	}
	imports.AddCommand(newImportAmazon(e), newImportMovieLens(e), newImportMIND(e))
	for _, format := range []string{"jsonl", "csv", "parquet"} {
		imports.AddCommand(newImportTables(e, format))
	}
	cmd.AddCommand(imports, newDataStats(e), newDataSynth(e))
	return cmd
}

// importFlags are common to all importers.
type importFlags struct{ out, name string }

func (f *importFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.out, "out", "", "dataset folder to write")
	cmd.Flags().StringVar(&f.name, "name", "", "name of the data set (default that of the folder)")
	must(cmd.MarkFlagRequired("out"))
}

func (f *importFlags) title() string {
	if f.name != "" {
		return f.name
	}
	return filepath.Base(filepath.Clean(f.out))
}

// must is for mistakes in the command tree itself, which no input can cause.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// imported saves a data set and says what was read and lost.
func (e *env) imported(command, out string, ds *market.Dataset, s market.Summary, err error) error {
	if err != nil {
		return err
	}
	if err := market.Save(out, ds); err != nil {
		return err
	}
	if e.json {
		return e.print(envelope{Schema: 1, Command: command, Artifacts: map[string]string{"dataset": out}, Metrics: s, Warnings: s.Notes})
	}
	for _, f := range s.Files {
		fmt.Fprintf(e.out, "%s (%s): %d lines, %d kept%s\n", f.Name, f.Layout, f.Lines, f.Kept, dropped(f.Dropped))
	}
	c := s.Counts
	fmt.Fprintf(e.out, "%s: %d users, %d items (%d without a title), %d events, %d slates\n", out, c.Users, c.Items, s.NoText, c.Events, c.Slates)
	for _, note := range s.Notes {
		fmt.Fprintf(e.out, "note: %s\n", note)
	}
	return nil
}

func dropped(by map[string]int) string {
	var parts []string
	for reason, n := range by {
		parts = append(parts, fmt.Sprintf("%d %s", n, reason))
	}
	sort.Strings(parts)
	if len(parts) == 0 {
		return ""
	}
	return ", dropped " + strings.Join(parts, ", ")
}

func newImportAmazon(e *env) *cobra.Command {
	var f importFlags
	var opt importer.AmazonOptions
	cmd := &cobra.Command{
		Use:     "amazon",
		Short:   "Amazon reviews in the layouts of 2014, 2018 and 2023",
		Example: "  gr2 data import amazon --reviews Beauty_5.json.gz --meta meta_Beauty.json.gz --out data/beauty",
		RunE: func(*cobra.Command, []string) error {
			opt.Name = f.title()
			ds, s, err := importer.Amazon(opt)
			return e.imported("data import amazon", f.out, ds, s, err)
		},
	}
	f.add(cmd)
	cmd.Flags().StringArrayVar(&opt.Reviews, "reviews", nil, "file of reviews, repeatable")
	cmd.Flags().StringArrayVar(&opt.Meta, "meta", nil, "file of item metadata, repeatable")
	cmd.Flags().BoolVar(&opt.KeepUnused, "keep-unused", false, "keep items that no review names")
	must(cmd.MarkFlagRequired("reviews"))
	return cmd
}

func newImportMovieLens(e *env) *cobra.Command {
	var f importFlags
	var opt importer.MovieLensOptions
	cmd := &cobra.Command{
		Use:     "movielens",
		Short:   "MovieLens latest (CSV), 1M, 100K",
		Example: "  gr2 data import movielens --ratings ratings.csv --movies movies.csv --out data/movielens",
		RunE: func(*cobra.Command, []string) error {
			opt.Name = f.title()
			ds, s, err := importer.MovieLens(opt)
			return e.imported("data import movielens", f.out, ds, s, err)
		},
	}
	f.add(cmd)
	cmd.Flags().StringArrayVar(&opt.Ratings, "ratings", nil, "ratings.csv, ratings.dat or u.data")
	cmd.Flags().StringArrayVar(&opt.Movies, "movies", nil, "movies.csv, movies.dat or u.item")
	must(cmd.MarkFlagRequired("ratings"))
	return cmd
}

func newImportMIND(e *env) *cobra.Command {
	var f importFlags
	var opt importer.MINDOptions
	cmd := &cobra.Command{
		Use:     "mind",
		Short:   "MIND: real news impressions with clicks",
		Example: "  gr2 data import mind --behaviors behaviors.tsv --news news.tsv --out data/mind",
		RunE: func(*cobra.Command, []string) error {
			opt.Name = f.title()
			ds, s, err := importer.MIND(opt)
			return e.imported("data import mind", f.out, ds, s, err)
		},
	}
	f.add(cmd)
	cmd.Flags().StringArrayVar(&opt.Behaviors, "behaviors", nil, "behaviors.tsv, repeatable")
	cmd.Flags().StringArrayVar(&opt.News, "news", nil, "news.tsv, repeatable")
	must(cmd.MarkFlagRequired("behaviors"))
	return cmd
}

func newImportTables(e *env, format string) *cobra.Command {
	var f importFlags
	opt := importer.TableOptions{Format: format}
	cmd := &cobra.Command{
		Use:     format,
		Short:   "Your own items, events and ready-made slates as " + format,
		Example: fmt.Sprintf("  gr2 data import %[1]s --items items.%[1]s --events events.%[1]s --column events.user=customer_id --out data/shop", format),
		RunE: func(*cobra.Command, []string) error {
			opt.Name = f.title()
			if len(opt.Items)+len(opt.Events)+len(opt.Slates) == 0 {
				return fault.Usagef("data import %s: give --items with --events or --slates", format)
			}
			ds, s, err := importer.Tables(opt)
			return e.imported("data import "+format, f.out, ds, s, err)
		},
	}
	f.add(cmd)
	flags := cmd.Flags()
	flags.StringArrayVar(&opt.Items, "items", nil, "table of items, repeatable")
	flags.StringArrayVar(&opt.Events, "events", nil, "table of events, repeatable")
	flags.StringArrayVar(&opt.Slates, "slates", nil, "table of slates, repeatable")
	flags.StringToStringVar(&opt.Columns, "column", nil, "field=column for a column of another name, repeatable; events.user=customer_id for one table only")
	flags.StringVar(&opt.TimeUnit, "time-unit", "s", "unit of numeric times: s, ms or us")
	return cmd
}

func newDataStats(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "stats DIR",
		Short: "Sizes of a dataset folder",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			ds, err := market.Open(args[0])
			if err != nil {
				return err
			}
			c := ds.Counts()
			if e.json {
				return e.print(c)
			}
			_, err = fmt.Fprintf(e.out, "%s: %d users, %d items, %d events, %d slates\n", ds.Name, c.Users, c.Items, c.Events, c.Slates)
			return err
		},
	}
}

func newDataSynth(e *env) *cobra.Command {
	var f importFlags
	var seed uint64
	p := synth.DefaultParams()
	cmd := &cobra.Command{
		Use:   "synth",
		Short: "Generate the synthetic market, with the gains of the Bayes-optimal order",
		RunE: func(*cobra.Command, []string) error {
			counts, err := synthesise(f.out, f.title(), p, seed)
			if err != nil {
				return err
			}
			if e.json {
				return e.print(envelope{Schema: 1, Command: "data synth", Artifacts: map[string]string{"dataset": f.out}, Metrics: counts})
			}
			_, err = fmt.Fprintf(e.out, "%s: %d users, %d items, %d events, %d slates\n", f.out, counts.Users, counts.Items, counts.Events, counts.Slates)
			return err
		},
	}
	f.add(cmd)
	flags := cmd.Flags()
	flags.Uint64Var(&seed, "seed", 1, "seed")
	flags.IntVar(&p.Items, "items", p.Items, "items of the catalog")
	flags.IntVar(&p.Users, "users", p.Users, "users")
	flags.IntVar(&p.K, "k", p.K, "candidates of a slate")
	flags.Float64Var(&p.Examination, "examination", p.Examination, "exponent of the position bias; 0 for none")
	return cmd
}

// synthesise writes a synthetic market, then the gains of its optimal order.
func synthesise(out, name string, p synth.Params, seed uint64) (market.Counts, error) {
	ds, world, err := synth.Generate(p, seed)
	if err != nil {
		return market.Counts{}, err
	}
	ds.Name = name
	if err := market.Save(out, ds); err != nil {
		return market.Counts{}, err
	}
	gains := func(w io.Writer) error { return world.WriteGains(w, ds.Slates) }
	return ds.Counts(), durable.Write(filepath.Join(out, pipeline.GainsFile), gains)
}
