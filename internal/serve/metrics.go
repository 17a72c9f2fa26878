package serve

import (
	"net/http"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/gr2/gr2/api"
)

// metrics are the server's own; the registry is private, so several servers
// live in one process.
type metrics struct {
	registry  *prometheus.Registry
	requests  *prometheus.CounterVec   // route, code
	phase     *prometheus.HistogramVec // phase
	slates    prometheus.Counter
	fallbacks *prometheus.CounterVec // reason
	tokens    *prometheus.CounterVec // kind
}

func newMetrics(q *queue, model string) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gr2_http_requests_total",
			Help: "HTTP requests by route and status code; 499 is a caller that went away."}, []string{"route", "code"}),
		phase: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "gr2_phase_seconds",
			Help:    "Seconds per slate by phase: queue, prompt, prefill, decode; request is the whole of a POST /v1/rerank.",
			Buckets: prometheus.ExponentialBucketsRange(0.0005, 10, 15)}, []string{"phase"}),
		slates: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gr2_slates_total", Help: "Slates answered, fallbacks included."}),
		fallbacks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gr2_fallbacks_total", Help: "Slates answered with their legacy order, by reason."}, []string{"reason"}),
		tokens: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gr2_tokens_total", Help: "Tokens read (prompt) and written (output) by the model."}, []string{"kind"}),
	}
	depth := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "gr2_queue_depth", Help: "Slates waiting for a worker."}, func() float64 { return float64(q.depth()) })
	capacity := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "gr2_queue_capacity", Help: "Slates that may wait."})
	capacity.Set(float64(cap(q.jobs)))
	info := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "gr2_model_info", Help: "Always 1; the label is the hash of the model."}, []string{"model"})
	info.WithLabelValues(model).Set(1)
	m.registry.MustRegister(m.requests, m.phase, m.slates, m.fallbacks, m.tokens, depth, capacity, info,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	// A series that exists before its first event can be alerted on.
	for _, r := range []api.Reason{api.ReasonDeadline, api.ReasonTooLong, api.ReasonFailed} {
		m.fallbacks.WithLabelValues(string(r))
	}
	return m
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Registry: m.registry})
}

func (m *metrics) request(route string, code int, seconds float64) {
	m.requests.WithLabelValues(route, strconv.Itoa(code)).Inc()
	if route == routeRerank {
		m.phase.WithLabelValues("request").Observe(seconds)
	}
}

func (m *metrics) ranking(r *api.Ranking) {
	m.slates.Inc()
	if r.Fallback {
		m.fallbacks.WithLabelValues(string(r.Reason)).Inc()
	}
	m.tokens.WithLabelValues("prompt").Add(float64(r.Tokens.Prompt))
	m.tokens.WithLabelValues("output").Add(float64(r.Tokens.Output))
	phases := []struct {
		name   string
		millis float64
	}{
		{"queue", r.Phases.Queue},
		{"prompt", r.Phases.Prompt},
		{"prefill", r.Phases.Prefill},
		{"decode", r.Phases.Decode},
	}
	for _, p := range phases {
		if p.millis > 0 { // a fallback did not go through every phase
			m.phase.WithLabelValues(p.name).Observe(p.millis / 1000)
		}
	}
}
