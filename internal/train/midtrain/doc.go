// Package midtrain makes the examples of tokenised mid-training: next-token
// prediction over interleaved semantic IDs and text, in four tasks (GR2
// section 2; mixture of OneRec-Think).
package midtrain
