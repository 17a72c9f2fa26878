// Package comparetest checks suites against the scripts of their peers.
package comparetest

import (
	"encoding/json"
	"io/fs"
	"strings"
	"testing"
)

// ReadEveryField fails where a script does not read a field of the request.
func ReadEveryField(t *testing.T, request any, source fs.ReadFileFS, scripts ...string) {
	t.Helper()
	data, err := json.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(data, &fields); err != nil {
		t.Fatal(err)
	}
	for _, name := range scripts {
		script, err := source.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for field := range fields {
			if !strings.Contains(string(script), `c["`+field+`"]`) {
				t.Errorf("%s does not read %q", name, field)
			}
		}
	}
}
