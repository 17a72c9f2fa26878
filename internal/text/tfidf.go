package text

import (
	"cmp"
	"math"
	"slices"
	"strings"
)

// Sparse is a vector by its non-zero entries: Index ascends, Value stands
// beside it.
type Sparse struct {
	Index []int32
	Value []float32
}

// Options of a TF-IDF model.
type Options struct {
	MinDF    int // a term needs this many documents; 0 means 1 (every term counts)
	MaxTerms int // the terms of the most documents are kept, of equal ones the first in lexicographic order; 0 means all
}

// TFIDF weighs a term by (1 + ln tf) * (1 + ln((1+n)/(1+df))), where n counts
// documents, df those with the term and tf its uses in this document; vectors
// are scaled to unit length. It is read-only after FitTFIDF and safe for
// concurrent use.
type TFIDF struct {
	terms map[string]int32
	idf   []float32
}

// FitTFIDF counts the words of docs.
func FitTFIDF(docs []string, opt Options) *TFIDF {
	df := documentFrequencies(docs)
	kept := make([]string, 0, len(df))
	for w, n := range df {
		if n >= opt.MinDF {
			kept = append(kept, w)
		}
	}
	if opt.MaxTerms > 0 && len(kept) > opt.MaxTerms {
		slices.SortFunc(kept, func(a, b string) int {
			return cmp.Or(cmp.Compare(df[b], df[a]), cmp.Compare(a, b))
		})
		kept = kept[:opt.MaxTerms]
	}
	slices.Sort(kept)
	idf := make([]float32, len(kept))
	for i, w := range kept {
		idf[i] = float32(1 + math.Log(float64(1+len(docs))/float64(1+df[w])))
	}
	return NewTFIDF(kept, idf)
}

// documentFrequencies counts the documents of each word. Its keys are copies:
// a word cut from a document would keep all of that in memory.
func documentFrequencies(docs []string) map[string]int {
	ids := make(map[string]int32)
	var df []int
	var last []int // document that counted the word last
	for d, doc := range docs {
		for _, w := range Words(doc) {
			id, ok := ids[w]
			if !ok {
				id = int32(len(df))
				ids[strings.Clone(w)] = id
				df, last = append(df, 0), append(last, -1)
			}
			if last[id] != d {
				last[id] = d
				df[id]++
			}
		}
	}
	counts := make(map[string]int, len(df))
	for w, id := range ids {
		counts[w] = df[id]
	}
	return counts
}

// NewTFIDF is the model of the given terms, in lexicographic order, and their
// inverse document frequencies: what Vocabulary returned.
func NewTFIDF(terms []string, idf []float32) *TFIDF {
	m := &TFIDF{terms: make(map[string]int32, len(terms)), idf: idf}
	for i, w := range terms {
		m.terms[w] = int32(i)
	}
	return m
}

// Vocabulary returns the terms in lexicographic order and the inverse document
// frequency of each.
func (m *TFIDF) Vocabulary() (terms []string, idf []float32) {
	terms = make([]string, len(m.idf))
	for w, i := range m.terms {
		terms[i] = w
	}
	return terms, m.idf
}

// Terms is the number of terms: the dimension of the vectors.
func (m *TFIDF) Terms() int { return len(m.idf) }

// Vector is the unit-length vector of doc; it is empty when doc has no known
// term.
func (m *TFIDF) Vector(doc string) Sparse {
	var ids []int32
	for _, w := range Words(doc) {
		if id, ok := m.terms[w]; ok {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	var v Sparse
	norm := 0.0
	for start := 0; start < len(ids); {
		end := start + 1
		for end < len(ids) && ids[end] == ids[start] {
			end++
		}
		x := (1 + math.Log(float64(end-start))) * float64(m.idf[ids[start]])
		norm += x * x
		v.Index = append(v.Index, ids[start])
		v.Value = append(v.Value, float32(x))
		start = end
	}
	scale := float32(1 / math.Sqrt(norm))
	for i := range v.Value {
		v.Value[i] *= scale
	}
	return v
}

// Cosine is the inner product of two unit-length vectors, 0 when either is
// empty.
func Cosine(a, b Sparse) float32 {
	var sum float32
	for i, j := 0, 0; i < len(a.Index) && j < len(b.Index); {
		switch {
		case a.Index[i] < b.Index[j]:
			i++
		case a.Index[i] > b.Index[j]:
			j++
		default:
			sum += a.Value[i] * b.Value[j]
			i++
			j++
		}
	}
	return sum
}
