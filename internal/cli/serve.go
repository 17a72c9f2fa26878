package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/gr2/gr2/internal/serve"
)

func newServe(e *env) *cobra.Command {
	opt := serve.Defaults()
	var policy policyFlags
	var onDeadline string
	cmd := &cobra.Command{
		Use:         "serve",
		Annotations: ends("finishing the requests that were admitted"),
		Short:       "Answer POST /v1/rerank over HTTP",
		Long: `Answer POST /v1/rerank over HTTP, with /healthz, /readyz and /metrics. The first
interrupt drains and stops. docs/serving.md describes requests, replies and errors.`,
		Example: "  gr2 serve --run runs/beauty --addr 127.0.0.1:8080",
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := policy.open()
			if err != nil {
				return err
			}
			opt.OnDeadline, opt.Log = serve.OnDeadline(onDeadline), e.log
			server, err := serve.New(r, opt)
			if err != nil {
				return err
			}
			defer server.Close()
			if err := server.Listen(); err != nil {
				return err
			}
			fmt.Fprintf(e.out, "listening on http://%s\n", server.Addr())
			return server.Serve(cmd.Context())
		},
	}
	flags := cmd.Flags()
	policy.add(cmd)
	flags.StringVar(&opt.Addr, "addr", opt.Addr, "address to listen on; port 0 takes a free one")
	flags.StringVar(&opt.PprofAddr, "pprof", opt.PprofAddr, "address of net/http/pprof (default none)")
	flags.IntVar(&opt.Workers, "workers", opt.Workers, "slates ranked at the same time")
	flags.IntVar(&opt.Queue, "queue", opt.Queue, "slates that may wait; more are refused with 429")
	flags.IntVar(&opt.Limits.Slates, "max-slates", opt.Limits.Slates, "slates of one request")
	flags.IntVar(&opt.Limits.Candidates, "max-candidates", opt.Limits.Candidates, "candidates of one slate")
	flags.IntVar(&opt.Limits.History, "max-history", opt.Limits.History, "visits of one history")
	flags.Int64Var(&opt.MaxBody, "max-body", opt.MaxBody, "bytes of a request body")
	flags.DurationVar(&opt.Timeout, "timeout", opt.Timeout, "deadline of a request")
	flags.StringVar(&onDeadline, "on-deadline", string(opt.OnDeadline), "fallback (answer the legacy order) or error (504)")
	flags.DurationVar(&opt.DrainDelay, "drain-delay", opt.DrainDelay, "time between /readyz saying no and refusing requests")
	flags.DurationVar(&opt.DrainTimeout, "drain-timeout", opt.DrainTimeout, "time that admitted requests may take while stopping")
	return cmd
}
