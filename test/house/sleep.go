package house

import (
	"go/ast"
	"slices"
)

// checkSleep finds tests that wait for a guessed time. Between the looks of a
// loop that has a deadline a pause is fine, and inside testing/synctest no time
// passes.
func checkSleep(t *Tree) []Finding {
	var found []Finding
	for _, f := range t.own(true) {
		if !f.Test && ruled(f.Dir) != "test" || importsSynctest(f) {
			continue
		}
		polls := pollingLoops(f)
		for _, at := range uses(f, "time", "Sleep") {
			polling := slices.ContainsFunc(polls, func(loop *ast.ForStmt) bool {
				return loop.Pos() <= at.Pos() && at.End() <= loop.End()
			})
			if !polling {
				found = append(found, t.at(RuleSleep, f, at.Pos(), "tests do not sleep: use testing/synctest, or a loop with a deadline"))
			}
		}
	}
	return found
}

func importsSynctest(f File) bool {
	return slices.ContainsFunc(f.AST.Imports, func(spec *ast.ImportSpec) bool {
		return importPath(spec) == "testing/synctest"
	})
}

// pollingLoops lists the loops that look at a clock or a context.
func pollingLoops(f File) []*ast.ForStmt {
	var loops []*ast.ForStmt
	ast.Inspect(f.AST, func(n ast.Node) bool {
		loop, ok := n.(*ast.ForStmt)
		if !ok {
			return true
		}
		bounded := false
		ast.Inspect(loop, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			bounded = bounded || ok && slices.Contains([]string{"Now", "Since", "Until", "Err", "Done"}, sel.Sel.Name)
			return !bounded
		})
		if bounded {
			loops = append(loops, loop)
		}
		return true
	})
	return loops
}
