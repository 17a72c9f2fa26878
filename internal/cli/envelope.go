package cli

import (
	"encoding/json"
)

// envelope is what --json prints: one object a command.
type envelope struct {
	Schema    int               `json:"schema"`
	Command   string            `json:"command"`
	Inputs    map[string]string `json:"inputs,omitempty"`
	Artifacts map[string]string `json:"artifacts,omitempty"`
	Metrics   any               `json:"metrics,omitempty"`
	Warnings  []string          `json:"warnings,omitempty"`
}

func (e *env) print(v any) error {
	enc := json.NewEncoder(e.out)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
