package token

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gr2/gr2/internal/fault"
	"pgregory.net/rapid"
)

var sample = []string{
	"OPI Nail Lacquer, Simmer and Shimmer, 0.5-Fluid Ounce",
	"SKIN79 The Prestige Beblesh Balm BB Cream Diamond Collection",
	"Dr. Scholl's Quick Heat Paraffin Spa Bath\nCandidates:\n",
	"L'Oréal Paris Kids 2-in-1 Shampoo, Extra Gentle 日本製 シャンプー",
	"Shampoo and conditioner for fine hair; 12 ounce, pack of 2, 2 packs 😀😀",
	"{\"ranking\":[10,2,1,20]}",
}

func numbers(from, to int) (out []string) {
	for n := from; n <= to; n++ {
		out = append(out, fmt.Sprint(n))
	}
	return out
}

func trained(t testing.TB, opt Options) *Tokenizer {
	t.Helper()
	if opt.VocabSize == 0 {
		opt.VocabSize = 400
	}
	tok, err := Train(slices.Values(sample), opt)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

var chatTokens = []string{"<|im_start|>", "<|im_end|>", "<s_a_1>", "<s_a_10>", "<s_a_1>x"}

func TestRoundTripOfAnyBytes(t *testing.T) {
	tok := trained(t, Options{Added: chatTokens})
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(trickyText(), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) })).Draw(t, "text")
		if got := tok.Decode(tok.EncodeText(text)); got != text {
			t.Fatalf("EncodeText: %q came back as %q", text, got)
		}
		mixed := text + chatTokens[rapid.IntRange(0, len(chatTokens)-1).Draw(t, "token")] + text
		if got := tok.Decode(tok.Encode(mixed)); got != mixed {
			t.Fatalf("Encode: %q came back as %q", mixed, got)
		}
	})
}

func TestMergingEqualsDefinition(t *testing.T) {
	tok := trained(t, Options{Required: numbers(10, 50)})
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(trickyText(), rapid.SampledFrom(sample)).Draw(t, "text")
		for _, c := range append(chunks(llama3, text), text) {
			if c == "" {
				continue
			}
			got, want := tok.model.mergeChunk(nil, c), naiveMerge(tok.model, c)
			if !slices.Equal(got, want) {
				t.Fatalf("%q: got %d, want %d", c, got, want)
			}
			if again := tok.model.appendChunk(nil, c); !slices.Equal(again, want) {
				t.Fatalf("%q from the cache: got %d, want %d", c, again, want)
			}
		}
	})
}

func TestTrainingEqualsDefinition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(rapid.StringMatching(`[abc]{1,9}`), 1, 12).Draw(t, "words")
		corpus := []string{strings.Join(words, " "), strings.Join(words, "")}
		tok, err := Train(slices.Values(corpus), Options{VocabSize: 280})
		if err != nil {
			t.Fatal(err)
		}
		want := newByteModel()
		naiveTrain(want, countChunks(slices.Values(corpus), tok), 280)
		if !slices.Equal(tok.model.order, want.order) || !slices.Equal(tok.model.names, want.names) {
			t.Fatalf("names\n got %q\nwant %q", tok.model.names[256:], want.names[256:])
		}
	})
}

