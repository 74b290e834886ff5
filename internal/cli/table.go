package cli

import (
	"strings"
	"unicode/utf8"
)

// gap stands between two columns.
const gap = 2

// column is one column of a table.
type column struct {
	title string
	right bool
	// least is the width down to which the column may be cut where the table
	// is too wide; 0: it is never cut.
	least int
}

// cell is one text of a table.
type cell struct {
	text string
	tone tone
}

// row is one row; note stands below it, indented.
type row struct {
	cells []cell
	note  string
}

// table is rows under titles, fitted to a width.
type table struct {
	columns []column
	rows    []row
}

// text makes a cell without a tone.
func text(s string) cell { return cell{text: s} }

// state makes a cell that has the tone of a state.
func state(s string) cell { return cell{s, stateTone(s)} }

// add appends a row of as many cells as there are columns.
func (t *table) add(note string, cells ...cell) {
	for i := range cells {
		cells[i].text = clean(cells[i].text)
	}
	t.rows = append(t.rows, row{cells, clean(note)})
}

// lines renders the table for a terminal of the given width.
func (t *table) lines(term terminal, width int) []string {
	widths := t.widths(width)
	titles := make([]cell, len(t.columns))
	for i, c := range t.columns {
		titles[i] = cell{c.title, heading}
	}
	out := []string{t.line(term, titles, widths)}
	for _, r := range t.rows {
		out = append(out, t.line(term, r.cells, widths))
		if r.note != "" {
			out = append(out, wrap(r.note, "  ", width)...)
		}
	}
	return out
}

// widths gives each column its width: what its texts need, cut where it may be.
func (t *table) widths(width int) []int {
	widths := make([]int, len(t.columns))
	total := gap * (len(widths) - 1)
	for i, c := range t.columns {
		widths[i] = utf8.RuneCountInString(c.title)
		for _, r := range t.rows {
			widths[i] = max(widths[i], utf8.RuneCountInString(r.cells[i].text))
		}
		total += widths[i]
	}
	for ; total > width; total-- {
		widest := t.widestToCut(widths)
		if widest < 0 {
			break
		}
		widths[widest]--
	}
	return widths
}

// widestToCut is the widest column that can still be cut, or -1.
func (t *table) widestToCut(widths []int) int {
	widest := -1
	for i, c := range t.columns {
		if c.least > 0 && widths[i] > c.least && (widest < 0 || widths[i] > widths[widest]) {
			widest = i
		}
	}
	return widest
}

func (t *table) line(term terminal, cells []cell, widths []int) string {
	var b strings.Builder
	for i, c := range cells {
		s := cut(c.text, widths[i])
		pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(s))
		if i > 0 {
			b.WriteString(strings.Repeat(" ", gap))
		}
		switch {
		case t.columns[i].right:
			b.WriteString(pad + term.paint(s, c.tone))
		case i == len(cells)-1:
			b.WriteString(term.paint(s, c.tone))
		default:
			b.WriteString(term.paint(s, c.tone) + pad)
		}
	}
	return strings.TrimRight(b.String(), " ")
}

// cut shortens a text to n characters; "~" at the end says so.
func cut(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	runes := []rune(s)
	return string(runes[:max(n-1, 0)]) + "~"
}

// wrap breaks a text at spaces into indented lines.
func wrap(s, indent string, width int) []string {
	var out []string
	line := indent
	for word := range strings.FieldsSeq(s) {
		fits := utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) <= width
		switch {
		case line == indent:
			line += word
		case fits:
			line += " " + word
		default:
			out = append(out, line)
			line = indent + word
		}
	}
	if line != indent {
		out = append(out, line)
	}
	return out
}
