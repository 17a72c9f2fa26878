// Package cli is the command line: flags in, exit code out. Results go to
// stdout (one JSON envelope with --json), logs and progress to stderr. Exit
// codes: 0 done, 1 failed, 2 bad usage, configuration or input.
package cli
