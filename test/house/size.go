package house

import (
	"bufio"
	"fmt"
	"go/ast"
	"io"
	"regexp"
	"strconv"
	"strings"
)

// The limits. They are those of the projects that this one learns from, or
// tighter.
const (
	MaxFunctionLines = 60
	MaxFileLines     = 500
	MaxComplexity    = 10
)

// Function is one function or method that people wrote.
type Function struct {
	File       string
	Line       int
	Name       string // "F", or "T.M" for a method
	Lines      int    // of tests: without their tables
	Complexity int    // 0 where it was not measured
	Test       bool
}

// Functions lists the functions of a tree with their lengths.
func Functions(t *Tree) []Function {
	var all []Function
	for _, f := range t.own(true) {
		for _, decl := range f.AST.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			lines := t.line(fn.End()) - t.line(fn.Pos()) + 1
			if f.Test {
				lines -= t.tableLines(fn)
			}
			all = append(all, Function{File: f.Path, Line: t.line(fn.Pos()), Name: functionName(fn), Lines: lines, Test: f.Test})
		}
	}
	return all
}

func functionName(fn *ast.FuncDecl) string {
	if fn.Recv == nil || len(fn.Recv.List) == 0 {
		return fn.Name.Name
	}
	return receiver(fn) + "." + fn.Name.Name
}

// receiver is the name of the type that a method belongs to.
func receiver(fn *ast.FuncDecl) string {
	name := "?"
	ast.Inspect(fn.Recv.List[0].Type, func(n ast.Node) bool {
		id, ok := n.(*ast.Ident)
		if ok && name == "?" {
			name = id.Name
		}
		return name == "?"
	})
	return name
}

// tableLines counts the lines of composite literals: a test's table of cases
// may be as long as there are cases.
func (t *Tree) tableLines(fn *ast.FuncDecl) int {
	lines := 0
	ast.Inspect(fn, func(n ast.Node) bool {
		lit, ok := n.(*ast.CompositeLit)
		if !ok {
			return true
		}
		lines += t.line(lit.End()) - t.line(lit.Pos())
		return false
	})
	return lines
}

func checkFunctionLength(t *Tree) []Finding {
	var found []Finding
	for _, fn := range Functions(t) {
		if fn.Lines > MaxFunctionLines {
			found = append(found, Finding{
				Rule: RuleFunctionLength, File: fn.File, Line: fn.Line, Func: fn.Name,
				Text: fmt.Sprintf("%s has %d lines, at most %d are allowed", fn.Name, fn.Lines, MaxFunctionLines),
			})
		}
	}
	return found
}

func checkFileLength(t *Tree) []Finding {
	generated := map[string]bool{}
	for _, f := range t.Files {
		generated[f.Path] = f.Generated
	}
	var found []Finding
	for _, text := range t.Texts {
		if !isSource(text.Ext()) || generated[text.Path] || text.Lines() <= MaxFileLines {
			continue
		}
		found = append(found, Finding{
			Rule: RuleFileLength, File: text.Path, Line: text.Lines(),
			Text: fmt.Sprintf("%d lines, at most %d are allowed", text.Lines(), MaxFileLines),
		})
	}
	return found
}

func isSource(ext string) bool {
	switch ext {
	case ".go", ".c", ".h", ".sh", ".js":
		return true
	}
	return false
}

// gocycloLine is "complexity package function file:line:column"; the function
// is "F", "T.M", "(T).M" or "(*T).M".
var gocycloLine = regexp.MustCompile(`^(\d+) \S+ (.+) (\S+):(\d+):\d+$`)

// ReadComplexity reads what gocyclo prints.
func ReadComplexity(r io.Reader) ([]Function, error) {
	var all []Function
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		m := gocycloLine.FindStringSubmatch(lines.Text())
		if m == nil {
			return nil, fmt.Errorf("read gocyclo line %q: not in the form of gocyclo", lines.Text())
		}
		n, err := strconv.Atoi(m[1])
		if err != nil {
			return nil, fmt.Errorf("read gocyclo line %q: %w", lines.Text(), err)
		}
		line, err := strconv.Atoi(m[4])
		if err != nil {
			return nil, fmt.Errorf("read gocyclo line %q: %w", lines.Text(), err)
		}
		all = append(all, Function{
			File: m[3], Line: line, Name: strings.NewReplacer("(", "", ")", "", "*", "").Replace(m[2]),
			Complexity: n, Test: strings.HasSuffix(m[3], "_test.go"),
		})
	}
	return all, lines.Err()
}

// Complexity finds the functions that are over MaxComplexity.
func Complexity(all []Function) []Finding {
	var found []Finding
	for _, fn := range all {
		if fn.Complexity > MaxComplexity {
			found = append(found, Finding{
				Rule: RuleComplexity, File: fn.File, Line: fn.Line, Func: fn.Name,
				Text: fmt.Sprintf("%s has cyclomatic complexity %d, at most %d is allowed", fn.Name, fn.Complexity, MaxComplexity),
			})
		}
	}
	return found
}
