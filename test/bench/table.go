package bench

import (
	"fmt"
	"io"
	"slices"
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
// least and the greatest.
func Print(w io.Writer, rows []Row) error {
	_, err := fmt.Fprint(w, "| what | compared with | its value | routerd's | unit | ratio (least–greatest) | meant |\n|---|---|---|---|---|---|---|\n")
	for _, r := range rows {
		if err != nil {
			return err
		}
		ratios, meant := r.ratios(), "–"
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
		_, err = fmt.Fprintf(w, "| %s, %s | %s | %.0f | %.0f | %s | %.3f (%.3f–%.3f) | %s |\n",
			r.What, r.Ours, r.Base, median(r.Theirs), median(r.Got), r.Unit, median(ratios), slices.Min(ratios), slices.Max(ratios), meant)
	}
	return err
}

// median bears a round that other work on the machine has spoilt.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(values))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}
