package baseline

import (
	"encoding/json"

	"github.com/gr2/gr2/internal/fault"
)

// model is a ranker that an artifact can hold.
type model interface {
	batchRanker
	pack() *artifact
}

// packed makes an artifact; the scalars in meta are plain numbers, so encoding
// can not fail.
func packed(meta any, floats [][]float32, ints ...[]int32) *artifact {
	raw, _ := json.Marshal(meta)
	return &artifact{header: header{Meta: raw}, floats: floats, ints: ints}
}

// shapes checks the lengths of an artifact's arrays before they are used.
func (a *artifact) shapes(meta any, floats, ints []int) error {
	bad := fault.Corruptf("baseline artifact %s does not have the shape of its model; remove it and run again", a.header.Name)
	if json.Unmarshal(a.header.Meta, meta) != nil || len(a.floats) != len(floats) || len(a.ints) != len(ints) {
		return bad
	}
	for i, n := range floats {
		if n >= 0 && len(a.floats[i]) != n {
			return bad
		}
	}
	for i, n := range ints {
		if n >= 0 && len(a.ints[i]) != n {
			return bad
		}
	}
	return nil
}

func (k *itemKNN) pack() *artifact {
	return packed(k.cfg, [][]float32{k.pairs.weight, k.counts}, k.pairs.start, k.pairs.neighbour)
}

func unpackKNN(a *artifact, log *trainLog, _ Config, _ uint64) (model, error) {
	var cfg KNNConfig
	if err := a.shapes(&cfg, []int{-1, log.items}, []int{log.items + 1, -1}); err != nil {
		return nil, err
	}
	pairs := &coCounts{start: a.ints[0], neighbour: a.ints[1], weight: a.floats[0]}
	return newItemKNN(cfg, pairs, a.floats[1]), nil
}

func (m *ials) pack() *artifact { return packed(m.cfg, [][]float32{m.items}) }

func unpackIALS(a *artifact, log *trainLog, c Config, _ uint64) (model, error) {
	var cfg IALSConfig
	if err := a.shapes(&cfg, []int{log.items * c.IALS.Dim}, nil); err != nil {
		return nil, err
	}
	return newIALS(cfg, a.floats[0], knownItems(log.counts())), nil
}

func (m *bpr) pack() *artifact { return packed(m.cfg, [][]float32{m.items, m.bias}) }

func unpackBPR(a *artifact, log *trainLog, c Config, seed uint64) (model, error) {
	var cfg BPRConfig
	if err := a.shapes(&cfg, []int{log.items * c.BPR.Dim, log.items}, nil); err != nil {
		return nil, err
	}
	return newBPR(cfg, a.floats[0], a.floats[1], knownItems(log.counts()), seed), nil
}

// sasrecMeta is what a fitted SASRec tells besides its parameters.
type sasrecMeta struct {
	Best int `json:"best"` // epochs behind the parameters
}

func (m *sasrec) pack() *artifact {
	var floats [][]float32
	for _, p := range m.params() {
		floats = append(floats, p.Value)
	}
	return packed(sasrecMeta{m.best}, floats)
}

func unpackSASRec(a *artifact, log *trainLog, c Config, _ uint64) (model, error) {
	m := newSASRec(c.SASRec, log.items)
	var meta sasrecMeta
	var lengths []int
	for _, p := range m.params() {
		lengths = append(lengths, len(p.Value))
	}
	if err := a.shapes(&meta, lengths, nil); err != nil {
		return nil, err
	}
	for i, p := range m.params() {
		copy(p.Value, a.floats[i])
	}
	m.best = meta.Best
	m.known = knownItems(log.counts())
	return m.frozen(), nil
}
