// Command routerd is a sample.
package main

import "github.com/routerd/routerd/internal/cli"

func main() { cli.Main() }
