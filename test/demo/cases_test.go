package demo

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/routerd/routerd/internal/catalogue"
	"github.com/routerd/routerd/internal/config"
	"github.com/routerd/routerd/internal/steer"
	"github.com/routerd/routerd/test/lab"
)

// known gives the lab's names, and a network that none of them is in.
func known(t *testing.T) (map[string]lab.Name, netip.Prefix) {
	t.Helper()
	names, err := lab.Names()
	if err != nil {
		t.Fatal(err)
	}
	free, err := freeNetwork(names)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]lab.Name{}
	for _, n := range names {
		out[n.Name] = n
		if slices.ContainsFunc(n.A, free.Contains) || slices.ContainsFunc(n.AAAA, netip.MustParsePrefix(network6).Contains) {
			t.Errorf("%s has an address in a network of the demo", n.Name)
		}
	}
	return out, free
}

func everyCase(free netip.Prefix) []Case { return cases(free, netip.MustParsePrefix(network6)) }

// source is the catalogue as steer reads it.
type source struct{ *catalogue.Catalogue }

func (s source) Service(id string) (catalogue.Service, bool) {
	for _, x := range s.Services() {
		if x.ID == id {
			return x, true
		}
	}
	return catalogue.Service{}, false
}

func (s source) Lists(string) []catalogue.Rule { return nil }

func (s source) InCategory(c catalogue.Category) []catalogue.Service {
	return slices.DeleteFunc(slices.Clone(s.Services()), func(x catalogue.Service) bool { return x.Category != c })
}

func (source) File(string) []catalogue.Rule { return nil }

func TestSettingsSendEveryCaseWhereItIsExpected(t *testing.T) {
	_, free := known(t)
	services, err := catalogue.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	text := settings(free, netip.MustParsePrefix(network6)) +
		"\nconfig tunnel 'home'\n\toption type 'interface'\n\toption device 'wg0'\n"
	env, err := config.DefaultEnv()
	if err != nil {
		t.Fatal(err)
	}
	c, problems, err := config.Parse("settings", []byte(text), env)
	if err != nil {
		t.Fatal(err, problems)
	}
	plan, err := steer.Compile(c, source{services})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range everyCase(free) {
		if got := planned(plan, c.Name); got != c.Path {
			t.Errorf("the settings send %s to %s, the demo expects %s", c.Name, got, c.Path)
		}
	}
}

// planned is the path that a plan gives a name or an address while the tunnel
// is up.
func planned(plan *steer.Plan, name string) string {
	find := func() (steer.Chain, catalogue.Rule, bool) { return plan.Rules.Name(name) }
	if a, err := netip.ParseAddr(name); err == nil {
		find = func() (steer.Chain, catalogue.Rule, bool) { return plan.Rules.Address(a) }
	}
	chain, _, ok := find()
	if !ok {
		return pathDirect
	}
	up := map[string]steer.Tunnel{tunnelName: {Up: true}}
	c, _ := steer.Choose(&plan.Destinations[chain[0].Destination], up, steer.Evidence{}, steer.Memory{}, time.Time{})
	return c.Path
}

func TestCasesUseNamesOfTheLabWithTheirPorts(t *testing.T) {
	names, free := known(t)
	for _, c := range everyCase(free) {
		n, ok := names[c.Name]
		if !ok && c.Method != HTTP {
			t.Errorf("the lab has no name %s", c.Name)
		}
		if c.Method == Stratum && !slices.Contains(n.Ports, c.Port) {
			t.Errorf("no Stratum server of %s listens on %d, only on %v", c.Name, c.Port, n.Ports)
		}
		if c.Method == Hinted && n.HTTPS == nil {
			t.Errorf("%s has no HTTPS record", c.Name)
		}
		if c.Family != 4 && c.Family != 6 {
			t.Errorf("%s over IPv%d", c.Name, c.Family)
		}
	}
}

func TestCasesShowBothClientsFamiliesAndEveryPath(t *testing.T) {
	_, free := known(t)
	type seen struct {
		client string
		family int
		path   string
	}
	got := map[seen]bool{}
	for _, c := range everyCase(free) {
		got[seen{c.Client, c.Family, c.Path}] = true
	}
	for _, family := range []int{4, 6} {
		for _, path := range []string{pathTunnel, pathDirect, pathBlock} {
			if !got[seen{lab.Client, family, path}] {
				t.Errorf("client never takes %s over IPv%d", path, family)
			}
		}
		for _, path := range []string{pathTunnel, pathDirect} {
			if !got[seen{lab.Client2, family, path}] {
				t.Errorf("client2 never takes %s over IPv%d", path, family)
			}
		}
	}
}

func TestNeighbouringCasesHaveDifferentAddresses(t *testing.T) {
	names, free := known(t)
	all := everyCase(free)
	for i, c := range all[1:] {
		before := all[i]
		if c.Family != before.Family || c.Method == HTTP || before.Method == HTTP {
			continue
		}
		if slices.ContainsFunc(names[c.Name].A, func(a netip.Addr) bool { return slices.Contains(names[before.Name].A, a) }) {
			t.Errorf("%s comes right after %s, which has its address", c.Name, before.Name)
		}
	}
}

func TestFreeNetworkFailsWhereEveryAddressHasAName(t *testing.T) {
	all := netip.MustParsePrefix(lab.ServerNet4)
	n := lab.Name{Name: "everything.example"}
	for a := all.Addr(); all.Contains(a); a = a.Next() {
		n.A = append(n.A, a)
	}
	if p, err := freeNetwork([]lab.Name{n}); err == nil {
		t.Errorf("got %s", p)
	}
}
