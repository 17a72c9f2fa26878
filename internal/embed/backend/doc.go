// Package backend opens an embedder of any kind by its configuration, stores it
// beside what it embedded, and restores it, so that items which come later get
// vectors of the same space.
//
// What is stored of an LSA model is the model. Of a sentence encoder and an
// endpoint it is where they are and what they are called, with a digest of the
// encoder's files: a restored embedder is the one that was stored, or an error.
// API keys are never stored, only the name of the variable that holds them.
package backend
