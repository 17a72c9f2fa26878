package prompt

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

type message struct{ Role, Content string }

// layout is the chat layout, said a second time.
func layout(messages []message) string {
	var b strings.Builder
	for _, m := range messages {
		b.WriteString("<|im_start|>" + m.Role + "\n" + m.Content + "<|im_end|>\n")
	}
	return b.String() + "<|im_start|>assistant\n"
}

// Prompts, the Jinja template (rendered by Jinja itself in chat.json) and the
// documented layout must be one.
func TestChatLayout(t *testing.T) {
	data, err := os.ReadFile("../golden/token/chat.json")
	if err != nil {
		t.Fatal(err)
	}
	var chat struct {
		Template, Rendered string
		Messages           []message
	}
	if err := json.Unmarshal(data, &chat); err != nil {
		t.Fatal(err)
	}
	if chat.Template != ChatTemplate() {
		t.Fatal("templates/chat.jinja has changed: run internal/golden/token/generate.py")
	}
	if got := layout(chat.Messages); got != chat.Rendered {
		t.Errorf("layout\n got %q\nwant %q", got, chat.Rendered)
	}

	b := builder(t, "own", Options{Title: true, Headers: true})
	tokens, err := b.Prompt(testSlate(0, 1), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	text := b.tok.Decode(tokens)
	var messages []message
	for _, turn := range strings.Split(strings.TrimSuffix(text, "<|im_start|>assistant\n"), "<|im_start|>")[1:] {
		role, content, _ := strings.Cut(strings.TrimSuffix(turn, "<|im_end|>\n"), "\n")
		messages = append(messages, message{role, content})
	}
	if len(messages) != 2 || messages[0].Role != "system" || messages[1].Role != "user" || layout(messages) != text {
		t.Errorf("the prompt is not laid out as a chat of two turns:\n%s", text)
	}
}
