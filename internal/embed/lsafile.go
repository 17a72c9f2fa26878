package embed

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"strings"

	"github.com/gr2/gr2/internal/durable"
	"github.com/gr2/gr2/internal/fault"
	"github.com/gr2/gr2/internal/text"
)

// File layout, little-endian: magic (8 bytes); version, columns, terms, texts,
// bytes of options, bytes of vocabulary (uint32 each); options (JSON); vocabulary
// (a term a line); inverse document frequencies (float32 each); projection
// (terms x columns, float32); SHA-256 of all the bytes before it (32).
const (
	lsaMagic   = "GR2LSA1\n"
	lsaVersion = 1
)

// lsaHeader is the fixed part behind the magic.
type lsaHeader struct {
	Version, Columns, Terms, Texts, Options, Vocabulary uint32
}

// size of the whole file.
func (h lsaHeader) size() uint64 {
	return uint64(len(lsaMagic)) + uint64(binary.Size(h)) + uint64(h.Options) + uint64(h.Vocabulary) +
		4*uint64(h.Terms)*(1+uint64(h.Columns)) + sha256.Size
}

// Save writes the model to one file, all or nothing.
func (m *LSA) Save(path string) error {
	return durable.Write(path, func(w io.Writer) error {
		_, err := m.encode(w)
		return err
	})
}

// encode writes the file and returns the checksum at its end.
func (m *LSA) encode(w io.Writer) (sum [sha256.Size]byte, err error) {
	options, err := json.Marshal(m.Options)
	if err != nil {
		return sum, err
	}
	terms, idf := m.terms.Vocabulary()
	vocabulary := strings.Join(append(terms, ""), "\n")
	digest := sha256.New()
	b := bufio.NewWriterSize(io.MultiWriter(w, digest), 1<<16)
	b.WriteString(lsaMagic)
	binary.Write(b, binary.LittleEndian, lsaHeader{lsaVersion, uint32(m.project.Cols), uint32(len(terms)),
		uint32(m.Texts), uint32(len(options)), uint32(len(vocabulary))})
	b.Write(options)
	b.WriteString(vocabulary)
	writeFloats(b, idf)
	writeFloats(b, m.project.Data)
	if err := b.Flush(); err != nil { // of any write above
		return sum, err
	}
	digest.Sum(sum[:0])
	_, err = w.Write(sum[:])
	return sum, err
}

// LoadLSA reads what Save wrote and verifies it. A file that is truncated,
// damaged or of another kind is a fault.Corrupt that names it.
func LoadLSA(path string) (*LSA, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	m, err := readLSA(f, uint64(info.Size()))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// readLSA reads a file of size bytes. Nothing is allocated by the word of a
// header that contradicts the size.
func readLSA(f io.Reader, size uint64) (*LSA, error) {
	digest := sha256.New()
	r := io.TeeReader(bufio.NewReaderSize(f, 1<<16), digest)
	h, err := readHeader(r, size)
	if err != nil {
		return nil, err
	}
	options, vocabulary := make([]byte, h.Options), make([]byte, h.Vocabulary)
	idf, project := make([]float32, h.Terms), NewMatrix(int(h.Terms), int(h.Columns))
	if _, err := io.ReadFull(r, options); err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(r, vocabulary); err != nil {
		return nil, err
	}
	if err := cmp.Or(readFloats(r, idf), readFloats(r, project.Data)); err != nil {
		return nil, err
	}
	m := &LSA{Texts: int(h.Texts), project: project, sum: [sha256.Size]byte(digest.Sum(nil))}
	sum := make([]byte, sha256.Size)
	if _, err := io.ReadFull(r, sum); err != nil {
		return nil, err
	}
	if !bytes.Equal(sum, m.sum[:]) {
		return nil, corrupt("its checksum is %x where it says %x", m.sum[:6], sum[:6])
	}
	terms := strings.SplitAfter(string(vocabulary), "\n")
	terms = terms[:len(terms)-1]
	for i := range terms {
		terms[i] = strings.TrimSuffix(terms[i], "\n")
	}
	if len(terms) != len(idf) {
		return nil, corrupt("it holds %d terms where its header says %d", len(terms), h.Terms)
	}
	if err := json.Unmarshal(options, &m.Options); err != nil {
		return nil, corrupt("its options: %v", err)
	}
	m.terms = text.NewTFIDF(terms, idf)
	return m, nil
}

func readHeader(r io.Reader, size uint64) (h lsaHeader, err error) {
	magic := make([]byte, len(lsaMagic))
	if _, err := io.ReadFull(r, magic); err != nil || string(magic) != lsaMagic {
		return h, corrupt("it does not begin with %q, so it is no text embedding model", lsaMagic)
	}
	if err := binary.Read(r, binary.LittleEndian, &h); err != nil {
		return h, corrupt("it ends within the header")
	}
	switch {
	case h.Version != lsaVersion:
		return h, corrupt("it has version %d, this program reads %d", h.Version, lsaVersion)
	case h.size() != size:
		return h, corrupt("it has %d bytes where its header asks for %d", size, h.size())
	}
	return h, nil
}

func corrupt(format string, args ...any) error {
	return fault.Corruptf("the file is damaged: "+format+"; fit it again", args...)
}

func writeFloats(w *bufio.Writer, x []float32) {
	var buffer [4096]byte
	for len(x) > 0 {
		n := min(len(x), len(buffer)/4)
		for i, v := range x[:n] {
			binary.LittleEndian.PutUint32(buffer[4*i:], math.Float32bits(v))
		}
		w.Write(buffer[:4*n])
		x = x[n:]
	}
}

func readFloats(r io.Reader, x []float32) error {
	var buffer [4096]byte
	for len(x) > 0 {
		n := min(len(x), len(buffer)/4)
		if _, err := io.ReadFull(r, buffer[:4*n]); err != nil {
			return err
		}
		for i := range n {
			x[i] = math.Float32frombits(binary.LittleEndian.Uint32(buffer[4*i:]))
		}
		x = x[n:]
	}
	return nil
}
