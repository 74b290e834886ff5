package lists

import (
	_ "embed" // suffixes.txt
	"strings"
)

// suffixes are the rules of registries, with two labels or more, of Mozilla's Public
// Suffix List (https://publicsuffix.org, Mozilla Public License 2.0): a line has what
// several of them end with, and then their first labels, "*" for any and "!" before an
// exception; lines are in the order of their first words. They come from
// golang.org/x/net/publicsuffix, which imports net/http; a test holds them to it.
//
//go:embed suffixes.txt
var suffixes string

// isPublicSuffix says whether everybody's names lie below a name that has two labels
// or more: by a rule for it, or by one for all names beside it that makes no exception.
func isPublicSuffix(name string) bool {
	first, parent, ok := strings.Cut(name, ".")
	if !ok {
		return false
	}
	rules := suffixesBelow(parent)
	return hasWord(rules, first) || hasWord(rules, "*") && !hasWord(rules, "!"+first)
}

// suffixesBelow finds the first labels of the rules that end with parent, by halves.
func suffixesBelow(parent string) string {
	from, to := 0, len(suffixes) // both at beginnings of lines
	for from < to {
		at := from + (to-from)/2
		at = from + strings.LastIndexByte(suffixes[from:at], '\n') + 1
		line, _, _ := strings.Cut(suffixes[at:], "\n")
		word, labels, _ := strings.Cut(line, " ")
		switch strings.Compare(word, parent) {
		case 0:
			return labels
		case 1:
			to = at
		default:
			from = at + len(line) + 1
		}
	}
	return ""
}

// hasWord says whether one of the words of a line is this one.
func hasWord(line, word string) bool {
	for line != "" {
		var w string
		if w, line, _ = strings.Cut(line, " "); w == word {
			return true
		}
	}
	return false
}
