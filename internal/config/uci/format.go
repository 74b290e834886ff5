package uci

import "strings"

// Format gives the file as "uci export" without its package line does: what
// the statements come to, with neither comments nor the original layout.
func (f *File) Format() []byte {
	var b strings.Builder
	for _, s := range f.sections {
		b.WriteString("\nconfig " + quoteType(s.Type))
		if s.Name != "" {
			b.WriteString(" " + Quote(s.Name))
		}
		b.WriteByte('\n')
		for _, o := range s.Options {
			keyword := "\toption "
			if o.List {
				keyword = "\tlist "
			}
			for _, v := range o.Values {
				b.WriteString(keyword + o.Name + " " + Quote(v) + "\n")
			}
		}
	}
	b.WriteByte('\n')
	return []byte(b.String())
}
