package serve

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gr2/gr2/api"
	"github.com/gr2/gr2/internal/fault"
)

// serve runs a server on a real listener; stop ends it and gives its error.
func serve(t *testing.T, f *fake, change func(*Options)) (s *Server, stop context.CancelFunc, done chan error) {
	t.Helper()
	opt := Defaults()
	opt.Addr = "127.0.0.1:0"
	if change != nil {
		change(&opt)
	}
	s, err := New(f, opt)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Listen(); err != nil {
		s.Close()
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done = make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	t.Cleanup(stop)
	return s, stop, done
}

// A stopping server answers what it has admitted, then takes no connections.
func TestDrain(t *testing.T) {
	f := &fake{gate: make(chan struct{}), started: make(chan string, 4)}
	s, stop, done := serve(t, f, func(o *Options) { o.Workers, o.Timeout = 1, time.Minute })
	url := "http://" + s.Addr()
	answers := make(chan error, 2)
	for _, id := range []string{"slow1", "slow2"} {
		go func() {
			r, err := api.NewClient(url).Rerank(context.Background(), api.Slate{ID: id, Candidates: []api.Candidate{{Item: "a"}, {Item: "b"}}})
			if err == nil && r.Fallback {
				t.Errorf("%s fell back: %s", id, r.Reason)
			}
			answers <- err
		}()
	}
	<-f.started // one is being ranked
	waitFor(t, func() bool { return s.queue.depth() == 1 })
	stop()
	waitFor(t, s.stopping.Load)
	select {
	case err := <-done:
		t.Fatalf("Serve returned %v with work unfinished", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(f.gate)
	for range 2 {
		if err := <-answers; err != nil {
			t.Errorf("an admitted request failed: %v", err)
		}
	}
	if err := <-done; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if _, err := net.DialTimeout("tcp", s.Addr(), time.Second); err == nil {
		t.Error("the port is still open")
	}
}

// During the drain delay /readyz says no and work is still taken; a request
// that comes later is told to go elsewhere.
func TestDrainDelay(t *testing.T) {
	s, stop, done := serve(t, &fake{}, func(o *Options) { o.DrainDelay = 300 * time.Millisecond })
	url := "http://" + s.Addr()
	c := api.NewClient(url)
	if err := c.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	stop()
	waitFor(t, s.draining.Load)
	resp, body := get(t, url+"/readyz")
	wantError(t, resp, body, 503, api.CodeUnavailable, "", "shutting down")
	if resp, _ := get(t, url+"/healthz"); resp.StatusCode != 200 {
		t.Errorf("healthz %d while draining", resp.StatusCode)
	}
	if _, err := c.Rerank(t.Context(), api.Slate{Candidates: []api.Candidate{{Item: "a"}}}); err != nil {
		t.Errorf("during the delay: %v", err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestStoppingRefuses(t *testing.T) {
	s, hs := start(t, &fake{}, nil)
	s.Close()
	resp, body := post(t, hs.URL, slateJSON("s", "a"))
	wantError(t, resp, body, 503, api.CodeUnavailable, "", "shutting down")
	if resp.Header.Get("Retry-After") == "" || !resp.Close {
		t.Errorf("Retry-After %q, close %v", resp.Header.Get("Retry-After"), resp.Close)
	}
}

func TestDrainTimeout(t *testing.T) {
	f := &fake{gate: make(chan struct{}), started: make(chan string, 1)}
	s, stop, done := serve(t, f, func(o *Options) { o.Timeout, o.DrainTimeout = time.Minute, 50*time.Millisecond })
	go func() {
		c := &api.Client{BaseURL: "http://" + s.Addr()}
		_, _ = c.Rerank(context.Background(), api.Slate{ID: "slow", Candidates: []api.Candidate{{Item: "a"}}})
	}()
	<-f.started
	stop()
	if err := <-done; err == nil || !strings.Contains(err.Error(), "drain timeout of 50ms") {
		t.Errorf("got %v", err)
	}
}

func TestPortInUse(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	opt := Defaults()
	opt.Addr = taken.Addr().String()
	for _, pprof := range []bool{false, true} {
		if pprof {
			opt.Addr, opt.PprofAddr = "127.0.0.1:0", taken.Addr().String()
		}
		s, err := New(&fake{}, opt)
		if err != nil {
			t.Fatal(err)
		}
		err = s.Listen()
		s.Close()
		if err == nil {
			t.Fatal("no error")
		}
		if !strings.Contains(err.Error(), taken.Addr().String()+": the port is in use") || strings.Contains(err.Error(), "\n") {
			t.Errorf("got %q", err)
		}
		if fault.Exit(err) != 1 {
			t.Errorf("exit code %d, want 1", fault.Exit(err))
		}
	}
}

func TestPprofHasItsOwnListener(t *testing.T) {
	s, _, _ := serve(t, &fake{}, func(o *Options) { o.PprofAddr = "127.0.0.1:0" })
	if resp, _ := get(t, "http://"+s.PprofAddr()+"/debug/pprof/cmdline"); resp.StatusCode != 200 {
		t.Errorf("pprof: %d", resp.StatusCode)
	}
	if resp, _ := get(t, "http://"+s.Addr()+"/debug/pprof/cmdline"); resp.StatusCode != 404 {
		t.Errorf("pprof on the API's listener: %d", resp.StatusCode)
	}
	if resp, _ := get(t, "http://"+s.PprofAddr()+"/v1/rerank"); resp.StatusCode != 404 {
		t.Errorf("the API on pprof's listener: %d", resp.StatusCode)
	}
}

// A caller that sends its header too slowly does not hold a connection.
func TestServerTimeoutsAreSet(t *testing.T) {
	s, _, _ := serve(t, &fake{}, nil)
	h := s.httpServer()
	if h.ReadHeaderTimeout <= 0 || h.ReadTimeout <= 0 || h.WriteTimeout <= s.opt.Timeout || h.IdleTimeout <= 0 || h.MaxHeaderBytes <= 0 {
		t.Errorf("%+v", h)
	}
	req, _ := http.NewRequest(http.MethodGet, "http://"+s.Addr()+"/healthz", nil)
	req.Header.Set("X-Long", strings.Repeat("x", 80<<10))
	if resp, _ := do(t, req); resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a header of 80 KiB: %d", resp.StatusCode)
	}
}

func TestOptionsValidate(t *testing.T) {
	if err := Defaults().Validate(); err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		change func(*Options)
		want   string
	}{
		{func(o *Options) { o.Addr = "8080" }, "give host:port"},
		{func(o *Options) { o.PprofAddr = "x" }, "pprof address"},
		{func(o *Options) { o.Workers = 0 }, "workers is 0"},
		{func(o *Options) { o.Timeout = -1 }, "timeout"},
		{func(o *Options) { o.MaxBody = 0 }, "body bytes"},
		{func(o *Options) { o.Limits.Candidates = 0 }, "candidates per slate"},
		{func(o *Options) { o.Queue = 10 }, "would never fit"},
		{func(o *Options) { o.OnDeadline = "maybe" }, `"fallback" or "error"`},
		{func(o *Options) { o.DrainDelay = -1 }, "drain delay"},
		{func(o *Options) { o.Log = nil }, "start from Defaults"},
	}
	for _, c := range cases {
		opt := Defaults()
		c.change(&opt)
		err := opt.Validate()
		if err == nil || !strings.Contains(err.Error(), c.want) || fault.KindOf(err) != fault.Usage {
			t.Errorf("want ...%s..., got %v", c.want, err)
		}
	}
	host, _, err := net.SplitHostPort(Defaults().Addr)
	if err != nil || !net.ParseIP(host).IsLoopback() {
		t.Errorf("the default address %s is not loopback", Defaults().Addr)
	}
}
