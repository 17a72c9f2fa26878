package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/pipeline"
	"github.com/gr2/gr2/internal/rerank"
	"github.com/gr2/gr2/internal/sid"
)

func newSID(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sid",
		Short: "Semantic IDs: build, encode further items, look up, measure",
		Long: `Semantic IDs: build, encode further items, look up, measure. Every command takes the
folder of a run, or one that sid build or sid encode made. docs/semantic-ids.md
describes codes, collisions and files.`,
	}
	cmd.AddCommand(newSIDBuild(e), newSIDEncode(e), newSIDLookup(e), newSIDStats(e), newSIDEval(e))
	return cmd
}

// runFlag adds the flag that names the folder with semantic IDs.
func runFlag(cmd *cobra.Command, run *string) {
	cmd.Flags().StringVar(run, "run", "", "folder with semantic IDs: a run, or made by sid build or sid encode")
	must(cmd.MarkFlagRequired("run"))
}

// openSIDs maps the index of a folder, which the caller closes, and reads the
// catalog that it belongs to.
func openSIDs(run string) (*sid.Index, *market.Catalog, error) {
	index, err := pipeline.OpenSIDs(run)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fault.Inputf("%s has no semantic IDs: %w", run, err)
	}
	if err != nil {
		return nil, nil, err
	}
	ds, err := market.Open(filepath.Join(run, rerank.CatalogDir))
	if err == nil {
		if err = index.Check(ds.Catalog); err == nil {
			return index, ds.Catalog, nil
		}
		err = fmt.Errorf("%s: %w", run, err)
	}
	return nil, nil, errors.Join(err, index.Close())
}

func newSIDBuild(e *env) *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:         "build",
		Annotations: ends("stopping after this stage"),
		Short:       "Fit semantic IDs to the items of a data set",
		Long: `Fit semantic IDs to the items of a data set: embed their texts, fit the quantizer,
assign the codes. The folder is a run that has only these stages; gr2 run goes on
with it.`,
		Example: `  gr2 sid build --data data/beauty --out sids/beauty
  gr2 sid build --data data/beauty --out sids/wide --set sid.levels=3 --set embed.dim=256`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			job, err := e.job(cmd, &f)
			if err != nil {
				return err
			}
			job.Until, job.Only = pipeline.StageSID, true
			if _, err := pipeline.Run(cmd.Context(), job); err != nil {
				return err
			}
			return e.sidStats(f.out)
		},
	}
	f.add(cmd, "small")
	cmd.Flags().StringVar(&f.data, "data", "", "dataset folder, see gr2 data import")
	must(cmd.MarkFlagRequired("data"))
	must(cmd.MarkFlagRequired("out"))
	return cmd
}

func newSIDEncode(e *env) *cobra.Command {
	var run, data, out string
	cmd := &cobra.Command{
		Use:   "encode",
		Short: "Give the items of a grown catalog their semantic IDs, without a new fit",
		Long: `Give the items of a grown catalog their semantic IDs, without a new fit. Items that
the folder of --run knows keep theirs; the others are coded by its embedder and
quantizer; the codes of items that are gone stay reserved for them.`,
		Example: `  gr2 sid encode --run sids/monday --data data/tuesday --out sids/tuesday`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			growth, err := pipeline.GrowSIDs(cmd.Context(), run, data, out)
			if err != nil {
				return err
			}
			if e.json {
				return e.print(envelope{Schema: 1, Command: "sid encode", Inputs: map[string]string{"run": run, "dataset": data},
					Artifacts: map[string]string{"run": out}, Metrics: growth})
			}
			fmt.Fprintf(e.out, "%d items kept their codes, %d are new, %d codes are reserved\n", growth.Kept, growth.Added, growth.Reserved)
			return e.sidStats(out)
		},
	}
	runFlag(cmd, &run)
	cmd.Flags().StringVar(&data, "data", "", "dataset folder with the grown catalog")
	cmd.Flags().StringVar(&out, "out", "", "folder to write, new or empty")
	must(cmd.MarkFlagRequired("data"))
	must(cmd.MarkFlagRequired("out"))
	return cmd
}

