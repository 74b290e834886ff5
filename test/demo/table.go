package demo

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Width is how many columns the report takes at the most.
const Width = 100

// The SGR sequences (ECMA-48) of what is well, wrong or a heading.
const (
	green = "\x1b[32m"
	red   = "\x1b[31m"
	bold  = "\x1b[1m"
	reset = "\x1b[0m"
)

// renderer writes a report for people.
type renderer struct {
	strings.Builder
	color bool
}

// Text is the report as people read it, no line longer than Width; color is for
// terminals that can show it.
func (r Report) Text(color bool) string {
	w := renderer{color: color}
	w.table(r.Rows)
	w.totals(r.Totals)
	w.checks(r.Checks)
	w.end(r)
	return w.String()
}

func (w *renderer) paint(s, escape string) string {
	if !w.color || s == "" {
		return s
	}
	return escape + s + reset
}

// column is one column of the table.
type column struct {
	title string
	right bool
	of    func(Row) string
}

func columns() []column {
	return []column{
		{"FROM", false, func(r Row) string { return r.Client }},
		{"HOW", false, func(r Row) string { return string(r.Method) }},
		{"NAME", false, func(r Row) string { return cut(r.Name, 24) }},
		{"IP", false, func(r Row) string { return "v" + strconv.Itoa(r.Family) }},
		{"ADDRESS", false, address},
		{"PATH", false, func(r Row) string { return cut(r.Path, 12) }},
		{"ISP", true, func(r Row) string { return strconv.FormatUint(r.ISP, 10) }},
		{"EXIT", true, func(r Row) string { return strconv.FormatUint(r.Exit, 10) }},
		{"VERDICT", false, verdict},
	}
}

// address is "-" where the client found none.
func address(r Row) string {
	if !r.Address.IsValid() {
		return "-"
	}
	return r.Address.String()
}

func verdict(r Row) string {
	if r.OK {
		return "ok"
	}
	return "WRONG"
}

// table writes the rows below the headings of their groups; what is wrong with
// a row stands below it.
func (w *renderer) table(rows []Row) {
	all := columns()
	widths := make([]int, len(all))
	for i, c := range all {
		widths[i] = len(c.title)
		for _, r := range rows {
			widths[i] = max(widths[i], utf8.RuneCountInString(c.of(r)))
		}
	}
	titles := make([]string, len(all))
	for i, c := range all {
		titles[i] = pad(c.title, widths[i], c.right)
	}
	w.line(bold, strings.Join(titles, "  "))
	at := ""
	for _, r := range rows {
		if r.Group != at {
			at = r.Group
			w.line("", "")
			w.line(bold, at)
		}
		w.row(all, widths, r)
	}
}

func (w *renderer) row(all []column, widths []int, r Row) {
	cells := make([]string, len(all))
	for i, c := range all {
		cells[i] = pad(c.of(r), widths[i], c.right)
	}
	last := len(cells) - 1
	cells[last] = w.verdict(strings.TrimRight(cells[last], " "), r.OK)
	w.WriteString(strings.Join(cells, "  ") + "\n")
	for _, wrong := range r.Wrong {
		w.wrapped("    ", "    ", wrong)
	}
}

func (w *renderer) verdict(s string, ok bool) string {
	if ok {
		return w.paint(s, green)
	}
	return w.paint(s, red)
}

// line writes one line without blanks at its end.
func (w *renderer) line(escape, s string) {
	w.WriteString(w.paint(strings.TrimRight(s, " "), escape) + "\n")
}

func (w *renderer) totals(t Totals) {
	w.line("", "")
	w.wrapped("", "", "ISP and EXIT are packets to the address, counted outside the router: by the provider behind "+
		"its WAN, and by the tunnel's exit.")
	w.wrapped("", "", fmt.Sprintf("What belongs in the tunnel: %d packets at the exit, %d at the ISP. What does not: "+
		"%d at the ISP, %d at the exit.", t.ListedExit, t.ListedISP, t.UnlistedISP, t.UnlistedExit))
}

func (w *renderer) checks(checks []Check) {
	if len(checks) == 0 {
		return
	}
	w.line("", "")
	for _, c := range checks {
		mark := "ok   "
		if !c.OK {
			mark = "WRONG"
		}
		text := c.What
		if c.Detail != "" {
			text += ": " + c.Detail
		}
		w.wrapped(w.verdict(mark, c.OK)+"  ", "       ", text)
	}
}

func (w *renderer) end(r Report) {
	bad := 0
	for _, row := range r.Rows {
		if !row.OK {
			bad++
		}
	}
	for _, c := range r.Checks {
		if !c.OK {
			bad++
		}
	}
	w.line("", "")
	what := fmt.Sprintf("%d connections and %d checks in %.0f s", len(r.Rows), len(r.Checks), r.Seconds)
	if r.OK {
		w.WriteString(what + ": " + w.paint("all as they must be", green) + "\n")
		return
	}
	w.WriteString(what + ": " + w.paint(fmt.Sprintf("%d WRONG", bad), red) + "\n")
}

// wrapped writes words in lines of up to Width columns behind a first and later
// indents of equal width.
func (w *renderer) wrapped(first, later, text string) {
	room := Width - utf8.RuneCountInString(later)
	line := ""
	for _, word := range strings.Fields(text) {
		word = cut(word, room)
		if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > room {
			w.WriteString(first + line + "\n")
			first, line = later, ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	w.WriteString(first + line + "\n")
}

// cut shortens a text to n characters; "~" at its end says so.
func cut(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "~"
}

func pad(s string, width int, right bool) string {
	blanks := strings.Repeat(" ", max(0, width-utf8.RuneCountInString(s)))
	if right {
		return blanks + s
	}
	return s + blanks
}
