// Command routerd is the daemon and its command line in one binary.
package main

import (
	"os"

	"github.com/routerd/routerd/internal/cli"
)

func main() {
	os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
