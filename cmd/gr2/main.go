// Command gr2 is an end-to-end generative reasoning re-ranker.
package main

import (
	"os"

	"github.com/gr2/gr2/internal/cli"
)

func main() {
	os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
