// Package fault gives errors a kind, so that a caller can tell the user's
// mistake from the program's failure without reading the message.
//
// The kind decides the exit code of the command line and the status code of
// the server; see Exit. Messages are one line, name the file, line or field,
// and say what to do.
package fault
