package importer

import (
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

func readLines(t *testing.T, path string, limit int) (lines []string, err error) {
	t.Helper()
	s, err := openSource(path)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	if limit > 0 {
		s.limit = limit
	}
	for {
		line, err := s.text()
		if err == io.EOF {
			return lines, nil
		}
		if err != nil {
			return lines, err
		}
		lines = append(lines, string(line))
	}
}

func TestLines(t *testing.T) {
	long := strings.Repeat("x", 3<<20)
	for name, content := range map[string]string{
		"plain":        "a\nb\n" + long + "\nc\n",
		"no final end": "a\nb\n" + long + "\nc",
		"CRLF":         "a\r\nb\r\n" + long + "\r\nc\r\n",
		"BOM":          "\xef\xbb\xbfa\nb\n" + long + "\nc\n",
		"gzip":         zipped(t, "a\nb\n"+long+"\nc\n"),
		"two members":  zipped(t, "a\nb\n") + zipped(t, long+"\nc\n"),
		"gzip, BOM":    zipped(t, "\xef\xbb\xbfa\r\nb\r\n"+long+"\r\nc"),
		"blank lines":  "a\n\n \nb\n" + long + "\nc\n\n",
	} {
		got, err := readLines(t, file(t, "f", content), 0)
		if err != nil || strings.Join(got, ",") != "a,b,"+long+",c" {
			t.Errorf("%s: %d lines, %v", name, len(got), err)
		}
	}
}

func TestLineErrors(t *testing.T) {
	noise := make([]byte, 1<<16) // does not compress, so that half of the file is half of the lines
	r := rand.New(rand.NewPCG(1, 1))
	for i := range noise {
		noise[i] = byte('a' + r.IntN(26))
		if i%64 == 63 {
			noise[i] = '\n'
		}
	}
	zip := zipped(t, string(noise))
	for name, c := range map[string]struct {
		content string
		limit   int
		want    []string
	}{
		"empty":          {"", 0, []string{"f is empty"}},
		"empty gzip":     {zipped(t, ""), 0, []string{"f is empty"}},
		"truncated gzip": {zip[:len(zip)/2], 0, []string{"gzip data ends early"}},
		"cut header":     {zip[:6], 0, []string{"gzip data ends early"}},
		"damaged gzip":   {zip[:len(zip)/2] + "????" + zip[len(zip)/2+4:], 0, []string{"f:", "fetch the file again"}},
		"not UTF-8":      {"a\nb\xe9c\n", 0, []string{"f:2:", "not UTF-8"}},
		"UTF-16":         {"\xff\xfea\x00\n\x00", 0, []string{"f:1:", "not UTF-8"}},
		"too long":       {"a\n" + strings.Repeat("x", 2<<20) + "\n", 1 << 20, []string{"f:2:", "longer than 1 MiB"}},
		"endless":        {"a\nb\n" + strings.Repeat("x", 2<<20), 1 << 20, []string{"f:3:", "longer than 1 MiB"}},
	} {
		_, err := readLines(t, file(t, "f", c.content), c.limit)
		wantInputError(t, name, err, c.want...)
	}
	_, err := readLines(t, t.TempDir(), 0)
	wantInputError(t, "a folder", err, "is a folder")
	_, err = readLines(t, "/nowhere/at/all", 0)
	wantInputError(t, "no file", err, "/nowhere/at/all", "no such file")
}
