package bench

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
)

// ratios are what was got by what it is compared with, round by round.
func (r Row) ratios() []float64 {
	var out []float64
	for i := range min(len(r.Theirs), len(r.Got)) {
		out = append(out, r.Got[i]/r.Theirs[i])
	}
	return out
}

// met says whether the median ratio is what is meant.
func (r Row) met() bool {
	m := median(r.ratios())
	switch {
	case r.Target == 0:
		return true
	case r.More:
		return m >= r.Target
	}
	return m <= r.Target
}

// Print writes rows as a table in Markdown: medians, and of the ratios also the
// quartiles.
func Print(w io.Writer, rows []Row) error {
	_, err := fmt.Fprint(w, "| what | compared with | its value | routerd's | unit | ratio (quartiles) | meant |\n|---|---|---|---|---|---|---|\n")
	for _, r := range rows {
		if err != nil {
			return err
		}
		ratios, meant, theirs, ratio := r.ratios(), "–", "–", "–"
		if len(ratios) > 0 {
			theirs = number(median(r.Theirs))
			ratio = fmt.Sprintf("%.3f (%.3f–%.3f)", median(ratios), quantile(ratios, 0.25), quantile(ratios, 0.75))
		}
		if r.Target != 0 {
			sign, word := "≤", "met"
			if r.More {
				sign = "≥"
			}
			if !r.met() {
				word = "**not met**"
			}
			meant = fmt.Sprintf("%s %.2f, %s", sign, r.Target, word)
		}
		_, err = fmt.Fprintf(w, "| %s, %s | %s | %s | %s | %s | %s | %s |\n",
			r.What, r.Ours, r.Base, theirs, number(median(r.Got)), r.Unit, ratio, meant)
	}
	return err
}

// median bears a round that other work on the machine has spoilt.
func median(values []float64) float64 { return quantile(values, 0.5) }

// quantile is the value that a share of all lies below, between two of them in
// proportion.
func quantile(values []float64, share float64) float64 {
	if len(values) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(values))
	at := share * float64(len(s)-1)
	below := int(at)
	above := min(below+1, len(s)-1)
	return s[below] + (s[above]-s[below])*(at-float64(below))
}

// number is a value with three digits that tell, or with all that it has.
func number(v float64) string {
	switch {
	case v < 10:
		return fmt.Sprintf("%.2f", v)
	case v < 100:
		return fmt.Sprintf("%.1f", v)
	}
	return thousands(int(math.Round(v)))
}

// thousands is a whole number as people write it.
func thousands(n int) string {
	if n < 1000 {
		return strconv.Itoa(n)
	}
	return fmt.Sprintf("%s,%03d", thousands(n/1000), n%1000)
}
