package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/routerd/routerd/internal/catalogue"
	"github.com/routerd/routerd/internal/config/uci"
)

// Bounds and defaults of intervals, in seconds.
const (
	defaultCheckInterval = 60 * time.Second
	minCheckInterval     = 10
	maxCheckInterval     = 86400
	defaultListInterval  = 86400 * time.Second
	minListInterval      = 300
	maxListInterval      = 30 * 86400
)

// destination reads a section of type destination.
func (r *reader) destination(s *uci.Section) Destination {
	d := Destination{
		Name: s.Name, Enabled: true, Label: s.Name,
		Policy: PolicyTunnel, Fallback: FallbackBlock, CheckInterval: defaultCheckInterval, CheckDirect: true,
	}
	got := r.decode(s, []field{
		boolField("enabled", &d.Enabled),
		checkedField("label", &d.Label, checkLabel),
		serviceField("service", &d.Services),
		categoryField("category", &d.Categories),
		ruleField("domain", &d.Rules),
		ruleField("address", &d.Rules),
		fileField("file", &d.Files),
		choiceField("policy", &d.Policy, PolicyTunnel, PolicyAuto, PolicyDirect, PolicyBlock),
		tunnelField("tunnel", &d.Tunnels),
		choiceField("fallback", &d.Fallback, FallbackBlock, FallbackDirect),
		clientField("client", &d.Clients),
		clientField("exclude_client", &d.ExcludeClients),
		checkedList("check", &d.Checks, checkTarget),
		secondsField("check_interval", &d.CheckInterval, minCheckInterval, maxCheckInterval),
		boolField("check_direct", &d.CheckDirect),
	})
	destinationNotes(&d, got)
	r.checkClients(s, &d)
	r.destinations[s.Name] = true
	return d
}

// destinationNotes notes what is set and has no effect.
func destinationNotes(d *Destination, got given) {
	if d.Policy == PolicyTunnel || d.Policy == PolicyAuto {
		return
	}
	for _, name := range []string{"tunnel", "fallback"} {
		if v, ok := got[name]; ok {
			v.note("has no effect with policy "+string(d.Policy), "")
		}
	}
}

// list reads a section of type list.
func (r *reader) list(s *uci.Section) List {
	l := List{Name: s.Name, Format: "auto", Interval: defaultListInterval}
	got := r.decode(s, []field{
		checkedField("url", &l.URL, checkListURL),
		choiceField("format", &l.Format, "auto", "plain", "hosts", "dnsmasq", "v2fly", "clash"),
		destinationField("destination", &l.Destination),
		secondsField("interval", &l.Interval, minListInterval, maxListInterval),
	})
	for _, name := range []string{"url", "destination"} {
		if _, ok := got[name]; !ok {
			r.section(s, "a list needs option "+name, "")
		}
	}
	return l
}

// checkDestinations notes destinations that match nothing or have no path.
func (r *reader) checkDestinations(c *Config, sections []*uci.Section) {
	for i := range c.Destinations {
		d, s := &c.Destinations[i], sections[i]
		if !d.Enabled {
			continue
		}
		listed := slices.ContainsFunc(c.Lists, func(l List) bool { return l.Destination == d.Name })
		if !listed && isEmpty(s) {
			r.sectionNote(s, "matches nothing: it has no service, category, domain, address or file", "add a rule, or disable the destination")
		}
		if d.Policy == PolicyTunnel && !r.hasTunnel(d) {
			then := "its connections are blocked until there is one"
			switch {
			case len(c.Tunnels) == 0: // steer.Destination.Unset
				then = "nothing is steered until the settings have a tunnel"
			case d.Fallback == FallbackDirect:
				then = "its connections go direct until there is one"
			}
			r.sectionNote(s, "policy is tunnel and no enabled tunnel is there to use: "+then, "add one with: routerd tunnel import NAME FILE")
		}
	}
}

// isEmpty says whether a destination lists nothing.
func isEmpty(s *uci.Section) bool {
	return !slices.ContainsFunc([]string{"service", "category", "domain", "address", "file"}, func(name string) bool {
		_, ok := s.Option(name)
		return ok
	})
}

// hasTunnel says whether a destination may use an enabled tunnel.
func (r *reader) hasTunnel(d *Destination) bool {
	for name, enabled := range r.tunnels {
		if enabled && (len(d.Tunnels) == 0 || slices.Contains(d.Tunnels, name)) {
			return true
		}
	}
	return false
}

// serviceField takes services of the catalogue.
func serviceField(name string, dst *[]string) field {
	return field{name: name, list: true, set: func(v value) {
		if v.r.env.ServiceExists(v.text) {
			*dst = append(*dst, v.text)
			return
		}
		mend := "`routerd catalogue WORD` finds services; list domain takes names that are in none"
		if slices.Contains(catalogue.Categories(), catalogue.Category(v.text)) {
			mend = fmt.Sprintf("for the whole category write: list category '%s'", v.text)
		} else {
			var ids []string
			for _, s := range v.r.env.Services() {
				ids = append(ids, s.ID)
			}
			mend = cmp.Or(didYouMean(v.text, ids), mend)
		}
		v.fail("is no service of the catalogue", mend)
	}}
}

