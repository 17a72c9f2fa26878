// Package reward is the place of the verifiable rewards of reinforcement
// learning: pure functions from a ranking and its grades to a number (GR2,
// eqs. 5-7). It is empty until the DAPO stage is built.
package reward
