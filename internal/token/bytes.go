package token

import "strings"

// GPT-2's alphabet: every byte has a printable character, so that vocabularies
// can be stored as text. Printable Latin-1 bytes stand for themselves, the
// other 68 for U+0100 and up in order.
var (
	byteToRune = func() (t [256]rune) {
		next := rune(0x100)
		for b := range t {
			if b >= '!' && b <= '~' || b >= 0xA1 && b <= 0xAC || b >= 0xAE {
				t[b] = rune(b)
				continue
			}
			t[b] = next
			next++
		}
		return t
	}()
	runeToByte = func() map[rune]byte {
		m := make(map[rune]byte, 256)
		for b, r := range byteToRune {
			m[r] = byte(b)
		}
		return m
	}()
)

// printable spells bytes in the alphabet.
func printable(raw string) string {
	var b strings.Builder
	for i := range len(raw) {
		b.WriteRune(byteToRune[raw[i]])
	}
	return b.String()
}

// rawBytes is the inverse of printable; false when s leaves the alphabet.
func rawBytes(s string) (string, bool) {
	out := make([]byte, 0, len(s))
	for _, r := range s {
		b, ok := runeToByte[r]
		if !ok {
			return "", false
		}
		out = append(out, b)
	}
	return string(out), true
}
