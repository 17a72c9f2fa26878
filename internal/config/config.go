package config

import (
	"embed"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/pipeline"
)

//go:embed presets/*.yaml
var presets embed.FS

// basePreset states every key; other presets differ from it.
const basePreset = "small"

// Presets are the names that Load accepts.
func Presets() []string {
	entries, err := presets.ReadDir("presets")
	if err != nil {
		panic(err) // embedded at build time
	}
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".yaml"))
	}
	return names
}

// Load composes the configuration: preset, then the YAML file (none when
// empty), then the settings, each "section.key=value".
func Load(preset, file string, settings []string) (pipeline.Options, error) {
	var o pipeline.Options
	if !slices.Contains(Presets(), preset) {
		return o, fault.Usagef("preset %q is unknown; use one of %s", preset, strings.Join(Presets(), ", "))
	}
	for _, name := range []string{basePreset, preset} {
		b, err := presets.ReadFile(path.Join("presets", name+".yaml"))
		if err != nil {
			return o, err
		}
		if err := merge(&o, b, "preset "+name); err != nil {
			return o, err
		}
	}
	if file != "" {
		b, err := os.ReadFile(file)
		if err != nil {
			return o, fault.Usagef("configuration: %w", err)
		}
		if err := merge(&o, b, file); err != nil {
			return o, err
		}
	}
	return Change(o, settings)
}

// Change applies settings, each "section.key=value", to a configuration.
func Change(o pipeline.Options, settings []string) (pipeline.Options, error) {
	for _, s := range settings {
		doc, err := settingYAML(s)
		if err != nil {
			return o, err
		}
		if err := merge(&o, doc, "--set "+s); err != nil {
			return o, err
		}
	}
	o.Resolve()
	return o, o.Validate()
}

// Differences lists the keys whose values differ, as "key: old -> new".
func Differences(old, new pipeline.Options) ([]string, error) {
	before, err := values(old)
	if err != nil {
		return nil, err
	}
	after, err := values(new)
	if err != nil {
		return nil, err
	}
	var list []string
	for _, key := range slices.Sorted(maps.Keys(after)) {
		if before[key] != after[key] {
			list = append(list, fmt.Sprintf("%s: %s -> %s", key, before[key], after[key]))
		}
	}
	return list, nil
}

// values are the options by dotted key, as text.
func values(o pipeline.Options) (map[string]string, error) {
	doc, err := Marshal(o)
	if err != nil {
		return nil, err
	}
	var tree map[string]any
	if err := yaml.Unmarshal(doc, &tree); err != nil {
		return nil, err
	}
	all := map[string]string{}
	var walk func(prefix string, tree map[string]any)
	walk = func(prefix string, tree map[string]any) {
		for name, value := range tree {
			if sub, ok := value.(map[string]any); ok {
				walk(prefix+name+".", sub)
				continue
			}
			all[prefix+name] = fmt.Sprint(value)
		}
	}
	walk("", tree)
	return all, nil
}

// Read reads a resolved configuration back, as Marshal wrote it. It is not validated:
// one of an older version may need a change before it holds.
func Read(b []byte, from string) (pipeline.Options, error) {
	var o pipeline.Options
	err := merge(&o, b, from)
	o.Resolve()
	return o, err
}

// Marshal is the configuration as YAML with every key.
func Marshal(o pipeline.Options) ([]byte, error) { return yaml.Marshal(o) }

// merge decodes doc over o: keys that doc does not have keep their value.
func merge(o *pipeline.Options, doc []byte, from string) error {
	empty, err := checkKeys(doc, from)
	if err != nil || empty {
		return err
	}
	if err := yaml.UnmarshalWithOptions(doc, o, yaml.Strict()); err != nil {
		return fault.Usagef("%s: %s", from, oneLine(err))
	}
	return nil
}

func oneLine(err error) string {
	var syntax yaml.Error
	if errors.As(err, &syntax) {
		at := syntax.GetToken()
		if at != nil && at.Position != nil {
			return fmt.Sprintf("line %d: %s", at.Position.Line, syntax.GetMessage())
		}
		return syntax.GetMessage()
	}
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// settingYAML turns "a.b=c" into the document {a: {b: c}}.
func settingYAML(s string) ([]byte, error) {
	key, value, ok := strings.Cut(s, "=")
	if !ok || key == "" {
		return nil, fault.Usagef("--set %q: write it as section.key=value", s)
	}
	if strings.TrimSpace(value) == "" {
		value = `""`
	}
	parts := strings.Split(key, ".")
	var doc strings.Builder
	for depth, part := range parts {
		fmt.Fprintf(&doc, "%s%s:", strings.Repeat("  ", depth), part)
		if depth < len(parts)-1 {
			doc.WriteByte('\n')
		}
	}
	doc.WriteString(" " + value + "\n")
	return []byte(doc.String()), nil
}