func TestTrainingIgnoresCorpusOrder(t *testing.T) {
	opt := Options{VocabSize: 400, Required: numbers(10, 50), Added: chatTokens}
	var files [2]bytes.Buffer
	for i := range files {
		corpus := slices.Clone(sample)
		if i == 1 {
			slices.Reverse(corpus)
		}
		tok, err := Train(slices.Values(corpus), opt)
		if err != nil {
			t.Fatal(err)
		}
		if err := tok.Write(&files[i]); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(files[0].Bytes(), files[1].Bytes()) {
		t.Error("the order of the corpus changed the tokenizer")
	}
}

func TestRequiredStringsAreSingleTokens(t *testing.T) {
	required := append(numbers(10, 50), `{"`, "ranking", `":[`, "]}")
	tok := trained(t, Options{VocabSize: 330, Required: required})
	for _, s := range append(numbers(0, 9), required...) {
		ids := tok.EncodeText(s)
		id, ok := tok.ID(s)
		if len(ids) != 1 || !ok || ids[0] != id {
			t.Errorf("%q: tokens %d, ID %d %v", s, ids, id, ok)
		}
	}
	if got := tok.Decode(tok.EncodeText(`{"ranking":[10,2]}`)); got != `{"ranking":[10,2]}` {
		t.Error(got)
	}
	if n := len(tok.EncodeText(`{"ranking":[10,2]}`)); n != 7 {
		t.Errorf("an answer of two takes %d tokens, want 7", n)
	}
}

func TestAddedTokens(t *testing.T) {
	tok := trained(t, Options{Added: append(slices.Clone(chatTokens), "<|im_end|>"), Control: chatTokens[:2]})
	base := int32(tok.Size() - len(chatTokens))
	for i, name := range chatTokens {
		if id, ok := tok.ID(name); !ok || id != base+int32(i) || !tok.Added(id) {
			t.Errorf("%s has id %d %v, want %d", name, id, ok, base+int32(i))
		}
	}
	text := "a<|im_end|><s_a_1>xx<s_a_10><s_a_100>"
	var got []string
	for _, id := range tok.Encode(text) {
		got = append(got, tok.Decode([]int32{id}))
	}
	want := []string{"a", "<|im_end|>", "<s_a_1>x", "x", "<s_a_10>"}
	if len(got) < len(want) || !slices.Equal(got[:len(want)], want) {
		t.Errorf("leftmost longest: got %q, want %q ...", got, want)
	}
	for _, id := range tok.EncodeText(text) {
		if tok.Added(id) {
			t.Errorf("EncodeText yields the added token %q", tok.Decode([]int32{id}))
		}
	}
	only := tok.EncodeWith(text, func(id int32) bool { return id == base+2 })
	if n := len(slices.DeleteFunc(only, func(id int32) bool { return !tok.Added(id) })); n != 1 {
		t.Errorf("EncodeWith yields %d added tokens, want 1 (<s_a_1>)", n)
	}
}

func TestAddedTokensStayOutOfTheMerges(t *testing.T) {
	corpus := slices.Repeat([]string{"<|qqq|>"}, 50)
	tok, err := Train(slices.Values(corpus), Options{VocabSize: 300, Added: []string{"<|qqq|>"}})
	if err != nil {
		t.Fatal(err)
	}
	if tok.Size() != 257 {
		t.Errorf("size %d, want 257: the corpus holds nothing but an added token", tok.Size())
	}
}

func TestExtendAndPad(t *testing.T) {
	tok := trained(t, Options{Added: chatTokens, PadTo: 64})
	if tok.Size()%64 != 0 {
		t.Errorf("size %d is not a multiple of 64", tok.Size())
	}
	more, err := tok.Extend([]string{"<|im_end|>", "<new>", "<new>"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if id, _ := more.ID("<new>"); more.Size() != tok.Size()+1 || int(id) != tok.Size() {
		t.Errorf("size %d -> %d, <new> is %d", tok.Size(), more.Size(), id)
	}
	if _, ok := tok.ID("<new>"); ok {
		t.Error("Extend changed its receiver")
	}
}

func TestDecodeOfForeignIds(t *testing.T) {
	tok := trained(t, Options{})
	if got := tok.Decode([]int32{-1, 'a', int32(tok.Size())}); got != "\uFFFDa\uFFFD" {
		t.Errorf("%q", got)
	}
}

func TestTrainRefuses(t *testing.T) {
	for name, opt := range map[string]Options{
		"a small vocabulary":     {VocabSize: 255},
		"a huge vocabulary":      {VocabSize: 1 << 30},
		"a required sentence":    {VocabSize: 300, Required: []string{"two words"}},
		"four digits":            {VocabSize: 300, Required: []string{"1234"}},
		"an empty required":      {VocabSize: 300, Required: []string{""}},
		"too many required":      {VocabSize: 260, Required: numbers(10, 50)},
		"an empty added token":   {VocabSize: 300, Added: []string{""}},
		"an added token not UTF": {VocabSize: 300, Added: []string{"\xff"}},
	} {
		if _, err := Train(slices.Values(sample), opt); fault.Exit(err) != 2 {
			t.Errorf("%s: error %v, want a user's mistake", name, err)
		}
	}
}

func TestConcurrentUse(t *testing.T) {
	tok := trained(t, Options{Added: chatTokens})
	want := tok.Encode(strings.Join(sample, ""))
	fresh := trained(t, Options{Added: chatTokens})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 20 {
				if !slices.Equal(fresh.Encode(strings.Join(sample, "")), want) {
					t.Error("concurrent encoding differs")
				}
			}
		})
	}
	wg.Wait()
}

func TestCacheIsBounded(t *testing.T) {
	tok := trained(t, Options{})
	for i := range cacheWords + 10 {
		tok.model.remember(fmt.Sprint(i), nil)
	}
	if n := len(tok.model.cache); n > cacheWords {
		t.Errorf("cache holds %d chunks, bound %d", n, cacheWords)
	}
	tok.EncodeText(strings.Repeat("a", cacheBytes+1))
	if _, ok := tok.model.cache[strings.Repeat("a", cacheBytes+1)]; ok {
		t.Error("a long chunk was remembered")
	}
}

// A text without breaks must not cost quadratic time: 1 MB would take hours.
func TestLongChunk(t *testing.T) {
	tok := trained(t, Options{})
	text := strings.Repeat("andar", 200_000)
	if got := tok.Decode(tok.EncodeText(text)); got != text {
		t.Error("a long word does not come back")
	}
}

func FuzzEncode(f *testing.F) {
	tok := trained(f, Options{Added: chatTokens})
	for _, s := range sample {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if got := tok.Decode(tok.Encode(text)); got != text {
			t.Errorf("%q came back as %q", text, got)
		}
		for _, id := range tok.EncodeText(text) {
			if tok.Added(id) {
				t.Errorf("EncodeText(%q) yields an added token", text)
			}
		}
	})
}

func BenchmarkEncodeText(b *testing.B) {
	tok := trained(b, Options{})
	text := strings.Join(sample, " ")
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		tok.EncodeText(text)
	}
}

func BenchmarkEncodeTextUncached(b *testing.B) {
	tok := trained(b, Options{})
	text := strings.Join(sample, " ")
	cs := chunks(llama3, text)
	b.SetBytes(int64(len(text)))
	dst := make([]int32, 0, 1024)
	for b.Loop() {
		dst = dst[:0]
		for _, c := range cs {
			dst = tok.model.mergeChunk(dst, c)
		}
	}
}

// Hugging Face's library refuses a file whose list of added tokens is null.
func TestWriteWithoutAddedTokens(t *testing.T) {
	tok, err := Train(slices.Values(sample), Options{VocabSize: 300})
	if err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	if err := tok.Write(&file); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(file.String(), `"added_tokens": []`) {
		t.Errorf("%.200s", file.String())
	}
}
