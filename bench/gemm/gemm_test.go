package gemm

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestPeersUnderstandCases holds the script to the names of a request's fields.
func TestPeersUnderstandCases(t *testing.T) {
	script, err := source.ReadFile("peer.py")
	if err != nil {
		t.Fatal(err)
	}
	request, err := json.Marshal(shape{TransA: true, M: 2, N: 3, K: 5})
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(request, &fields); err != nil {
		t.Fatal(err)
	}
	if len(fields) != 5 {
		t.Errorf("a request has %d fields, want 5: %s", len(fields), request)
	}
	for name := range fields {
		if !strings.Contains(string(script), `c["`+name+`"]`) {
			t.Errorf("peer.py does not read %q", name)
		}
	}
}

func TestCasesRun(t *testing.T) {
	for _, role := range []shape{{TransB: true}, {}, {TransA: true}} {
		role.M, role.N, role.K = 70, 40, 20
		role.prepare()()
	}
	names := map[string]bool{}
	for _, c := range Suite().Cases {
		if names[c.Name] || c.Work <= 0 {
			t.Errorf("case %s is there twice or has no work", c.Name)
		}
		names[c.Name] = true
	}
}
