package config

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// house is a file as somebody may have written it.
const house = `# my router
config routerd 'main'

config destination 'exchanges' # trading
	list category "exchange"
	list domain Example.org # ours
	option policy block

config destination 'pools'
	option domain 'pool.example.com'
	list address '203.0.113.0/24'
	list address '203.0.113.7/32'
	option policy block

config tunnel 'inline'
	option type wireguard
	option private_key 'hush'
	list address '10.9.0.2/32'
	option priority 5 # first

config tunnel 'awg'
	option type interface # the other one
	option device awg0
`

func TestChangesTouchNothingElse(t *testing.T) {
	replace := func(old, new string) string {
		if !strings.Contains(house, old) {
			t.Fatalf("%q is not in the file", old)
		}
		return strings.Replace(house, old, new, 1)
	}
	for _, tt := range []struct {
		name   string
		change func(path string) error
		want   string
	}{
		{"add a name", func(p string) error { return AddRule(p, "exchanges", "API.example.net.") }, replace("# ours\n", "# ours\n\tlist domain 'api.example.net'\n")},
		{"add one name only", func(p string) error { return AddRule(p, "exchanges", "full:api.example.net") }, replace("# ours\n", "# ours\n\tlist domain 'full:api.example.net'\n")},
		{"add an address", func(p string) error { return AddRule(p, "exchanges", "2001:DB8::1") }, replace("block\n\nconfig destination 'pools'", "block\n\tlist address '2001:db8::1'\n\nconfig destination 'pools'")},
		{"add a network to a list", func(p string) error { return AddRule(p, "pools", "198.51.100.0/24") }, replace("7/32'\n", "7/32'\n\tlist address '198.51.100.0/24'\n")},
		{"add a name where an option is", func(p string) error { return AddRule(p, "pools", "example.net") }, replace("pool.example.com'\n", "pool.example.com'\n\tlist domain 'example.net'\n")},
		{"add what is there already", func(p string) error { return AddRule(p, "exchanges", "domain:EXAMPLE.org") }, house},
		{"add an address that is there already", func(p string) error { return AddRule(p, "pools", "203.0.113.7") }, house},
		{"remove a name", func(p string) error { return removed(p, "example.org", "exchanges") }, replace("list domain Example.org # ours", "# ours")},
		{"remove an address", func(p string) error { return removed(p, "203.0.113.7", "pools") }, replace("\tlist address '203.0.113.7/32'\n", "")},
		{"remove what stands as an option", func(p string) error { return removed(p, "domain:pool.example.com", "pools") }, replace("\toption domain 'pool.example.com'\n", "")},
		{"add a tunnel", func(p string) error { return AddTunnel(p, "home", "/etc/routerd/home.conf", false) }, house + "\nconfig tunnel 'home'\n\toption config '/etc/routerd/home.conf'\n"},
		{"replace an inline tunnel", func(p string) error { return AddTunnel(p, "inline", "/etc/routerd/x.conf", true) }, replace("\toption private_key 'hush'\n\tlist address '10.9.0.2/32'\n\toption priority 5 # first\n", "\toption priority 5 # first\n\toption config '/etc/routerd/x.conf'\n")},
		{"replace an interface", func(p string) error { return AddTunnel(p, "awg", "/etc/routerd/x.conf", true) }, replace("interface # the other one\n\toption device awg0\n", "'wireguard' # the other one\n\toption config '/etc/routerd/x.conf'\n")},
		{"replace where there is none", func(p string) error { return AddTunnel(p, "home", "/a", true) }, house + "\nconfig tunnel 'home'\n\toption config '/a'\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := settings(t, house)
			for range 2 { // the second time changes nothing more, or is refused
				err := tt.change(path)
				if d := cmp.Diff(tt.want, content(t, path)); d != "" {
					t.Fatalf("%v %s", err, d)
				}
			}
			if _, problems, err := Load(path); err != nil {
				t.Errorf("%v %v", problems, err)
			}
		})
	}
}

// removed removes a rule and checks where it was.
func removed(path, rule string, want ...string) error {
	from, err := RemoveRule(path, rule)
	if err == nil && !cmp.Equal(want, from) {
		return errors.New("removed from " + strings.Join(from, ", "))
	}
	return err
}

func TestRemoveRuleNamesAllDestinations(t *testing.T) {
	path := settings(t, house)
	for _, d := range []string{"pools", "exchanges"} {
		if err := AddRule(path, d, "example.com"); err != nil {
			t.Fatal(err)
		}
	}
	from, err := RemoveRule(path, "example.com")
	if d := cmp.Diff([]string{"exchanges", "pools"}, from); d != "" || err != nil {
		t.Errorf("%v %s", err, d)
	}
	if d := cmp.Diff(house, content(t, path)); d != "" {
		t.Error(d)
	}
}