// categoryField takes categories of the catalogue.
func categoryField(name string, dst *[]catalogue.Category) field {
	return field{name: name, list: true, set: func(v value) {
		if slices.Contains(catalogue.Categories(), catalogue.Category(v.text)) {
			*dst = append(*dst, catalogue.Category(v.text))
			return
		}
		var words []string
		for _, c := range catalogue.Categories() {
			words = append(words, string(c))
		}
		mend := didYouMean(v.text, words)
		if v.r.env.ServiceExists(v.text) {
			mend = fmt.Sprintf("for that service write: list service '%s'", v.text)
		}
		v.fail("is no category: allowed are "+strings.Join(words, ", "), mend)
	}}
}

// ruleField takes rules over names as list domain and over addresses as list
// address.
func ruleField(name string, dst *[]catalogue.Rule) field {
	return field{name: name, list: true, set: func(v value) {
		rule, err := v.r.env.ParseRule(v.text)
		if err != nil {
			v.fail(ruleFault(err), "")
			return
		}
		if want := ruleList(rule); want != name {
			v.fail("belongs in list "+want, fmt.Sprintf("write: list %s '%s'", want, rule))
			return
		}
		*dst = append(*dst, rule)
	}}
}

// ruleFault is what is wrong with a rule, without the rule itself, which a
// problem shows already.
func ruleFault(err error) string {
	if inner := errors.Unwrap(err); inner != nil {
		return inner.Error()
	}
	return err.Error()
}

// ruleList is the option that a rule stands in.
func ruleList(rule catalogue.Rule) string {
	if rule.Kind == catalogue.RuleAddress {
		return "address"
	}
	return "domain"
}

// fileField takes files of rules. A line that is wrong is noted and skipped by
// everyone who reads the file, so that one typing mistake does not take the
// other rules out of force.
func fileField(name string, dst *[]string) field {
	return field{name: name, list: true, set: func(v value) {
		if err := checkAbsolute(v.text); err != nil {
			v.fail(err.Error(), "")
			return
		}
		text, err := v.r.env.ReadFile(v.text)
		if err == nil {
			err = v.noteLines(text)
		}
		if err != nil {
			v.fail("cannot be read: "+cause(err).Error(), "create the file, or remove the line")
			return
		}
		*dst = append(*dst, v.text)
	}}
}

// noteLines notes the first lines of a file of rules that are wrong.
func (v value) noteLines(text []byte) error {
	const most = 5
	_, problems, err := catalogue.ParsePlain(bytes.NewReader(text))
	for i, p := range problems {
		if i == most {
			v.note("has more lines that are wrong and skipped", "")
			break
		}
		v.note("is used without a line that is wrong: "+p.String(), "")
	}
	return err
}

// cause is the innermost error: that of the system, without the path.
func cause(err error) error {
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	return err
}

// tunnelField takes tunnels of this file.
func tunnelField(name string, dst *[]string) field {
	return field{name: name, list: true, set: func(v value) {
		enabled, ok := v.r.tunnels[v.text]
		if !ok {
			names := slices.Sorted(maps.Keys(v.r.tunnels))
			mend := "there is no tunnel yet; add one with: routerd tunnel import NAME FILE"
			if len(names) > 0 {
				mend = cmp.Or(didYouMean(v.text, names), "there are "+strings.Join(names, ", "))
			}
			v.fail("is no tunnel of this file", mend)
			return
		}
		if !enabled {
			v.note("is a tunnel that is disabled", "")
		}
		*dst = append(*dst, v.text)
	}}
}

// destinationField takes a destination of this file.
func destinationField(name string, dst *string) field {
	return field{name: name, set: func(v value) {
		if !v.r.destinations[v.text] {
			v.fail("is no destination of this file", didYouMean(v.text, slices.Sorted(maps.Keys(v.r.destinations))))
			return
		}
		*dst = v.text
	}}
}

// clientField takes clients.
func clientField(name string, dst *[]Client) field {
	return field{name: name, list: true, set: func(v value) {
		c, err := parseClient(v.text)
		if err != nil {
			v.fail(err.Error(), "")
			return
		}
		*dst = append(*dst, c)
	}}
}

// checkClients refuses a client that is included and excluded.
func (r *reader) checkClients(s *uci.Section, d *Destination) {
	o, ok := s.Option("client")
	if !ok {
		return
	}
	for i, text := range o.Values {
		c, err := parseClient(text)
		if err != nil || !slices.ContainsFunc(d.ExcludeClients, c.within) {
			continue
		}
		v := value{r: r, section: s.Ref, option: "client", text: text, line: o.Lines[i]}
		v.fail("is included here and excluded by list exclude_client", "remove one of them")
	}
}

// within says whether every packet of the client c is one of the client wide.
func (c Client) within(wide Client) bool {
	if !c.Prefix.IsValid() || !wide.Prefix.IsValid() {
		return c == wide
	}
	return wide.Prefix.Bits() <= c.Prefix.Bits() && wide.Prefix.Contains(c.Prefix.Addr())
}
