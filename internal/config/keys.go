package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/pipeline"
)

// checkKeys refuses a key that no option has and names the nearest one. It
// tells whether the document holds none at all.
func checkKeys(doc []byte, from string) (empty bool, err error) {
	var tree map[string]any
	if err := yaml.Unmarshal(doc, &tree); err != nil {
		return false, fault.Usagef("%s: %s", from, oneLine(err))
	}
	known := keysOf(reflect.TypeFor[pipeline.Options](), "")
	for _, key := range flatten(tree, "") {
		if slices.Contains(known, key) {
			continue
		}
		hint := ""
		if near := nearest(key, known); distance(key, near) <= len(key)/2 {
			hint = fmt.Sprintf("; did you mean %q?", near)
		}
		return false, fault.Usagef("%s: there is no key %q%s (gr2 config prints them all)", from, key, hint)
	}
	return len(tree) == 0, nil
}

// keysOf lists the dotted keys of an options struct: sections and leaves.
func keysOf(t reflect.Type, prefix string) []string {
	var keys []string
	for i := range t.NumField() {
		f := t.Field(i)
		name, flags, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if name == "-" {
			continue
		}
		if flags == "inline" {
			keys = append(keys, keysOf(f.Type, prefix)...)
			continue
		}
		keys = append(keys, prefix+name)
		if f.Type.Kind() == reflect.Struct {
			keys = append(keys, keysOf(f.Type, prefix+name+".")...)
		}
	}
	return keys
}

// flatten lists the dotted keys of a YAML tree in order.
func flatten(tree map[string]any, prefix string) []string {
	var keys []string
	for name, value := range tree {
		if sub, ok := value.(map[string]any); ok {
			keys = append(keys, flatten(sub, prefix+name+".")...)
			continue
		}
		keys = append(keys, prefix+name)
	}
	slices.Sort(keys)
	return keys
}

// nearest is the known key with the least edit distance.
func nearest(key string, known []string) string {
	return slices.MinFunc(known, func(a, b string) int { return distance(key, a) - distance(key, b) })
}

// distance is the Levenshtein distance in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
