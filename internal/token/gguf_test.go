package token

import (
	"bytes"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/gr2/gr2/internal/fault"
)

var goldenFiles = []string{"ours.json", "llama3.json", "qwen2.json", "gpt2.json", "smollm.json"}

// TestGGUFRoundTrip: what comes back gives the same ids on every golden text,
// has the same tokens and the same configuration.
func TestGGUFRoundTrip(t *testing.T) {
	g := readGolden(t)
	pres := map[string]string{"ours.json": "llama-bpe", "llama3.json": "llama-bpe", "qwen2.json": "qwen2", "gpt2.json": "gpt-2", "smollm.json": "smollm"}
	for _, name := range goldenFiles {
		tok := open(t, name)
		want := Config{EOS: "<|im_end|>", Pad: "<|endoftext|>", ChatTemplate: "{{ x }}"}
		begins := name == "llama3.json" // its post_processor says so
		if begins {
			want.BOS = "<|endoftext|>"
		}
		meta, err := tok.GGUF(want, tok.Size()+3)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if meta[ggufPre] != pres[name] || meta[ggufAddBOS] != begins {
			t.Errorf("%s: pre %v, add_bos %v", name, meta[ggufPre], meta[ggufAddBOS])
		}
		back, have, err := ReadGGUF(meta)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if have != want || !slices.Equal(back.names, tok.names) || !slices.Equal(back.added.tokens, tok.added.tokens) {
			t.Errorf("%s: config %+v, want %+v; or other tokens", name, have, want)
		}
		for i, text := range g.Texts {
			if ids := back.Encode(text); !slices.Equal(ids, g.IDs[name][i]) {
				t.Errorf("%s, %q: got %d, want %d", name, text, ids, g.IDs[name][i])
			}
		}
		again, err := back.GGUF(have, tok.Size()+3)
		if err != nil || !reflect.DeepEqual(again, meta) {
			t.Errorf("%s: written again, the metadata differ (%v)", name, err)
		}
	}
}

// TestGGUFTokens: how each kind of token is spelt.
func TestGGUFTokens(t *testing.T) {
	tok := open(t, "ours.json")
	meta, err := tok.GGUF(Config{}, tok.Size()+2)
	if err != nil {
		t.Fatal(err)
	}
	names, types := meta[ggufTokens].([]string), meta[ggufTypes].([]int32)
	for name, want := range map[string]int32{"a": ggufNormal, "Ġ": ggufNormal, "<|im_end|>": ggufControl, "<s_a_1>": ggufUser} {
		id := slices.Index(names, name)
		if id < 0 || types[id] != want {
			t.Errorf("%q is token %d of type %v, want %d", name, id, types[max(id, 0)], want)
		}
	}
	for id := range 2 {
		if id += tok.Size(); types[id] != ggufUnused || slices.Index(names, names[id]) != id {
			t.Errorf("row %d is %q of type %d", id, names[id], types[id])
		}
	}
	if _, given := meta[ggufTemplate]; given || len(names) != tok.Size()+2 {
		t.Errorf("%d tokens, template %v", len(names), meta[ggufTemplate])
	}
}

func TestGGUFRefuses(t *testing.T) {
	ours := open(t, "ours.json")
	byMerge := strings.Replace(oursJSON(t), `"ignore_merges": false`, `"ignore_merges": true`, 1)
	byMerge = strings.Replace(byMerge, `"Regex": `+regexJSON(t, llama3), `"Regex": `+regexJSON(t, qwen2), 1)
	cut := strings.LastIndex(byMerge, ",\n   \"") // the last merge
	byMerge = byMerge[:cut] + byMerge[cut+strings.Index(byMerge[cut:], "\n  ]"):]
	ignoring, err := Read(strings.NewReader(byMerge))
	if err != nil {
		t.Fatal(err)
	}
	twice, err := ours.Extend([]string{"Ġ"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		tok  *Tokenizer
		c    Config
		rows int
		want string
	}{
		"rows":          {ours, Config{}, ours.Size() - 1, "rows"},
		"ignore_merges": {ignoring, Config{}, 1000, "merge to"},
		"two spellings": {twice, Config{}, 1000, `"Ġ"`},
		"unknown end":   {ours, Config{EOS: "<|eot|>"}, 1000, `"<|eot|>"`},
		"plain end":     {ours, Config{EOS: "a"}, 1000, `"a"`},
	} {
		if _, err := c.tok.GGUF(c.c, c.rows); fault.KindOf(err) != fault.Input || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want an input error with %q", name, err, c.want)
		}
	}
}

