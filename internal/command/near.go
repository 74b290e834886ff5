package command

import (
	"fmt"
	"strings"
)

// nearEnough is how many letters may be wrong in a word that is taken for another.
const nearEnough = 2

// suggestion asks whether the one of names was meant that a word begins or else is
// nearest to; "" if none is near. prefix stands before the name that is shown.
func suggestion(word string, names []string, prefix string) string {
	best, least := "", nearEnough+1
	for _, name := range names {
		d := distance(word, name)
		if word != "" && strings.HasPrefix(name, word) {
			d = 0
		}
		if d < least {
			best, least = name, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %q?", prefix+best)
}

// distance is how many octets have to be put in, taken out or replaced to make b
// of a (Levenshtein's).
func distance(a, b string) int {
	row := make([]int, len(b)+1) // to make the first octets of b of a[:i]
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0]++
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
