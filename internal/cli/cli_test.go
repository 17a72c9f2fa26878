package cli_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/gr2/gr2/internal/cli"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"gr2": func() { os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) },
	})
}

// TestScripts runs testdata/script/*.txtar: command lines with what they must
// print, their exit codes and the files they leave.
func TestScripts(t *testing.T) {
	tiny, err := filepath.Abs("testdata/tiny.yaml")
	if err != nil {
		t.Fatal(err)
	}
	golden, err := filepath.Abs("../golden")
	if err != nil {
		t.Fatal(err)
	}
	letters := httptest.NewServer(http.HandlerFunc(embedLetters))
	t.Cleanup(letters.Close) // after the scripts, which run in parallel
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("TINY", tiny)
			e.Setenv("GOLDEN", golden)
			e.Setenv("LETTERS", letters.URL+"/v1")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "gzip": gzipFile, "gunzip": gunzipFile, "flip": flipByte, "cut": cutFile,
			"items": nameItems, "expand": expandFile, "rows": wantRows, "eventlog": eventLog,
		},
	})
}

// embedLetters is an embeddings endpoint: a text's vector counts its letters. It
// wants the key "sesame".
func embedLetters(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer sesame" {
		http.Error(w, `{"error": {"message": "no entry"}}`, http.StatusUnauthorized)
		return
	}
	var req struct{ Input []string }
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	type row struct {
		Index     int       `json:"index"`
		Embedding []float64 `json:"embedding"`
	}
	var data []row
	for i, text := range req.Input {
		v := make([]float64, 16)
		for j := range len(text) {
			v[text[j]%16]++
		}
		data = append(data, row{i, v})
	}
	json.NewEncoder(w).Encode(map[string]any{"data": data})
}
