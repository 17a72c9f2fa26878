package token

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/gr2/gr2/internal/fault"
)

func oursJSON(t testing.TB) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(goldenDir, "ours.json"))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestReadRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		old, new string
		kind     fault.Kind
	}{
		"another model":            {`"type": "BPE"`, `"type": "WordPiece"`, fault.Input},
		"byte fallback":            {`"byte_fallback": false`, `"byte_fallback": true`, fault.Input},
		"dropout":                  {`"dropout": null`, `"dropout": 0.1`, fault.Input},
		"a word suffix":            {`"end_of_word_suffix": null`, `"end_of_word_suffix": "</w>"`, fault.Input},
		"another expression":       {`{1,3}`, `{1,4}`, fault.Input},
		"another behaviour":        {`"Isolated"`, `"Removed"`, fault.Input},
		"an inverted split":        {`"invert": false`, `"invert": true`, fault.Input},
		"no pre-tokenizer":         {`"pre_tokenizer": {`, `"pre_tokenizer": null, "x": {`, fault.Input},
		"a prefix space":           {`"add_prefix_space": false`, `"add_prefix_space": true`, fault.Input},
		"another decoder":          {`"decoder": {`, `"decoder": null, "x": {`, fault.Input},
		"a lower-casing":           {`"normalizer": null`, `"normalizer": {"type": "Lowercase"}`, fault.Input},
		"a stripping token":        {`"lstrip": false`, `"lstrip": true`, fault.Input},
		"a hole in the ids":        {`"id": 345`, `"id": 99345`, fault.Input},
		"an added token twice":     {`"<s_a_10>"`, `"<s_a_1>"`, fault.Input},
		"an empty added token":     {`"<s_a_10>"`, `""`, fault.Input},
		"an added token renamed":   {`"id": 345`, `"id": 5`, fault.Input},
		"a byte missing":           {`"!": 33`, `"!!!!!": 33`, fault.Input},
		"a token in no alphabet":   {`"!": 33`, `"日": 33`, fault.Input},
		"an id too large":          {`"!": 33`, `"!": 9999999`, fault.Corrupt},
		"a negative id":            {`"!": 33`, `"!": -1`, fault.Corrupt},
		"an id twice":              {`"!": 33`, `"!": 34`, fault.Corrupt},
		"an id beyond 32 bits":     {`"!": 33`, `"!": 4294967329`, fault.Corrupt},
		"a merge of three":         {`"1 0"`, `"1 0 0"`, fault.Corrupt},
		"a merge of one":           {`"1 0"`, `"10"`, fault.Corrupt},
		"a merge of numbers":       {`"1 0"`, `[1, 0]`, fault.Corrupt},
		"a merge without a result": {`"1 0"`, `"! !"`, fault.Corrupt},
		"a merge given twice":      {`"1 1"`, `"1 0"`, fault.Corrupt},
		"no JSON":                  {`{`, `<`, fault.Corrupt},
		"no vocabulary":            {`"vocab"`, `"nothing"`, fault.Input},
	} {
		text := oursJSON(t)
		if !strings.Contains(text, c.old) {
			t.Fatalf("%s: ours.json does not hold %s", name, c.old)
		}
		_, err := Read(strings.NewReader(strings.Replace(text, c.old, c.new, 1)))
		if err == nil || fault.KindOf(err) != c.kind || strings.Contains(err.Error(), "\n") || !strings.HasPrefix(err.Error(), "tokenizer.json: ") {
			t.Errorf("%s: error %v of kind %d, want kind %d", name, err, fault.KindOf(err), c.kind)
		}
	}
}

func TestReadRefusesTruncation(t *testing.T) {
	text := strings.TrimSpace(oursJSON(t))
	for n := 0; n < len(text); n += 97 {
		if _, err := Read(strings.NewReader(text[:n])); fault.KindOf(err) != fault.Corrupt {
			t.Fatalf("cut to %d bytes: %v, want a corrupt file", n, err)
		}
	}
}

func TestReadIsBounded(t *testing.T) {
	endless := strings.NewReader(strings.Repeat(" ", maxFile+10))
	if _, err := Read(endless); fault.KindOf(err) != fault.Input {
		t.Errorf("an oversized file: %v", err)
	}
	broken := errors.New("broken pipe")
	if _, err := Read(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("an unreadable file: %v", err)
	}
}

// Some vocabularies lack the bytes that UTF-8 never has; text that is not
// UTF-8 is then mended before it is encoded.
func TestVocabularyWithoutImpossibleBytes(t *testing.T) {
	full := open(t, "ours.json")
	lacking := strings.Replace(oursJSON(t), `"`+printable("\xff")+`": 255`, `"`+printable("ab~")+`": 255`, 1)
	tok, err := Read(strings.NewReader(lacking))
	if err != nil {
		t.Fatal(err)
	}
	if got := tok.Decode(tok.EncodeText("a\xffb")); got != "a\uFFFDb" {
		t.Errorf("%q", got)
	}
	if got := full.Decode(full.EncodeText("a\xffb")); got != "a\xffb" {
		t.Errorf("%q", got)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(oursJSON(f)))
	f.Add([]byte(`{"pre_tokenizer":{"type":"ByteLevel"},"decoder":{"type":"ByteLevel"},"model":{"vocab":{},"merges":["a b",["a","b"],null,{}]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		tok, err := Read(bytes.NewReader(data))
		if err != nil {
			return
		}
		tok.Decode(tok.Encode("It's 10 <|im_end|>"))
		if err := tok.Write(&bytes.Buffer{}); err != nil {
			t.Error(err)
		}
	})
}

func TestConfig(t *testing.T) {
	tok := open(t, "ours.json")
	want := Config{EOS: "<|im_end|>", Pad: "<|endoftext|>", MaxLength: 1024, ChatTemplate: "{{ '<|im_start|>' + m['x'] }}\n\"&"}
	data, err := tok.ConfigJSON(want)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ReadConfig(bytes.NewReader(data)); err != nil || got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	for _, part := range []string{`"bos_token": null`, `"349": {`, `"tokenizer_class": "PreTrainedTokenizerFast"`, "<|im_start|>"} {
		if !strings.Contains(string(data), part) {
			t.Errorf("the file lacks %s", part)
		}
	}
	if _, err := tok.ConfigJSON(Config{EOS: "<|nothing|>"}); fault.KindOf(err) != fault.Usage {
		t.Errorf("an unknown end token: %v", err)
	}
}

func TestReadForeignConfig(t *testing.T) {
	foreign := `{"bos_token":null,"eos_token":{"content":"</s>","lstrip":false},"pad_token":"<pad>","model_max_length":1000000000000000019884624838656,"other":[1]}`
	got, err := ReadConfig(strings.NewReader(foreign))
	if want := (Config{EOS: "</s>", Pad: "<pad>"}); err != nil || got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	for _, bad := range []string{"", "[]", `{"eos_token":3}`, `{"chat_template":{}}`, foreign[:40]} {
		if _, err := ReadConfig(strings.NewReader(bad)); fault.KindOf(err) != fault.Corrupt {
			t.Errorf("%.40q: %v", bad, err)
		}
	}
}
