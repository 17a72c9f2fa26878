package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/gr2/gr2/api"
	"github.com/gr2/gr2/internal/durable"
	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/kernel"
	"github.com/gr2/gr2/internal/market"
	"github.com/gr2/gr2/internal/pipeline"
	"github.com/gr2/gr2/internal/rerank"
)

// rerankBatch is how many slates are read, ranked and written at a time.
const rerankBatch = 256

// maxSlateLine bounds one line of slates, in bytes.
const maxSlateLine = 16 << 20

func newRerank(e *env) *cobra.Command {
	var policy policyFlags
	var in, out string
	cmd := &cobra.Command{
		Use:         "rerank",
		Annotations: ends("stopping at the next batch"),
		Short:       "Re-rank slates: JSON lines in, JSON lines out",
		Long:        "Re-rank slates, one JSON object a line. docs/serving.md describes both forms.",
		Example:     "  gr2 rerank --run runs/beauty < slates.jsonl > rankings.jsonl",
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := policy.open()
			if err != nil {
				return err
			}
			from, name := e.in, "stdin"
			if in != "-" {
				f, err := os.Open(in)
				if err != nil {
					return fault.Inputf("%w", err)
				}
				defer f.Close()
				from, name = f, in
			}
			work := func(w io.Writer) error { return rerankLines(cmd.Context(), r, name, from, w) }
			if out == "-" {
				return work(e.out)
			}
			return durable.Write(out, work)
		},
	}
	flags := cmd.Flags()
	policy.add(cmd)
	flags.StringVar(&in, "in", "-", "file of slates; - is stdin")
	flags.StringVar(&out, "out", "-", "file of rankings; - is stdout")
	return cmd
}

// policyFlags say which policy ranks, and how.
type policyFlags struct{ run, stage, mode, weights string }

func (p *policyFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&p.run, "run", "", "run folder")
	flags.StringVar(&p.stage, "stage", "", "policy of another stage of the run (default the run's)")
	flags.StringVar(&p.mode, "mode", "", "how to read the policy: judge, generate or first (default the run's)")
	flags.StringVar(&p.weights, "weights", string(rerank.Float32), "what linear maps multiply by: float32, or int8, which is faster and close")
	must(cmd.MarkFlagRequired("run"))
}

// open opens the run's policy, whose files must be as the run left them.
func (p *policyFlags) open() (*rerank.Reranker, error) {
	if err := pipeline.Verify(p.run, p.stage); err != nil {
		return nil, err
	}
	return rerank.Open(p.run, rerank.OpenOptions{Stage: p.stage, Mode: rerank.Mode(p.mode), Weights: rerank.Weights(p.weights)})
}

// rerankLines ranks batch by batch and keeps the order of the lines. A line
// that is no slate ends the work; what stands before it has been written.
func rerankLines(ctx context.Context, r *rerank.Reranker, name string, in io.Reader, out io.Writer) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 1<<16), maxSlateLine)
	w := bufio.NewWriter(out)
	batch := lineBatch{r: r}
	for n := 1; lines.Scan(); n++ {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		if err := batch.add(lines.Bytes()); err != nil {
			return errors.Join(batch.flush(ctx, w), fault.Inputf("%s:%d: %w", name, n, err))
		}
		if len(batch.slates) == rerankBatch {
			if err := batch.flush(ctx, w); err != nil {
				return err
			}
		}
	}
	if err := lines.Err(); err != nil {
		return errors.Join(batch.flush(ctx, w), fault.Inputf("%s: %w (a line may have up to %d bytes)", name, err, maxSlateLine))
	}
	return batch.flush(ctx, w)
}

// lineBatch is slates on their way through a re-ranker.
type lineBatch struct {
	r       *rerank.Reranker
	slates  []market.Slate
	unknown []int
}

func (b *lineBatch) add(line []byte) error {
	s, err := api.DecodeSlate(line)
	if err != nil {
		return err
	}
	slate, unknown, err := b.r.Resolve(&s)
	if err != nil {
		return err
	}
	b.slates, b.unknown = append(b.slates, slate), append(b.unknown, unknown)
	return nil
}

// flush ranks and writes what was added.
func (b *lineBatch) flush(ctx context.Context, w *bufio.Writer) error {
	results, err := b.r.RerankAll(ctx, b.slates, rerank.Batch{Workers: kernel.Threads()})
	if err != nil {
		return err
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for i := range results {
		reply := b.r.Reply(&b.slates[i], &results[i])
		reply.UnknownHistory = b.unknown[i]
		if err := enc.Encode(reply); err != nil {
			return fmt.Errorf("write rankings: %w", err)
		}
	}
	b.slates, b.unknown = b.slates[:0], b.unknown[:0]
	return w.Flush()
}
