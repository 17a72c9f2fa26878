// Package serve puts a re-ranker behind HTTP.
//
//	POST /v1/rerank   one api.Slate or {"slates":[...]} in, rankings out
//	GET  /healthz     200 while the process lives
//	GET  /readyz      200 while requests are taken, 503 while draining
//	GET  /metrics     Prometheus text
//
// Every slate passes one bounded queue that a fixed number of workers serve.
// A request is admitted whole or refused at once (429), never half. Each slate
// is ranked alone, so what else is in its request or in the queue changes no
// answer. The deadline of a request covers its time in the queue; what is
// unfinished then keeps its legacy order and says so, or the request fails
// with 504, as the options choose.
//
// Over-long input is refused and never cut. Errors are api.Error and name the
// field at fault.
//
// The server has no authentication and listens on the loopback address unless
// told otherwise.
package serve