func newSIDStats(e *env) *cobra.Command {
	var run string
	cmd := &cobra.Command{
		Use:   "stats",
		Short: "Uniqueness, codes used, and what items of one prefix have in common",
		Long: `Uniqueness, codes used, and what items of one prefix have in common: their category
path (beside the same of shuffled codes), and users that take one after the other
(beside chance). --json adds the collision histogram and neighbours of sample items.`,
		RunE: func(*cobra.Command, []string) error {
			index, _, err := openSIDs(run) // quality of codes that do not stand means nothing
			if err != nil {
				return err
			}
			if err := index.Close(); err != nil {
				return err
			}
			return e.sidStats(run)
		},
	}
	runFlag(cmd, &run)
	return cmd
}

// sidStats prints the quality of a folder's semantic IDs.
func (e *env) sidStats(run string) error {
	q, err := pipeline.ReadQuality(run)
	if err != nil {
		return err
	}
	if e.json {
		return e.print(q)
	}
	fmt.Fprintf(e.out, "%d items, %.2f%% unique, %d collisions\n", q.Items, 100*q.Uniqueness, q.Collisions)
	for l, x := range q.Levels {
		fmt.Fprintf(e.out, "level %d: %d codes used, %d dead, perplexity %.1f, %d prefixes, largest %d items", l+1, x.Used, x.Dead, x.Perplexity, x.Prefixes, x.Largest)
		for _, p := range q.Purity {
			fmt.Fprintf(e.out, ", purity to depth %d %.3f (%.3f)", p.Depth, p.Levels[l], p.Shuffled[l])
		}
		if l < len(q.Errors) {
			fmt.Fprintf(e.out, ", error left %.3f", q.Errors[l])
		}
		if a := q.CoEngagement[l]; a.Pairs > 0 {
			fmt.Fprintf(e.out, ", co-engaged %.4f (%.4f)", a.Shared, a.Chance)
		}
		fmt.Fprintln(e.out)
	}
	return nil
}

func newSIDLookup(e *env) *cobra.Command {
	var run string
	cmd := &cobra.Command{
		Use:   "lookup ITEM|SID...",
		Short: "Semantic IDs of items and items of semantic IDs, one a line",
		Long: `Semantic IDs of items and items of semantic IDs, one a line: item, semantic ID, title.
A semantic ID is spelled in tokens, with or without its begin and end. Its first
codes alone list all items below them.`,
		Example: `  gr2 sid lookup --run runs/beauty B004756YJA
  gr2 sid lookup --run runs/beauty '<s_a_97><s_b_168>'`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, keys []string) error {
			index, catalog, err := openSIDs(run)
			if err != nil {
				return err
			}
			defer index.Close()
			for _, key := range keys {
				if err := e.lookup(index, catalog, run, key); err != nil {
					return err
				}
			}
			return nil
		},
	}
	runFlag(cmd, &run)
	return cmd
}

// lookup prints what an item id or a semantic ID stands for.
func (e *env) lookup(index *sid.Index, catalog *market.Catalog, run, key string) error {
	if item, ok := catalog.Lookup(key); ok {
		return e.sidLine(index, catalog, item)
	}
	prefix, err := sid.ParseTokens(key)
	if err != nil {
		return fault.Inputf("the catalog of %s has no item %q, and it is no semantic ID: %w", run, key, err)
	}
	node, ok := index.Find(prefix)
	if !ok {
		return fault.Inputf("no item of %s has a semantic ID that begins with %s", run, key)
	}
	for item := range index.Items(node) {
		if err := e.sidLine(index, catalog, item); err != nil {
			return err
		}
	}
	return nil
}

func (e *env) sidLine(index *sid.Index, catalog *market.Catalog, item int32) error {
	id, title, code := index.ID(item), catalog.Items[item].Title, strings.Join(index.Tokens(item), "")
	if e.json {
		return e.print(map[string]string{"item": id, "sid": code, "title": title})
	}
	_, err := fmt.Fprintf(e.out, "%s\t%s\t%s\n", id, code, title)
	return err
}
