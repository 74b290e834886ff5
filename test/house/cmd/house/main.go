// Command house runs the checks of package house that need another tool's
// output. It is called by scripts/lint and scripts/metrics from the root of the
// repository, with what gocyclo prints on standard input:
//
//	gocyclo . | house complexity    # functions over the limit; ends 1 if any
//	gocyclo . | house metrics       # sizes, documentation, tests
//	house check                     # every other rule; ends 1 on a finding
package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/routerd/routerd/test/house"
)

// errFound ends the program with 1 after the findings have been printed.
var errFound = errors.New("house: findings")

func main() {
	command := ""
	if len(os.Args) == 2 {
		command = os.Args[1]
	}
	if err := run(command, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(command string, in io.Reader, out io.Writer) error {
	switch command {
	case "check":
		return check(out)
	case "complexity":
		return complexity(in, out)
	case "metrics":
		return metrics(in, out)
	}
	return fmt.Errorf("house: %q is not a command: check, complexity or metrics", command)
}

func check(out io.Writer) error {
	tree, err := house.Load(".")
	if err != nil {
		return err
	}
	return report(out, house.Check(tree), func(r house.Rule) bool { return r != house.RuleComplexity })
}

func complexity(in io.Reader, out io.Writer) error {
	functions, err := house.ReadComplexity(in)
	if err != nil {
		return err
	}
	return report(out, house.Complexity(functions), func(r house.Rule) bool { return r == house.RuleComplexity })
}

func report(out io.Writer, found []house.Finding, ran func(house.Rule) bool) error {
	content, err := os.ReadFile(house.ExceptionsFile)
	if err != nil {
		return err
	}
	exceptions, err := house.ReadExceptions(string(content))
	if err != nil {
		return err
	}
	found = house.Except(found, exceptions, ran)
	for _, f := range found {
		fmt.Fprintln(out, f)
	}
	if len(found) > 0 {
		return fmt.Errorf("%w: %d", errFound, len(found))
	}
	return nil
}

func metrics(in io.Reader, out io.Writer) error {
	tree, err := house.Load(".")
	if err != nil {
		return err
	}
	functions, err := house.ReadComplexity(in)
	if err != nil {
		return err
	}
	return house.Measure(tree, functions).Write(out)
}
