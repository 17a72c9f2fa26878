package config

import (
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/pipeline"
)

// checkKeys refuses a key that no option has and names the nearest one, and a value
// that its option cannot hold. It tells whether the document holds none at all.
func checkKeys(doc []byte, from string) (empty bool, err error) {
	var tree map[string]any
	if err := yaml.Unmarshal(doc, &tree); err != nil {
		return false, fault.Usagef("%s: %s", from, oneLine(err))
	}
	known, given := map[string]reflect.Kind{}, map[string]any{}
	kindsOf(reflect.TypeFor[pipeline.Options](), "", known)
	flatten(tree, "", given)
	for _, key := range slices.Sorted(maps.Keys(given)) {
		kind, ok := known[key]
		if !ok {
			return false, fault.Usagef("%s: there is no key %q%s (gr2 config prints them all)", from, key, hint(key, known))
		}
		if wanted := misfit(kind, given[key]); wanted != "" {
			return false, fault.Usagef("%s: %s is %v; use %s", from, key, given[key], wanted)
		}
	}
	return len(tree) == 0, nil
}

// kindsOf notes the dotted keys of an options struct, sections and leaves.
func kindsOf(t reflect.Type, prefix string, kinds map[string]reflect.Kind) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, flags, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if name == "-" {
			continue
		}
		if flags == "inline" {
			kindsOf(f.Type, prefix, kinds)
			continue
		}
		kinds[prefix+name] = f.Type.Kind()
		if f.Type.Kind() == reflect.Struct {
			kindsOf(f.Type, prefix+name+".", kinds)
		}
	}
}

// flatten notes the leaves of a YAML tree by dotted key.
func flatten(tree map[string]any, prefix string, leaves map[string]any) {
	for name, value := range tree {
		if sub, ok := value.(map[string]any); ok {
			flatten(sub, prefix+name+".", leaves)
			continue
		}
		leaves[prefix+name] = value
	}
}

// misfit is what an option of this kind wants instead of the value, "" where it
// fits. The decoder would cut a fraction off.
func misfit(kind reflect.Kind, value any) (wanted string) {
	number, isNumber := 0.0, true
	switch v := value.(type) {
	case uint64:
		number = float64(v)
	case int64:
		number = float64(v)
	case float64:
		number = v
	case string: // 4e-4: the decoder takes it for a number where one is wanted, and for a text elsewhere
		var err error
		number, err = strconv.ParseFloat(v, 64)
		isNumber = err == nil && !math.IsInf(number, 0) && !math.IsNaN(number) && (kind == reflect.Float32 || kind == reflect.Float64)
	default:
		isNumber = false
	}
	switch kind {
	case reflect.Int, reflect.Int64, reflect.Uint64:
		if !isNumber || number != math.Trunc(number) || kind == reflect.Uint64 && number < 0 {
			return "a whole number"
		}
	case reflect.Float32, reflect.Float64:
		if !isNumber {
			return "a number"
		}
	case reflect.Bool:
		if _, ok := value.(bool); !ok {
			return "true or false"
		}
	case reflect.Struct:
		if value != nil {
			return "its keys: it is a section"
		}
	}
	return ""
}

// hint names the known key with the least edit distance, where it is near.
func hint(key string, known map[string]reflect.Kind) string {
	near := slices.MinFunc(slices.Sorted(maps.Keys(known)), func(a, b string) int { return distance(key, a) - distance(key, b) })
	if distance(key, near) > len(key)/2 {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", near)
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
