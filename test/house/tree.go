package house

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// Module is the path that the imports of our own packages begin with.
const Module = "github.com/routerd/routerd"

// maxText bounds the files that are read; larger ones are data.
const maxText = 1 << 20

// Finding is one deviation from a rule.
type Finding struct {
	Rule Rule
	File string // relative to the root, with slashes
	Line int    // from 1
	Func string // function or method ("T.M") that it concerns, or ""
	Text string
}

// Subject is the name of what a finding is about in exceptions.txt.
func (f Finding) Subject() string {
	if f.Func == "" {
		return f.File
	}
	return f.File + ":" + f.Func
}

// String gives the finding as compilers do: file:line: rule: text.
func (f Finding) String() string {
	return fmt.Sprintf("%s:%d: %s: %s", f.File, f.Line, f.Rule, f.Text)
}

// Text is one file of the tree that is not binary.
type Text struct {
	Path    string // relative to the root, with slashes
	Content []byte
	Mode    fs.FileMode
}

// Ext is the extension with its dot, or ".sh" for a script that says so in its
// first line only.
func (t Text) Ext() string {
	if bytes.HasPrefix(t.Content, []byte("#!/bin/sh")) || bytes.HasPrefix(t.Content, []byte("#!/usr/bin/env bash")) {
		return ".sh"
	}
	return path.Ext(t.Path)
}

// Lines is the number of lines.
func (t Text) Lines() int { return bytes.Count(t.Content, []byte("\n")) }

// File is one parsed Go file.
type File struct {
	Text
	Dir       string // directory, "." for the root
	AST       *ast.File
	Generated bool
	Test      bool // name ends in _test.go
}

// Tree is what is checked.
type Tree struct {
	Texts []Text   // every text file, Go files included, in order of path
	Files []File   // every Go file, in order of path
	Paths []string // every regular file, pictures and large ones included
	fset  *token.FileSet
}

// Load reads the tree below root: everything but hidden directories, build
// output, test data and modules of their own.
func Load(root string) (*Tree, error) {
	t := &Tree{fset: token.NewFileSet()}
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name != root && skipDir(name) {
				return fs.SkipDir
			}
			return nil
		}
		return t.add(root, name, d)
	})
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", root, err)
	}
	return t, nil
}

func skipDir(name string) bool {
	switch base := filepath.Base(name); {
	case base == ".ci":
		return false
	case base == "testdata" || base == "build" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_"):
		return true
	}
	_, err := os.Stat(filepath.Join(name, "go.mod"))
	return err == nil && filepath.Base(name) != "tools"
}

func (t *Tree) add(root, name string, d fs.DirEntry) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return nil
	}
	rel, err := filepath.Rel(root, name)
	if err != nil {
		return err
	}
	t.Paths = append(t.Paths, filepath.ToSlash(rel))
	if info.Size() > maxText {
		return nil
	}
	content, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if bytes.IndexByte(content, 0) >= 0 {
		return nil
	}
	text := Text{Path: filepath.ToSlash(rel), Content: content, Mode: info.Mode()}
	t.Texts = append(t.Texts, text)
	if !strings.HasSuffix(name, ".go") {
		return nil
	}
	parsed, err := parser.ParseFile(t.fset, text.Path, content, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	t.Files = append(t.Files, File{
		Text: text, Dir: path.Dir(text.Path), AST: parsed,
		Generated: ast.IsGenerated(parsed), Test: strings.HasSuffix(name, "_test.go"),
	})
	return nil
}

// own gives the Go files that people write; tests says whether to include
// those of tests.
func (t *Tree) own(tests bool) []File {
	var files []File
	for _, f := range t.Files {
		if !f.Generated && (tests || !f.Test) {
			files = append(files, f)
		}
	}
	return files
}

func (t *Tree) line(pos token.Pos) int { return t.fset.Position(pos).Line }

// at makes a finding about a place in a Go file.
func (t *Tree) at(rule Rule, f File, pos token.Pos, format string, args ...any) Finding {
	return Finding{Rule: rule, File: f.Path, Line: t.line(pos), Text: fmt.Sprintf(format, args...)}
}
