// Package compress is the place of the context compressor (GR2, eqs. 10-11).
// It is empty until that stage is built.
package compress
