package cli

import (
	"fmt"
	"io"
	"strings"
)

// Sequences of ECMA-48 and xterm that every terminal in use knows or ignores.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l" // the other screen, no cursor
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	goHome      = "\x1b[H"
	clearRight  = "\x1b[K"
	clearBelow  = "\x1b[J"
)

// screen repaints a terminal in place. It changes no mode of the terminal's
// line, so that Ctrl-C goes on working.
type screen struct {
	out  io.Writer
	open bool
}

// paint shows the lines, as many as there are rows.
func (s *screen) paint(lines []string, rows int) error {
	var b strings.Builder
	if !s.open {
		b.WriteString(enterScreen)
		s.open = true
	}
	b.WriteString(goHome)
	for _, l := range fitRows(lines, rows) {
		b.WriteString(l + clearRight + "\r\n")
	}
	b.WriteString(clearBelow)
	if _, err := io.WriteString(s.out, b.String()); err != nil {
		return fmt.Errorf("paint the terminal: %w", err)
	}
	return nil
}

// fitRows leaves room for the cursor's line and says what is not shown.
func fitRows(lines []string, rows int) []string {
	if rows <= 1 || len(lines) < rows {
		return lines
	}
	keep := max(rows-2, 0)
	hidden := len(lines) - keep
	return append(lines[:keep:keep], fmt.Sprintf("... and %d more", hidden))
}

// close gives the terminal back as it was before paint.
func (s *screen) close() {
	if s.open {
		_, _ = io.WriteString(s.out, leaveScreen)
		s.open = false
	}
}
