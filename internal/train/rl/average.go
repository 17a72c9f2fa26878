package rl

import "github.com/gr2/gr2/internal/lm"

// average is the exponential moving mean of the weights over the steps, the
// policy that is validated and kept in place of the last one: a reward says
// little of a slate, so that the weights of any one step are some way off, each
// in a direction of its own (Polyak and Juditsky 1992).
type average struct {
	decay float32 // of the mean at each step
	model []*lm.Tensor
	mean  []*lm.Tensor
}

// newAverage begins with the weights as they are; nil for no decay, which is the
// last policy itself.
func newAverage(model *lm.Model, decay float64) *average {
	if decay == 0 {
		return nil
	}
	a := &average{decay: float32(decay), model: model.Tensors()}
	for _, t := range a.model {
		a.mean = append(a.mean, &lm.Tensor{Name: "average." + t.Name, Shape: t.Shape, Data: append([]float32{}, t.Data...)})
	}
	return a
}

// tensors are what a checkpoint has to hold.
func (a *average) tensors() []*lm.Tensor {
	if a == nil {
		return nil
	}
	return a.mean
}

// note takes the weights of a step into the mean.
func (a *average) note() {
	if a == nil {
		return
	}
	for i, t := range a.model {
		mean := a.mean[i].Data
		for j, w := range t.Data {
			mean[j] += (1 - a.decay) * (w - mean[j])
		}
	}
}

// swap exchanges the mean and the weights of the model; a second one undoes it.
func (a *average) swap() {
	if a == nil {
		return
	}
	for i, t := range a.model {
		mean := a.mean[i].Data
		for j := range t.Data {
			t.Data[j], mean[j] = mean[j], t.Data[j]
		}
	}
}
