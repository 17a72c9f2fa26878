package lm

import "math"

// RopeTables returns cos and sin of every rotary angle, each positions x
// HeadDim/2: entry (p, i) belongs to the angle p * theta^(-2i/HeadDim), scaled
// as RopeScaling says. Dimension i is rotated with dimension i+HeadDim/2
// (Hugging Face's rotate-half layout).
func RopeTables(cfg Config, positions int) (cos, sin []float32) {
	freq := ropeFrequencies(cfg)
	cos = make([]float32, positions*len(freq))
	sin = make([]float32, positions*len(freq))
	for p := range positions {
		for i, f := range freq {
			s, c := math.Sincos(float64(p) * f)
			cos[p*len(freq)+i] = float32(c)
			sin[p*len(freq)+i] = float32(s)
		}
	}
	return cos, sin
}

// ropeFrequencies are the angles per position, in radians, one per pair.
func ropeFrequencies(cfg Config) []float64 {
	freq := make([]float64, cfg.HeadDim/2)
	for i := range freq {
		freq[i] = math.Pow(cfg.RopeTheta, -2*float64(i)/float64(cfg.HeadDim))
		if s := cfg.RopeScaling; s != nil {
			freq[i] = s.scale(freq[i])
		}
	}
	return freq
}

// scale follows transformers' _compute_llama3_parameters.
func (s *RopeScaling) scale(freq float64) float64 {
	turns := float64(s.OriginalPositions) * freq / (2 * math.Pi) // full turns within the original context
	switch {
	case turns < s.LowFreq:
		return freq / s.Factor
	case turns > s.HighFreq:
		return freq
	}
	smooth := (turns - s.LowFreq) / (s.HighFreq - s.LowFreq)
	return (1-smooth)*freq/s.Factor + smooth*freq
}
