package cli

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/rerank"
	"github.com/gr2/gr2/internal/sid"
)

func newSID(e *env) *cobra.Command {
	cmd := &cobra.Command{Use: "sid", Short: "Semantic IDs of a run"}
	cmd.AddCommand(newSIDStats(e), newSIDLookup(e), newSIDEval(e))
	return cmd
}

// openSIDs opens a run's index and the catalog that it belongs to.
func openSIDs(run string) (*sid.Index, *market.Catalog, error) {
	ds, err := market.Open(filepath.Join(run, rerank.CatalogDir))
	if err != nil {
		return nil, nil, err
	}
	path := filepath.Join(run, rerank.SIDDir, rerank.SIDIndex)
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, fault.Inputf("%s has no semantic IDs: %w", run, err)
	}
	defer f.Close()
	index, err := sid.Read(f)
	if err == nil {
		err = index.Check(ds.Catalog)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return index, ds.Catalog, nil
}

func newSIDStats(e *env) *cobra.Command {
	var run string
	cmd := &cobra.Command{
		Use:   "stats",
		Short: "Uniqueness, and codes used per level",
		RunE: func(*cobra.Command, []string) error {
			index, _, err := openSIDs(run)
			if err != nil {
				return err
			}
			s := index.Stats()
			if e.json {
				return e.print(s)
			}
			fmt.Fprintf(e.out, "%d items, %.2f%% unique, %d collisions\n", s.Items, 100*s.Uniqueness, s.Collisions)
			for l, x := range s.Levels {
				fmt.Fprintf(e.out, "level %d: %d codes used, perplexity %.1f, %d prefixes, largest %d items\n", l+1, x.Used, x.Perplexity, x.Prefixes, x.Largest)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&run, "run", "", "run folder")
	must(cmd.MarkFlagRequired("run"))
	return cmd
}

func newSIDLookup(e *env) *cobra.Command {
	var run string
	cmd := &cobra.Command{
		Use:     "lookup ITEM...",
		Short:   "Semantic IDs of items, one a line",
		Example: "  gr2 sid lookup --run runs/beauty B004756YJA",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, items []string) error {
			index, catalog, err := openSIDs(run)
			if err != nil {
				return err
			}
			for _, id := range items {
				n, ok := catalog.Lookup(id)
				if !ok {
					return fault.Inputf("the catalog of %s has no item %q", run, id)
				}
				if err := e.sidLine(id, catalog.Items[n].Title, strings.Join(index.Tokens(n), "")); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&run, "run", "", "run folder")
	must(cmd.MarkFlagRequired("run"))
	return cmd
}

func (e *env) sidLine(id, title, code string) error {
	if e.json {
		return e.print(map[string]string{"item": id, "sid": code, "title": title})
	}
	_, err := io.WriteString(e.out, id+"\t"+code+"\t"+title+"\n")
	return err
}
