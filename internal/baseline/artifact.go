package baseline

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"

	"github.com/gr2/gr2/internal/durable"
	"github.com/gr2/gr2/internal/fault"
)

// An artifact file is: magic, length of the header (uint32), header (JSON),
// the arrays in the order of the header as little-endian 4-byte elements, and
// the SHA-256 of all that. The number in the magic rises with every change of
// the format or of what a fit computes, so that older files are refused.
const (
	artifactMagic  = "gr2 baseline 1\n"
	artifactHeader = 1 << 20 // bytes at most
)

// artifact is one fitted model on disk.
type artifact struct {
	header header
	floats [][]float32
	ints   [][]int32
}

type header struct {
	Name   string          `json:"name"`
	Key    string          `json:"key"`    // see store
	Meta   json.RawMessage `json:"meta"`   // the model's scalars
	Floats []int           `json:"floats"` // lengths
	Ints   []int           `json:"ints"`
}

// write encodes a to w.
func (a *artifact) write(w io.Writer) error {
	for _, f := range a.floats {
		a.header.Floats = append(a.header.Floats, len(f))
	}
	for _, n := range a.ints {
		a.header.Ints = append(a.header.Ints, len(n))
	}
	head, err := json.Marshal(a.header)
	if err != nil {
		return err
	}
	sum := sha256.New()
	out := io.MultiWriter(w, sum)
	if _, err := io.WriteString(out, artifactMagic); err != nil {
		return err
	}
	parts := []any{uint32(len(head)), head}
	for _, f := range a.floats {
		parts = append(parts, f)
	}
	for _, n := range a.ints {
		parts = append(parts, n)
	}
	for _, p := range parts {
		if err := binary.Write(out, binary.LittleEndian, p); err != nil {
			return err
		}
	}
	_, err = w.Write(sum.Sum(nil))
	return err
}

// parseArtifact decodes a whole file; its arrays can not be larger than it is.
func parseArtifact(path string, data []byte) (*artifact, error) {
	corrupt := func(what string) error {
		return fault.Corruptf("%s: %s; remove the file and run again", path, what)
	}
	fixed := len(artifactMagic) + 4
	if len(data) < fixed+sha256.Size || string(data[:len(artifactMagic)]) != artifactMagic {
		return nil, corrupt("not a baseline artifact, or cut short")
	}
	body, sum := data[:len(data)-sha256.Size], data[len(data)-sha256.Size:]
	if have := sha256.Sum256(body); !bytes.Equal(have[:], sum) {
		return nil, corrupt("checksum does not match")
	}
	size := binary.LittleEndian.Uint32(body[len(artifactMagic):])
	if size > artifactHeader || int(size) > len(body)-fixed {
		return nil, corrupt("header is too long")
	}
	a := new(artifact)
	if err := json.Unmarshal(body[fixed:fixed+int(size)], &a.header); err != nil {
		return nil, corrupt("header is no JSON: " + err.Error())
	}
	if !a.takeArrays(body[fixed+int(size):]) {
		return nil, corrupt("arrays do not match the header")
	}
	return a, nil
}

// takeArrays cuts the arrays out of rest, which they must fill exactly.
func (a *artifact) takeArrays(rest []byte) bool {
	for _, n := range a.header.Floats {
		if n < 0 || n > len(rest)/4 {
			return false
		}
		f := make([]float32, n)
		for i := range f {
			f[i] = math.Float32frombits(binary.LittleEndian.Uint32(rest[4*i:]))
		}
		a.floats, rest = append(a.floats, f), rest[4*n:]
	}
	for _, n := range a.header.Ints {
		if n < 0 || n > len(rest)/4 {
			return false
		}
		v := make([]int32, n)
		for i := range v {
			v[i] = int32(binary.LittleEndian.Uint32(rest[4*i:]))
		}
		a.ints, rest = append(a.ints, v), rest[4*n:]
	}
	return len(rest) == 0
}

// store keeps artifacts in a folder. A key is a hash of everything the model
// depends on; an artifact with another key is stale and counts as absent.
type store struct{ dir string } // "" keeps nothing

func (s store) path(name string) string { return filepath.Join(s.dir, name+".bin") }

// load returns nil without error when there is no artifact under the key.
func (s store) load(name, key string) (*artifact, error) {
	if s.dir == "" {
		return nil, nil
	}
	f, err := os.Open(s.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(bufio.NewReaderSize(f, 1<<18))
	if err != nil {
		return nil, err
	}
	a, err := parseArtifact(s.path(name), data)
	if err != nil || a.header.Name != name || a.header.Key != key {
		return nil, err
	}
	return a, nil
}

func (s store) save(name, key string, a *artifact) error {
	if s.dir == "" {
		return nil
	}
	a.header.Name, a.header.Key = name, key
	return durable.Write(s.path(name), a.write)
}
