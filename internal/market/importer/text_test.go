package importer

import "testing"

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"L&#39;Oreal":                "L'Oreal",
		"L&amp;#39;Oreal":            "L'Oreal",
		"Johnson &amp;amp; Johnson":  "Johnson & Johnson",
		"AT&T and R&D":               "AT&T and R&D",
		"&eacute;clat &#9733; &reg;": "éclat ★ ®",
		"  two\t\n words\u00a0\x00x": "two words x",
		"&nbsp; a &lt;b&gt;":         "a <b>",
		"&#153;":                     "™",
		"":                           "",
	} {
		if got := clean(in); got != want {
			t.Errorf("clean(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestParsePrice(t *testing.T) {
	for in, want := range map[string]float64{
		"12.99": 12.99, "$1,299.00": 1299, " $4.99 - $9.99": 4.99, "from 7.5": 7.5, "£3": 3, "0": 0,
		"": -1, "—": -1, "-3": -1, "NaN": -1, "Inf": -1, ".a-box-inner{background-color:#fff}": -1, "1e99": -1,
	} {
		got, ok := parsePrice(in)
		if ok != (want >= 0) || ok && got != want {
			t.Errorf("parsePrice(%q) = %g, %v; want %g", in, got, ok, want)
		}
	}
}

func TestLatin1(t *testing.T) {
	for in, want := range map[string]string{"Caf\xe9": "Café", "Café": "Café", "plain": "plain"} {
		if got := latin1([]byte(in)); got != want {
			t.Errorf("latin1(%q) = %q, want %q", in, got, want)
		}
	}
}
