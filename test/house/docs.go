package house

import (
	"go/ast"
	"go/token"
	"go/types"
	"slices"
	"strings"
)

// Exported is one name that other packages, or readers of the documentation,
// see.
type Exported struct {
	file       File
	pos        token.Pos
	Name       string
	Documented bool
}

// Names lists the packages and the exported names of a tree, without tests.
func Names(t *Tree) []Exported {
	var all []Exported
	for _, files := range t.packages() {
		if pkg, ok := packageName(files); ok {
			all = append(all, pkg)
		}
	}
	for _, f := range t.own(false) {
		for _, decl := range f.AST.Decls {
			switch decl := decl.(type) {
			case *ast.FuncDecl:
				if decl.Name.IsExported() && (decl.Recv == nil || ast.IsExported(receiver(decl))) {
					all = append(all, Exported{f, decl.Pos(), functionName(decl), decl.Doc != nil})
				}
			case *ast.GenDecl:
				all = append(all, specNames(f, decl)...)
			}
		}
	}
	return all
}

// packageName is the entry of a package itself; packages of tests only and of
// generated code only have none.
func packageName(files []File) (Exported, bool) {
	var first *File
	documented := false
	for i, f := range files {
		if f.Test || f.Generated {
			continue
		}
		if first == nil {
			first = &files[i]
		}
		documented = documented || f.AST.Doc != nil
	}
	if first == nil {
		return Exported{}, false
	}
	return Exported{*first, first.AST.Name.Pos(), "package " + first.AST.Name.Name, documented}, true
}

// specNames lists the exported types, constants and variables of a
// declaration. A comment over a group documents constants and variables of it.
func specNames(f File, gen *ast.GenDecl) []Exported {
	var all []Exported
	for _, s := range gen.Specs {
		switch spec := s.(type) {
		case *ast.TypeSpec:
			documented := spec.Doc != nil || gen.Doc != nil && !gen.Lparen.IsValid()
			all = append(all, exported(f, documented, spec.Name)...)
		case *ast.ValueSpec:
			documented := spec.Doc != nil || spec.Comment != nil || gen.Doc != nil
			all = append(all, exported(f, documented, spec.Names...)...)
		}
	}
	return all
}

func exported(f File, documented bool, names ...*ast.Ident) []Exported {
	var all []Exported
	for _, name := range names {
		if name.IsExported() {
			all = append(all, Exported{f, name.Pos(), name.Name, documented})
		}
	}
	return all
}

func checkDocs(t *Tree) []Finding {
	var found []Finding
	for _, name := range Names(t) {
		if !name.Documented {
			found = append(found, t.at(RuleDoc, name.file, name.pos, "%s has no comment that says its contract", name.Name))
		}
	}
	return found
}

// checkGuards asks for every mutex of a struct what it guards: in a comment of
// its own, or as "guarded by mu" at what it guards.
func checkGuards(t *Tree) []Finding {
	var found []Finding
	for _, f := range t.own(false) {
		ast.Inspect(f.AST, func(n ast.Node) bool {
			structure, ok := n.(*ast.StructType)
			if !ok {
				return true
			}
			for _, field := range structure.Fields.List {
				if isMutex(field) && !guards(structure, field) {
					found = append(found, t.at(RuleGuard, f, field.Pos(), "%s needs a comment that names what it guards", field.Names[0].Name))
				}
			}
			return true
		})
	}
	return found
}

func isMutex(field *ast.Field) bool {
	kind := types.ExprString(field.Type)
	return len(field.Names) > 0 && (kind == "sync.Mutex" || kind == "sync.RWMutex")
}

func guards(structure *ast.StructType, mutex *ast.Field) bool {
	if mutex.Doc != nil || mutex.Comment != nil {
		return true
	}
	return slices.ContainsFunc(structure.Fields.List, func(field *ast.Field) bool {
		words := "guarded by " + mutex.Names[0].Name
		return strings.Contains(field.Doc.Text(), words) || strings.Contains(field.Comment.Text(), words)
	})
}

// checkGoroutines asks every go statement for a comment above it, beside it or
// at the start of its function: who owns it and when it ends.
func checkGoroutines(t *Tree) []Finding {
	var found []Finding
	for _, f := range t.own(false) {
		commented := map[int]bool{}
		for _, group := range f.AST.Comments {
			for line := t.line(group.Pos()); line <= t.line(group.End()); line++ {
				commented[line] = true
			}
		}
		ast.Inspect(f.AST, func(n ast.Node) bool {
			start, ok := n.(*ast.GoStmt)
			if !ok || strings.HasPrefix(f.Dir, "test") {
				return true
			}
			// Up to two lines, such as wg.Add, may stand between.
			for line := t.line(start.Pos()) - 3; line <= t.line(start.Pos())+1; line++ {
				if commented[line] {
					return true
				}
			}
			found = append(found, t.at(RuleGoroutine, f, start.Pos(), "a goroutine needs a comment that says who waits for it and what ends it"))
			return true
		})
	}
	return found
}
