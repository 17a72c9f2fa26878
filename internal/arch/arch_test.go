package arch_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/gr2/gr2"

// layers is the tree from the bottom up: a package imports only packages of
// layers above its own line in this list (smaller index).
var layers = [][]string{
	{"durable", "rng", "fault", "arch"},
	{"kernel"},
	{"market"},
	{"market/synth", "market/importer", "text", "lm", "token"},
	{"sid", "embed"},
	{"sid/fit", "sid/quality", "evidence", "embed/cache"},
	{"prompt", "metric"},
	{"reward"},
	{"infer", "nn"},
	{"baseline", "control", "sid/rqvae"},
	{"teacher", "compress", "embed/encoder", "embed/endpoint"},
	{"embed/backend"},
	{"rerank"},
	{"train"},
	{"train/midtrain", "train/sft", "train/rl", "train/nextitem"},
	{"eval"},
	{"report", "serve"},
	{"pipeline"},
	{"config"},
	{"cli"},
}

// pure packages hold the core computations: no files, clocks, flags, network
// or environment, so that they are deterministic by construction.
var pure = []string{"kernel", "lm", "token", "reward", "metric", "prompt", "nn", "infer"}

var impure = []string{"os", "net", "net/http", "flag", "time", "os/exec", "syscall", "log", "log/slog", "math/rand"}

// unreachable lists, per package, what it must not reach even indirectly.
var unreachable = map[string][]string{
	"infer":          {"nn", "train", "baseline"},
	"rerank":         {"nn", "train", "baseline"},
	"serve":          {"nn", "train", "baseline"},
	"train/midtrain": {"train/sft", "train/rl"},
	"train/sft":      {"train/midtrain", "train/rl"},
	"train/rl":       {"train/midtrain", "train/sft"},
}

type pkg struct {
	ImportPath string
	Imports    []string
	Deps       []string
}

func list(t *testing.T) map[string]pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports,Deps", module+"/...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	pkgs := map[string]pkg{}
	dec := json.NewDecoder(bytes.NewReader(out))
	for {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs[p.ImportPath] = p
	}
}

func layerOf(name string) int {
	return slices.IndexFunc(layers, func(l []string) bool { return slices.Contains(l, name) })
}

func internalName(path string) (string, bool) {
	return strings.CutPrefix(path, module+"/internal/")
}

// violations checks the rules on a set of packages.
func violations(pkgs map[string]pkg) []string {
	var bad []string
	for path, p := range pkgs {
		name, ok := internalName(path)
		if !ok || strings.HasPrefix(name, "kernel/") || strings.HasPrefix(name, "golden") {
			continue
		}
		at := layerOf(name)
		if at < 0 {
			bad = append(bad, fmt.Sprintf("%s stands in no layer: add it to the list in internal/arch", name))
			continue
		}
		for _, imp := range p.Imports {
			if other, ok := internalName(imp); ok && layerOf(other) >= at {
				bad = append(bad, fmt.Sprintf("%s imports %s, which does not stand above it", name, other))
			}
			if slices.Contains(pure, name) && slices.Contains(impure, imp) {
				bad = append(bad, fmt.Sprintf("%s imports %s: the core does no I/O and has no clock", name, imp))
			}
		}
		for _, far := range unreachable[name] {
			if slices.Contains(p.Deps, module+"/internal/"+far) {
				bad = append(bad, fmt.Sprintf("%s reaches %s", name, far))
			}
		}
	}
	slices.Sort(bad)
	return bad
}

func TestImportDirection(t *testing.T) {
	pkgs := list(t)
	for _, v := range violations(pkgs) {
		t.Error(v)
	}
	for _, l := range layers {
		for _, name := range l {
			if _, ok := pkgs[module+"/internal/"+name]; !ok {
				t.Errorf("layer names %s, which does not exist", name)
			}
		}
	}
}

// The gate is seen to fail: each kind of violation is planted once.
func TestViolationsAreFound(t *testing.T) {
	in := func(names ...string) (out []string) {
		for _, n := range names {
			out = append(out, module+"/internal/"+n)
		}
		return out
	}
	planted := map[string]pkg{}
	for name, p := range map[string]pkg{
		"kernel": {Imports: []string{"os"}},
		"market": {Imports: in("sid")},
		"infer":  {Deps: in("nn")},
		"extra":  {},
	} {
		p.ImportPath = module + "/internal/" + name
		planted[p.ImportPath] = p
	}
	want := []string{
		"extra stands in no layer: add it to the list in internal/arch",
		"infer reaches nn",
		"kernel imports os: the core does no I/O and has no clock",
		"market imports sid, which does not stand above it",
	}
	if got := violations(planted); !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
}
