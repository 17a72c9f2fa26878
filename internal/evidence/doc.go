// Package evidence says what the logs know about each candidate of a slate:
// how strongly it goes with what the user did last, how popular, recent and
// textually close it is, and how far behind the best the legacy ranker puts it.
// The linear control reads the raw values, prompts show a few of them as bucket
// tokens.
//
// Rules that keep evidence honest (they decide whether a policy trained on it
// works at all):
//
//   - Stats are built from the training part of the events only.
//   - Everything counted can be recounted without one fold of the users: for a
//     training slate pass Fold of its user as excludeFold, so that the answer is
//     not counted into the question; pass None at evaluation and serving. Counts
//     are integers, so Raw with an excluded fold equals, bit for bit, Raw of
//     Stats that never saw that fold's users.
//   - Time-aware values (recent30, age, since) look at events strictly before
//     the slate's time. Co-engagement and popularity are those of the whole
//     training part.
//
// Every raw value is finite and at least 0; 0 means none or absent. Stats are
// read-only after Build and safe for concurrent use.
package evidence
