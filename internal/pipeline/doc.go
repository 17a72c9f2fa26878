// Package pipeline is the stage graph over a run folder: from a data set to a
// report, each stage in a folder of its own.
//
// A stage is finished when its stage.json stands; this manifest holds a
// fingerprint of the stage's configuration and of all that it was made from.
// A run repeats only the stages whose fingerprint changed. A stage that was
// killed goes on from its own state when the fingerprint is still the same,
// and starts anew otherwise. A run that was killed and resumed any number of
// times ends with the same files as one that was not.
package pipeline
