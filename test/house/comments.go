package house

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
)

var (
	// namedHash is a revision that the text itself calls one.
	namedHash = regexp.MustCompile(`(?i)\b(?:commit|fixes:?|revision|sha1?)\s+[0-9a-f]{7,40}\b`)
	// bareHash is as long as git prints them in full or the kernel abbreviates
	// them; letters and digits are asked for apart, Go's patterns cannot.
	bareHash = regexp.MustCompile(`\b(?:[0-9a-f]{40}|[0-9a-f]{12})\b`)
	// ownerless is a task left in the code that names nobody in brackets.
	ownerless = regexp.MustCompile(`\b(?:TODO|FIXME|XXX)\b(?:[^(]|$)`)
	// machinePath is a directory of one developer's machine.
	machinePath = regexp.MustCompile(`(?:^|[\s"'=(:` + "`" + `])(/(?:work|home|Users)/[A-Za-z0-9]\S*|/root/(?:go|\.cache|\.config)\b\S*)`)
)

func checkComments(t *Tree) []Finding {
	var found []Finding
	for _, f := range t.own(true) {
		for _, group := range f.AST.Comments {
			for _, c := range group.List {
				if isHash(c.Text) {
					found = append(found, t.at(RuleHash, f, c.Pos(), "no commit hashes in comments: they mean nothing to a reader of the code"))
				}
				if ownerless.MatchString(c.Text) {
					found = append(found, t.at(RuleTodo, f, c.Pos(), "a TODO names its owner, TODO(name), or is an issue"))
				}
			}
		}
	}
	return found
}

func isHash(comment string) bool {
	if namedHash.MatchString(comment) {
		return true
	}
	for _, word := range bareHash.FindAllString(comment, -1) {
		if strings.ContainsAny(word, "0123456789") && strings.ContainsAny(word, "abcdef") {
			return true
		}
	}
	return false
}

// checkMachinePaths looks at every text, not only at comments.
func checkMachinePaths(t *Tree) []Finding {
	var found []Finding
	for _, text := range t.Texts {
		for i, line := range bytes.Split(text.Content, []byte("\n")) {
			if m := machinePath.FindSubmatch(line); m != nil {
				found = append(found, Finding{
					Rule: RulePath, File: text.Path, Line: i + 1,
					Text: fmt.Sprintf("%s is a path of one machine", m[1]),
				})
			}
		}
	}
	return found
}
