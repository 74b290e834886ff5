package cli

import (
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// plainWidth is how wide tables are where no terminal says otherwise.
const plainWidth = 80

// minWidth is the narrowest terminal that tables are fitted to.
const minWidth = 40

// terminal is what the output goes to.
type terminal struct {
	file  *os.File // nil: not a terminal
	color bool
}

// newTerminal looks at the output. Colours are used on a terminal unless
// NO_COLOR is set (no-color.org) or the terminal is a dumb one, which is not
// repainted either.
func newTerminal(out io.Writer, env func(string) string) terminal {
	f, ok := out.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) || env("TERM") == "dumb" {
		return terminal{}
	}
	return terminal{file: f, color: env("NO_COLOR") == ""}
}

// size gives columns and rows. Away from a terminal there is no end of rows: 0.
func (t terminal) size() (columns, rows int) {
	if t.file == nil {
		return plainWidth, 0
	}
	columns, rows, err := term.GetSize(int(t.file.Fd()))
	if err != nil || columns == 0 { // a serial console does not know
		return plainWidth, 24
	}
	return max(columns, minWidth), rows
}

// tone is the meaning of a word, shown as its colour.
type tone uint8

const (
	plain tone = iota
	good
	uneasy
	bad
	heading
)

// escape is the SGR sequence (ECMA-48) that begins a tone.
func (t tone) escape() string {
	switch t {
	case good:
		return "\x1b[32m"
	case uneasy:
		return "\x1b[33m"
	case bad:
		return "\x1b[31m"
	case heading:
		return "\x1b[1m"
	default:
		return ""
	}
}

// paint colours a text where colours are wanted.
func (t terminal) paint(s string, as tone) string {
	if !t.color || as.escape() == "" || s == "" {
		return s
	}
	return as.escape() + s + "\x1b[0m"
}

// clean takes from a foreign text what would command the terminal.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}

// stateTone is the tone of the states of tunnels, destinations and findings.
func stateTone(state string) tone {
	switch state {
	case "ok", "up", "reachable":
		return good
	case "degraded", "connecting", "blocked", "warning", "note", "service_refused", "service_down", "http_error", "stratum_rejected":
		return uneasy
	case "down", "error", "fault", "interfered", "offline":
		return bad
	default:
		return plain
	}
}
