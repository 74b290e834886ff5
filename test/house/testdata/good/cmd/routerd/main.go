// Command routerd is a sample.
package main

import "github.com/routerd/routerd/internal/cli"

var version = "unknown" // set by the linker

func main() { cli.Main(version) }
