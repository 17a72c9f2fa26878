package prompt

import (
	"embed"
	"strings"

	"github.com/gr2/gr2/internal/fault"
)

//go:embed templates
var templates embed.FS

// systems are the system texts to choose from.
var systems = []string{"compact", "full"}

// ChatTemplate is the chat layout as a Jinja template, for
// tokenizer_config.json: other engines then build the very same prompts.
func ChatTemplate() string { return fixed("chat.jinja") }

// systemText is the system turn for the options' template and mode.
func systemText(o Options) (string, error) {
	for _, name := range systems {
		if name == o.System {
			return fixed(name + "." + o.Mode + ".txt"), nil
		}
	}
	return "", fault.Usagef("prompt: system %q: use one of %s", o.System, strings.Join(systems, ", "))
}

// fixed reads a text that is part of the program.
func fixed(name string) string {
	text, err := templates.ReadFile("templates/" + name)
	if err != nil {
		panic("prompt: missing template: " + err.Error()) // a build without it cannot pass the tests
	}
	return strings.TrimSuffix(string(text), "\n")
}
