// A router's processors stay what they are: without this the runtime wakes up once a
// second to look whether they have become more or less.
//go:debug updatemaxprocs=0

// Command routerd is the daemon and its command line in one binary.
package main

import (
	"os"

	"github.com/routerd/routerd/internal/cli"
)

func main() {
	os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