func regexJSON(t *testing.T, p pattern) string {
	t.Helper()
	b, err := marshal(patternRegex[p])
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestReadGGUFRefuses(t *testing.T) {
	ours := open(t, "ours.json")
	base, err := ours.GGUF(Config{BOS: "<|im_start|>", EOS: "<|im_end|>"}, ours.Size())
	if err != nil {
		t.Fatal(err)
	}
	names, types, merges := base[ggufTokens].([]string), base[ggufTypes].([]int32), base[ggufMerges].([]string)
	name := func(id int, s string) []string {
		out := slices.Clone(names)
		out[id] = s
		return out
	}
	kind := func(id int, v int32) []int32 {
		out := slices.Clone(types)
		out[id] = v
		return out
	}
	for what, c := range map[string]struct {
		key   string
		value any
		want  string
	}{
		"sentencepiece":     {ggufModel, "llama", `"llama"`},
		"no model":          {ggufModel, nil, ggufModel},
		"default pre":       {ggufPre, "default", `"default"`},
		"no pre":            {ggufPre, nil, ggufPre},
		"number as pre":     {ggufPre, uint32(1), ggufPre},
		"no tokens":         {ggufTokens, nil, ggufTokens},
		"other list":        {ggufTokens, []int32{1}, ggufTokens},
		"no types":          {ggufTypes, nil, ggufTypes},
		"short types":       {ggufTypes, types[1:], ggufTypes},
		"no merges":         {ggufMerges, nil, ggufMerges},
		"half a merge":      {ggufMerges, []string{"ab"}, "merge 0"},
		"merge of nothing":  {ggufMerges, []string{"a \u4e2d"}, "merge 0"},
		"merge twice":       {ggufMerges, append(slices.Clone(merges), merges[0]), "twice"},
		"token twice":       {ggufTokens, name(65, names[66]), "twice"},
		"added token twice": {ggufTokens, name(len(names)-1, names[len(names)-2]), "twice"},
		"foreign alphabet":  {ggufTokens, name(300, "\u4e2d"), "alphabet"},
		"empty token":       {ggufTokens, name(300, ""), "alphabet"},
		"missing byte":      {ggufTokens, name(65, "\u0100\u0100\u0100"), "byte"},
		"long added token":  {ggufTokens, name(len(names)-1, strings.Repeat("x", 300)), "added token"},
		"byte token":        {ggufTypes, kind(3, 6), "type 6"},
		"unused in between": {ggufTypes, kind(300, ggufUnused), "type 5"},
		"end of 2^32":       {ggufEOS, uint32(1<<32 - 1), ggufEOS},
		"plain end":         {ggufEOS, uint32(65), ggufEOS},
		"text for an end":   {ggufEOS, "2", ggufEOS},
	} {
		meta := maps.Clone(base)
		if meta[c.key] = c.value; c.value == nil {
			delete(meta, c.key)
		}
		_, _, err := ReadGGUF(meta)
		if k := fault.KindOf(err); k != fault.Input && k != fault.Corrupt || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "gguf: ") {
			t.Errorf("%s: %v of kind %d, want a word of %q", what, err, k, c.want)
		}
	}
	if _, _, err := ReadGGUF(nil); fault.KindOf(err) != fault.Input {
		t.Errorf("no metadata: %v", err)
	}
}

// TestReadGGUFBeginning: llama-bpe begins texts with BOS unless the file says
// otherwise, the others only when it says so; tokenizer.json keeps it.
func TestReadGGUFBeginning(t *testing.T) {
	for _, c := range []struct {
		pre  string
		says any
		want string
	}{
		{"llama-bpe", nil, "<|im_start|>"}, {"llama3", nil, "<|im_start|>"}, {"llama-bpe", false, ""}, {"llama-bpe", true, "<|im_start|>"},
		{"qwen2", nil, ""}, {"qwen2", true, "<|im_start|>"}, {"smollm", nil, ""}, {"gpt-2", nil, ""},
	} {
		ours := open(t, "ours.json")
		meta, err := ours.GGUF(Config{BOS: "<|im_start|>"}, ours.Size())
		if err != nil {
			t.Fatal(err)
		}
		if meta[ggufPre], meta[ggufAddBOS] = c.pre, c.says; c.says == nil {
			delete(meta, ggufAddBOS)
		}
		tok, _, err := ReadGGUF(meta)
		if err != nil {
			t.Fatal(err)
		}
		var file bytes.Buffer
		if err := tok.Write(&file); err != nil {
			t.Fatal(err)
		}
		back, err := Read(&file)
		if err != nil {
			t.Fatal(err)
		}
		before, after, err := back.Frame()
		if err != nil {
			t.Fatal(err)
		}
		if have := back.Decode(before); have != c.want || len(after) > 0 {
			t.Errorf("%s, add_bos_token %v: begins with %q, want %q", c.pre, c.says, have, c.want)
		}
	}
}

func FuzzReadGGUF(f *testing.F) {
	tok := open(f, "ours.json")
	meta, err := tok.GGUF(Config{EOS: "<|im_end|>"}, tok.Size()+1)
	if err != nil {
		f.Fatal(err)
	}
	lines := func(key string) string { return strings.Join(meta[key].([]string), "\n") }
	var types []byte
	for _, v := range meta[ggufTypes].([]int32) {
		types = append(types, byte(v))
	}
	f.Add("llama-bpe", lines(ggufTokens), types, lines(ggufMerges), uint32(2))
	f.Add("qwen2", "a\nb\nab", []byte{1, 4, 5}, "a b\na", uint32(1))
	f.Fuzz(func(t *testing.T, pre, tokens string, types []byte, merges string, eos uint32) {
		kinds := make([]int32, len(types))
		for i, v := range types {
			kinds[i] = int32(int8(v))
		}
		tok, c, err := ReadGGUF(map[string]any{
			ggufModel: "gpt2", ggufPre: pre, ggufTokens: strings.Split(tokens, "\n"), ggufTypes: kinds,
			ggufMerges: strings.Split(merges, "\n"), ggufEOS: eos,
		})
		if err != nil {
			return
		}
		tok.Decode(tok.Encode("It's 10 <|im_end|>"))
		if _, err := tok.ConfigJSON(c); err != nil {
			t.Error(err)
		}
		if err := tok.Write(&bytes.Buffer{}); err != nil {
			t.Error(err)
		}
	})
}
