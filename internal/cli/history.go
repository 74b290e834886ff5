package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/routerd/routerd/internal/command"
	"github.com/routerd/routerd/internal/control"
)

func (a *app) historyCommand() *command.Command {
	cmd := &command.Command{
		Use:   "history [NAME]",
		Short: "Draw the last 24 hours of destinations over each path",
		Long: `Draws the last 24 hours of a destination, or without NAME of each, over each
path: one character for each stretch of time, the share of checks that went well,
and their mean round trip. It is kept in memory, since the daemon's
start.`,
		Example: `  routerd history
  routerd history exchanges
  routerd history --json`,
		Args: command.AtMost(1),
	}
	a.socketFlag(cmd)
	asJSON := jsonFlag(cmd)
	cmd.Run = func(ctx context.Context, args []string) error {
		name, err := control.ParseListName(strings.Join(args, ""))
		if err != nil {
			return usageError{err}
		}
		if len(args) > 0 && name == "" {
			return usageError{errors.New("the name of the destination is empty")}
		}
		all, err := a.client().History(ctx, name)
		if err != nil {
			return err
		}
		if *asJSON {
			return a.printJSON(all)
		}
		width, _ := a.term.size()
		return a.print(a.historyLines(all, width)...)
	}
	return cmd
}

// The widths of a line of the history beside its strip.
const (
	historyPath = 12 // the name of a tunnel
	historyRate = 6  // " 100 %"
	historyRTT  = 8
	historyRest = 2 + historyPath + 1 + 2 + historyRate + 1 + historyRTT
)

func (a *app) historyLines(all []control.History, width int) []string {
	if len(all) == 0 {
		return wrap("Nothing has been checked yet: `routerd check` does it now.", "", width)
	}
	var out []string
	for i, h := range all {
		strip := newStrip(h, width-historyRest)
		if i == 0 || all[i-1].Destination != h.Destination {
			if i > 0 {
				out = append(out, "")
			}
			out = append(out, a.term.paint(clean(h.Destination), heading), historyRuler(h, strip))
		}
		out = append(out, a.historyLine(h, strip))
	}
	return append(append(out, ""), wrap(historyLegend(newStrip(all[0], width-historyRest)), "", width)...)
}

// historyRuler says what time the ends and the middle of a strip stand for.
func historyRuler(h control.History, strip []mark) string {
	hours := int(time.Duration(len(h.Slots)*h.SlotS) * time.Second / time.Hour)
	begin, middle, end := fmt.Sprintf("-%dh", hours), fmt.Sprintf("-%dh", hours/2), "now"
	line := fmt.Sprintf("%-*s%s", len(strip)/2, begin, middle)
	line += strings.Repeat(" ", max(len(strip)-len(line)-len(end), 1)) + end
	return strings.Repeat(" ", 2+historyPath+2) + line
}

func (a *app) historyLine(h control.History, strip []mark) string {
	var b strings.Builder
	fmt.Fprintf(&b, "  %-*s |", historyPath, cut(clean(h.Path), historyPath))
	for i := 0; i < len(strip); {
		end := i
		for end < len(strip) && strip[end].tone == strip[i].tone {
			end++
		}
		run := make([]byte, 0, len(strip))
		for _, m := range strip[i:end] {
			run = append(run, m.letter)
		}
		b.WriteString(a.term.paint(string(run), strip[i].tone))
		i = end
	}
	rate := "-"
	if h.OKRate != nil {
		rate = fmt.Sprintf("%.0f %%", *h.OKRate*100)
	}
	fmt.Fprintf(&b, "|%*s %*s", historyRate, rate, historyRTT, rttText(h.RTTMs))
	return b.String()
}

// mark is one character of a strip.
type mark struct {
	letter byte
	tone   tone
}

// newStrip draws slots in at most so many characters, each for as many slots.
func newStrip(h control.History, room int) []mark {
	n := len(h.Slots)
	if n == 0 {
		return nil
	}
	each := max((n+room-1)/room, 1)
	for each < n && n%each != 0 {
		each++
	}
	strip := make([]mark, 0, n/each)
	for i := 0; i < n; i += each {
		strip = append(strip, markOf(h.Slots[i:min(i+each, n)]))
	}
	return strip
}

// markOf puts slots together: "." all went well, the letter of the worst outcome
// where some failed, a capital where all did, a blank where none was made.
func markOf(slots []control.HistorySlot) mark {
	checks, ok, worst := 0, 0, control.HistorySlot{}
	for _, s := range slots {
		checks, ok = checks+s.Checks, ok+s.OK
		if s.Checks-s.OK > 0 && s.Checks-s.OK >= worst.Checks-worst.OK {
			worst = s
		}
	}
	switch {
	case checks == 0:
		return mark{' ', plain}
	case ok == checks:
		return mark{'.', good}
	case ok > 0:
		return mark{outcomeLetter(worst.Outcome), uneasy}
	}
	return mark{outcomeLetter(worst.Outcome) - 'a' + 'A', bad}
}

// outcomeLetter is the letter of an outcome's layer.
func outcomeLetter(outcome string) byte {
	switch layer, _, _ := strings.Cut(outcome, "_"); layer {
	case "dns":
		return 'd'
	case "tcp":
		return 'c'
	case "tls":
		return 't'
	case "http":
		return 'h'
	case "stratum":
		return 's'
	case "stalled":
		return 'f'
	case "service":
		return 'r'
	case "path":
		return 'p'
	}
	return 'x'
}

func historyLegend(strip []mark) string {
	const day = 24 * 60
	return fmt.Sprintf("One character is %d minutes. \".\": every check went well; a letter: some did not, "+
		"a capital: none did, by the layer that failed: d DNS, c connect (TCP), t TLS, h HTTP, s Stratum, "+
		"f frozen transfer, r the service refuses, p the path was down.", day/max(len(strip), 1))
}
