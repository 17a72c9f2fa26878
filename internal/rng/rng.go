package rng

import "math/rand/v2"

// New returns the stream at the given coordinates.
func New(seed uint64, coords ...uint64) *rand.Rand {
	h := Hash(seed, coords...)
	return rand.New(rand.NewPCG(h, mix(h)))
}

// Key turns a name (a stage, an item id) into a coordinate: FNV-1a, 64 bits.
func Key(name string) uint64 {
	h := uint64(14695981039346656037)
	for i := 0; i < len(name); i++ {
		h ^= uint64(name[i])
		h *= 1099511628211
	}
	return h
}

// Hash is a uniform 64-bit hash of the coordinates, for frozen shuffles and
// user folds: the same inputs give the same value for ever.
func Hash(seed uint64, coords ...uint64) uint64 {
	h := mix(seed)
	for _, c := range coords {
		// The odd factor keeps the roles of h and c apart: a plain xor of two
		// mixed values would cancel where they are equal.
		h = mix(h*0xd1342543de82ef95 + mix(c^0x2545f4914f6cdd1d))
	}
	return h
}

// mix is the finaliser of splitmix64.
func mix(z uint64) uint64 {
	z += 0x9e3779b97f4a7c15
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb
	return z ^ (z >> 31)
}