func TestReplaceKeepsAFileThatIsTheSame(t *testing.T) {
	text := house + "config tunnel 'home'\n\toption config \"/etc/routerd/home.conf\"\n"
	path := settings(t, text)
	if err := AddTunnel(path, "home", "/etc/routerd/home.conf", true); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(text, content(t, path)); d != "" {
		t.Error(d)
	}
	if err := AddTunnel(path, "home", "/etc/routerd/new.conf", true); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(strings.Replace(text, `"/etc/routerd/home.conf"`, "'/etc/routerd/new.conf'", 1), content(t, path)); d != "" {
		t.Error(d)
	}
}

func TestChangesAreRefusedAndWriteNothing(t *testing.T) {
	wrong := house + "config tunnel 'b'\n"
	full := head
	for i := range 13 {
		full += fmt.Sprintf("config tunnel t%d\n\toption config /a\n", i)
	}
	const says = `nothing was changed, there is an error already: PATH: settings are not valid: line 24, section b: has neither option config`
	for _, tt := range []struct {
		name, text string
		change     func(path string) error
		is         error
		want       string
	}{
		{"not a rule", house, func(p string) error { return AddRule(p, "pools", "example") }, nil, `add rule "example": a single word would be the whole top-level domain`},
		{"no such destination", house, func(p string) error { return AddRule(p, "pool", "example.net") }, errNoDestination, `destination "pool": no such destination in PATH; did you mean "pools"?`},
		{"no destination by far", house, func(p string) error { return AddRule(p, "everything", "example.net") }, errNoDestination, `destination "everything": no such destination in PATH; there are exchanges, pools`},
		{"no destination at all", head, func(p string) error { return AddRule(p, "x", "example.net") }, errNoDestination, `destination "x": no such destination in PATH; there is none yet`},
		{"a tunnel is no destination", house, func(p string) error { return AddRule(p, "awg", "example.net") }, errNoDestination, `destination "awg": no such destination`},
		{"add to a wrong file", wrong, func(p string) error { return AddRule(p, "pools", "example.net") }, ErrInvalid, says},
		{"remove from a wrong file", wrong, func(p string) error { _, err := RemoveRule(p, "example.org"); return err }, ErrInvalid, says},
		{"remove what is not there", house, func(p string) error { _, err := RemoveRule(p, "example.net"); return err }, errNoRule, "remove rule \"example.net\": no destination lists it as a rule of its own; `routerd why` tells whether it belongs to a service"},
		{"remove what is no rule", house, func(p string) error { _, err := RemoveRule(p, "example"); return err }, nil, `remove rule "example": a single word`},
		{"tunnel exists", house, func(p string) error { return AddTunnel(p, "awg", "/a", false) }, ErrTunnelExists, `add tunnel awg: there is a tunnel of that name`},
		{"name of a destination", house, func(p string) error { return AddTunnel(p, "pools", "/a", true) }, nil, `add tunnel pools: a section of type destination has that name; take another one`},
		{"tunnel name", house, func(p string) error { return AddTunnel(p, "Home", "/a", false) }, nil, `add tunnel "Home": the name of a tunnel has 1 to 12 characters of a–z, 0–9 and _`},
		{"tunnel named like a path", house, func(p string) error { return AddTunnel(p, "block", "/a", false) }, nil, `add tunnel "block": the name block is that of a path that always exists`},
		{"relative file", house, func(p string) error { return AddTunnel(p, "home", "a.conf", false) }, nil, `add tunnel home: file "a.conf" is not an absolute path of a file`},
		{"one tunnel too many", full, func(p string) error { return AddTunnel(p, "home", "/a", false) }, ErrInvalid, `nothing was changed, the result would be wrong: PATH: settings are not valid: line 29, section home: is tunnel 14, but`},
		{"not UCI", "config\n", func(p string) error { return AddTunnel(p, "home", "/a", false) }, nil, `PATH:1:1: config stands without a name`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := settings(t, tt.text)
			err := tt.change(path)
			if err == nil || !strings.HasPrefix(strings.ReplaceAll(err.Error(), path, "PATH"), tt.want) {
				t.Errorf("error %v, want %s", err, tt.want)
			}
			if tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("error %v is not %v", err, tt.is)
			}
			if d := cmp.Diff(tt.text, content(t, path)); d != "" {
				t.Error(d)
			}
		})
	}
	if err := AddRule(filepath.Join(t.TempDir(), "none"), "pools", "example.net"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("add without a file: %v", err)
	}
}

// A mistake can be taken out with the same command that puts things in.
func TestRemoveRuleTakesOutAMistake(t *testing.T) {
	path := settings(t, house+"config destination 'z'\n\tlist domain 'oops'\n\toption policy direct\n")
	if err := removed(path, "oops", "z"); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(content(t, path), "oops") {
		t.Error("it is still there")
	}
}
