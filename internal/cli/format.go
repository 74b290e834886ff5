package cli

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// print writes lines to stdout.
func (a *app) print(lines ...string) error {
	if len(lines) == 0 {
		return nil
	}
	return a.write(strings.Join(lines, "\n") + "\n")
}

func (a *app) write(s string) error {
	if _, err := a.stdout.Write([]byte(s)); err != nil {
		return fmt.Errorf("write the output: %w", err)
	}
	return nil
}

// printJSON writes one value, indented for people.
func (a *app) printJSON(v any) error {
	out, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	return a.write(string(out) + "\n")
}

// printJSONLine writes one value on one line.
func (a *app) printJSONLine(v any) error {
	out, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	return a.write(string(out) + "\n")
}

// printTable fits a table to the terminal and writes it.
func (a *app) printTable(t *table) error {
	width, _ := a.term.size()
	return a.print(t.lines(a.term, width)...)
}

// bytesText writes a number of bytes in units of 1024 in at most 7 characters.
func bytesText(n uint64) string {
	if n < 1024 {
		return strconv.FormatUint(n, 10) + "B"
	}
	v, units := float64(n)/1024, "KMGTPE"
	for v >= 1023.95 && len(units) > 1 { // would read 1024.0
		v, units = v/1024, units[1:]
	}
	return fmt.Sprintf("%.1f%c", v, units[0])
}

// ageText writes seconds as their two greatest units.
func ageText(seconds int64) string {
	s := max(seconds, 0)
	switch {
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 3600:
		return fmt.Sprintf("%dm %ds", s/60, s%60)
	case s < 86400:
		return fmt.Sprintf("%dh %dm", s/3600, s%3600/60)
	}
	return fmt.Sprintf("%dd %dh", s/86400, s%86400/3600)
}

// shortAge writes seconds as their greatest unit.
func shortAge(seconds int64) string {
	age, _, _ := strings.Cut(ageText(seconds), " ")
	return age
}

// agoText says when something was, "never" for nil.
func agoText(seconds *int64) string {
	if seconds == nil {
		return "never"
	}
	return shortAge(*seconds) + " ago"
}

// rttText writes milliseconds, "-" for nil.
func rttText(ms *float64) string {
	switch {
	case ms == nil:
		return "-"
	case *ms < 10:
		return fmt.Sprintf("%.1f ms", *ms)
	}
	return fmt.Sprintf("%.0f ms", *ms)
}

// timeText writes a time with its zone: on OpenWrt that is mostly UTC, since
// Go does not read /etc/TZ.
func (a *app) timeText(t time.Time) string {
	return t.In(a.zone).Format("2006-01-02 15:04:05Z07:00")
}

// orDash is for a column that would be empty.
func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// count writes a number with its noun.
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}
