package cli

import (
	"fmt"
	"strings"

	"github.com/routerd/routerd/internal/control"
)

// checkProgress shows checks while they run: a line for each target that is done,
// and on a terminal, below them, the ones under way, painted anew in place.
type checkProgress struct {
	*app
	active      []activeCheck // in the order in which they began
	done, total int
	painted     int // lines at the bottom that the next paint replaces
}

// activeCheck is a target that is being checked.
type activeCheck struct {
	destination, target string
	results             []control.CheckPath
}

func (a *app) newCheckProgress() *checkProgress { return &checkProgress{app: a} }

// begin says that there is something to wait for.
func (p *checkProgress) begin() error {
	if p.term.file == nil {
		return nil
	}
	return p.repaint()
}

// add shows one line of the daemon's.
func (p *checkProgress) add(line control.CheckProgress) error {
	p.done, p.total = line.Done, line.Total
	i := p.find(line)
	if line.Result != nil {
		p.active[i].results = append(p.active[i].results, *line.Result)
	}
	if line.Check != nil {
		p.active = append(p.active[:i], p.active[i+1:]...)
		return p.repaint(p.finished(*line.Check))
	}
	if p.term.file == nil {
		return nil
	}
	return p.repaint()
}

// find gives the place of a target among those under way.
func (p *checkProgress) find(line control.CheckProgress) int {
	for i, c := range p.active {
		if c.destination == line.Destination && c.target == line.Target {
			return i
		}
	}
	p.active = append(p.active, activeCheck{destination: line.Destination, target: line.Target})
	return len(p.active) - 1
}

// end takes away what was painted, and leaves a line's room before the summary.
func (p *checkProgress) end() error {
	if p.term.file != nil {
		p.active = nil
		return p.write(p.above())
	}
	if p.done == 0 {
		return nil
	}
	return p.print("")
}

// finished is the line of a target that is done.
func (p *checkProgress) finished(c control.Check) string {
	return p.fit(fmt.Sprintf("[%d/%d] %s: ", p.done, p.total, p.name(c.Destination, c.Target)), state(c.Verdict), "")
}

// repaint writes finished lines, and on a terminal what is under way below them.
func (p *checkProgress) repaint(finished ...string) error {
	if p.term.file == nil {
		return p.print(finished...)
	}
	var b strings.Builder
	b.WriteString(p.above())
	for _, l := range finished {
		b.WriteString(l + "\n")
	}
	for _, c := range p.active {
		b.WriteString(p.underWay(c) + "\n")
	}
	tally := "checking; Ctrl-C ends"
	if p.total > 0 {
		tally = fmt.Sprintf("%d of %s checked; Ctrl-C ends", p.done, count(p.total, "target", "targets"))
	}
	b.WriteString(p.fit(tally, cell{}, "") + "\n")
	p.painted = len(p.active) + 1
	return p.write(b.String())
}

// above moves to the first painted line and clears from there.
func (p *checkProgress) above() string {
	if p.painted == 0 {
		return ""
	}
	up := fmt.Sprintf("\x1b[%dA", p.painted)
	p.painted = 0
	return up + "\r" + clearBelow
}

// underWay is the line of a target that is being checked, as far as it is.
func (p *checkProgress) underWay(c activeCheck) string {
	var parts []string
	for _, r := range c.results {
		part := r.Path + " " + r.Outcome
		if r.RTTMs != nil {
			part += " " + rttText(r.RTTMs)
		}
		parts = append(parts, part)
	}
	return p.fit("  "+p.name(c.destination, c.target)+": ", cell{}, clean(strings.Join(parts, ", "))+" ...")
}

// name names a target of a destination.
func (*checkProgress) name(destination, target string) string {
	if destination == "" {
		return clean(target)
	}
	return clean(destination + " " + target)
}

// fit puts a line together: a beginning, a coloured word and an end. Where the line
// would be longer than the terminal is wide, the beginning is cut, then the end.
func (p *checkProgress) fit(begin string, word cell, end string) string {
	width, _ := p.term.size()
	word.text = clean(word.text)
	end = cut(end, max(width-1-minBegin-len(word.text), 0))
	if room := width - 1 - len(word.text) - len(end); len(begin) > room {
		begin = cut(strings.TrimSuffix(begin, colon), room-len(colon)) + colon
	}
	return begin + p.term.paint(word.text, word.tone) + end
}

// colon ends the beginning of a line.
const colon = ": "

// minBegin is how much of a line's beginning is kept whatever stands after it.
const minBegin = 30
