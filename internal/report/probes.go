package report

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// probeGroup is the numbers of one probe.
type probeGroup struct {
	Name    string
	Meaning string
	Rows    []probeRow
}

type probeRow struct{ Name, Value, Meaning, Verdict string }

// probeMeanings explain probes and their numbers by the last part of their
// name. What is not here is shown without a word.
var probeMeanings = map[string]string{
	"policy":          "Whose answers these are.",
	"valid_rate":      "Share of outputs that are a full permutation of their slate. Under the grammar anything below 100% is a bug.",
	"copy_rate":       "Share of slates given back exactly as they came. A lift beside a high copy rate comes from few slates.",
	"idle_rate":       "Share of slates that could be bettered and were not: their positives stand behind as many negatives as before.",
	"moved_copy_rate": "The same in the other order: echoing what is shown is not knowledge.",
	"moved_one_order": "Share of the answers in the other order that are one and the same order of places, other than as shown or its reversal: 1 means that the policy reads nothing of its slates. Of slates of four candidates and more.",
	"free":            "Answers decoded without the grammar, on a sample of slates.",
	"free_valid_rate": "Share of the free answers that are a full permutation in the right form. A policy read by its judgement need not know how to write.",
	"free_copy_rate":  "Share of the valid ones that give the slate back as it came.",
	"invalid":         "The others, by what was wrong first.",
	"written":         "The rankings that the policy writes under the grammar.",
	"left_out":        "Impressions of more candidates than a prompt can show; no row counts them.",
	"fallback_rate":   "Share of slates the policy could not answer, which kept their legacy order.",
	"shuffled":        "The same slates, shown as they came and shuffled. What changes is position bias.",
	"reversed":        "The same slates, shown as they came and the last first.",
	"correlation":     "Rank correlation of the place shown and the place given, in the other order: 1 means that it is echoed. On shuffled slates 0 means that it is not echoed (moved_one_order says whether the slate is read at all); on reversed ones a policy that agrees with the incoming order is below 0.",
	"same_first":      "Share of slates whose first item stays the same in the other order.",
	"shown":           "Metrics in the incoming order.",
	"moved":           "Metrics in the other order.",
	"change":          "Moved minus shown, with 95% intervals.",
	"labels":          "The same slates without their grades: an answer that changes has seen them.",
	"changed":         "Answers that are others without the grades.",
	"partial":         "Invalid free answers read leniently: the numbers they name, completed by the incoming order.",
	"credit":          "Mean AUC that partial credit would pay them. A reward that pays it teaches to write nothing.",
	"incoming":        "Mean AUC of the incoming order on the same slates.",
	"id_order":        "Rules that see only item ids or numbers. They must be worthless; where one wins, the protocol leaks the order of the file.",
	"leak":            "Whether an answer changed without the grades, or a rule beats what chance allows.",
	"advantage":       "Mean AUC of the rule minus 0.5: 0 is chance.",
	"lift":            "Relative change of R@1 over the incoming order.",
	"trace_tokens":    "Mean length of the reasoning.",
	"grounding":       "Share of cited items that are in the prompt.",
	"prompt_tokens":   "Mean tokens the model reads for a slate.",
	"output_tokens":   "Mean tokens the model writes for a slate.",
	"ms":              "Mean milliseconds from asking for a slate to its answer, while all cores answer others.",
	"n":               "Slates.",
}

// probeGroups flattens the probes of a report in the order of their names.
// Probes are shown as their JSON is, so a probe that this package does not
// know still appears.
func probeGroups(probes map[string]any) ([]probeGroup, error) {
	data, err := json.Marshal(probes)
	if err != nil {
		return nil, fmt.Errorf("report: probes: %w", err)
	}
	var tree map[string]any
	if err := json.Unmarshal(data, &tree); err != nil {
		return nil, fmt.Errorf("report: probes: %w", err)
	}
	return flatten(nil, "", tree), nil
}

// flatten appends the groups of one object: its numbers first, then its parts.
func flatten(groups []probeGroup, path string, object map[string]any) []probeGroup {
	group := probeGroup{Name: path, Meaning: probeMeanings[lastPart(path)]}
	for _, key := range slices.Sorted(maps.Keys(object)) {
		if text, ok := leaf(object[key]); ok {
			group.Rows = append(group.Rows, probeRow{key, text, probeMeanings[key], probeVerdict(key, object[key])})
		}
	}
	if len(group.Rows) > 0 {
		groups = append(groups, group)
	}
	for _, key := range slices.Sorted(maps.Keys(object)) {
		switch v := object[key].(type) {
		case map[string]any:
			if _, interval := leaf(v); !interval {
				groups = flatten(groups, join(path, key), v)
			}
		case []any:
			for i, element := range v {
				if part, ok := element.(map[string]any); ok {
					groups = flatten(groups, join(path, elementName(part, i)), part)
				}
			}
		}
	}
	return groups
}

// leaf is the text of a number, flag, text, interval or list of them.
func leaf(value any) (string, bool) {
	switch v := value.(type) {
	case float64:
		return minus(short(v)), true
	case bool:
		if v {
			return "yes", true
		}
		return "no", true
	case string:
		return v, true
	case map[string]any:
		mid, ok1 := v["value"].(float64)
		low, ok2 := v["low"].(float64)
		high, ok3 := v["high"].(float64)
		if ok1 && ok2 && ok3 {
			return minus(fmt.Sprintf("%s [%s, %s]", short(mid), short(low), short(high))), true
		}
	}
	return "", false
}

func probeVerdict(key string, value any) string {
	switch {
	case key == "leak" && value == true, key == "valid_rate" && value != 1.0, key == "moved_one_order" && number(value) > .5:
		return "bad"
	case key == "leak" && value == false, key == "valid_rate":
		return "good"
	}
	return ""
}

func number(value any) float64 {
	v, _ := value.(float64)
	return v
}

func elementName(part map[string]any, i int) string {
	for _, key := range []string{"rule", "name", "policy"} {
		if s, ok := part[key].(string); ok {
			return s
		}
	}
	return fmt.Sprint(i + 1)
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + " / " + key
}

func lastPart(path string) string { return path[strings.LastIndex(path, " ")+1:] }

// WriteProbes prints the probes of a report as text.
func WriteProbes(w io.Writer, probes map[string]any) error {
	groups, err := probeGroups(probes)
	if err != nil {
		return err
	}
	for _, g := range groups {
		if _, err := fmt.Fprintf(w, "%s\n", g.Name); err != nil {
			return err
		}
		width := 0
		for _, r := range g.Rows {
			width = max(width, len(r.Name))
		}
		for _, r := range g.Rows {
			line := strings.TrimRight(fmt.Sprintf("  %-*s  %-24s  %s", width, r.Name, r.Value, r.Meaning), " ")
			if _, err := fmt.Fprintln(w, line); err != nil {
				return err
			}
		}
	}
	return nil
}
