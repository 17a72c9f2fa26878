// Package teacher is the place of reasoning traces: an OpenAI-compatible
// client, the embedded analyst, and targeted and rejection sampling (GR2,
// eqs. 1-2). It is empty until the trace stage is built.
package teacher
