package cli

import (
	"context"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/routerd/routerd/internal/control"
)

const goodSettings = `config routerd 'main'
	list lan 'br-lan'

# the exchanges
config destination 'exchanges'
	list domain 'example.org'
	option policy 'direct'

config destination 'pools'
	list address '203.0.113.0/24'
	list domain 'full:pool.example.net'
	option policy 'direct'
`

// key is a made-up key that no output may hold.
var key = base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))

func quick(extra string) string {
	return "[Interface]\nPrivateKey = " + key + "\nAddress = 10.9.0.2/32\n" + extra +
		"[Peer]\nPublicKey = " + key + "\nEndpoint = 198.51.100.1:51820\nAllowedIPs = 0.0.0.0/0\n"
}

// box is a router's files in a directory of the test.
type box struct {
	t       *testing.T
	dir     string
	reloads int
	refuse  error
}

func newBox(t *testing.T) *box {
	t.Helper()
	b := &box{t: t, dir: t.TempDir()}
	b.write("routerd", goodSettings)
	return b
}

func (b *box) path(name string) string { return filepath.Join(b.dir, name) }

func (b *box) write(name, text string) string {
	b.t.Helper()
	if err := os.WriteFile(b.path(name), []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
	return b.path(name)
}

func (b *box) read(name string) string {
	b.t.Helper()
	text, err := os.ReadFile(b.path(name))
	if err != nil {
		b.t.Fatal(err)
	}
	return string(text)
}

// daemon runs one that counts reloads.
func (b *box) daemon() {
	b.t.Helper()
	ln, err := control.Listen(b.path("s"))
	if err != nil {
		b.t.Fatal(err)
	}
	serve(b.t, ln, control.Handlers{
		Status: func(context.Context) (control.Status, error) {
			return control.Status{Running: true, Tunnels: []control.TunnelStatus{{Name: "home", State: "up"}}}, nil
		},
		Reload: func(context.Context) ([]control.Problem, error) {
			b.reloads++
			return []control.Problem{{Level: "error", Section: "x", Text: "wrong"}, {Level: "note", Text: "quiet"}}, b.refuse
		},
	})
}

// call runs a command on these files.
func (b *box) call(stdin string, args ...string) result {
	b.t.Helper()
	r := call(b.t, stdin, append(args, "--config", b.path("routerd"), "--socket", b.path("s"))...)
	if strings.Contains(r.stdout+r.stderr, key) {
		b.t.Errorf("%v: the output holds a key", args)
	}
	return r
}

func TestAddAndRemoveEditTheSettingsAndReload(t *testing.T) {
	b := newBox(t)
	b.daemon()
	b.call("", "add", "Sub.Example.COM.", "--to", "exchanges").want(t, exitDone, "sub.example.com added to exchanges\n", "")
	b.call("", "add", "198.51.100.7", "--to", "pools").want(t, exitDone, "198.51.100.7 added to pools\n", "")
	want := strings.Replace(goodSettings, "'example.org'\n", "'example.org'\n\tlist domain 'sub.example.com'\n", 1)
	want = strings.Replace(want, "'203.0.113.0/24'\n", "'203.0.113.0/24'\n\tlist address '198.51.100.7'\n", 1)
	if got := b.read("routerd"); got != want {
		t.Errorf("the settings are\n%s\nwant\n%s", got, want)
	}
	b.call("", "remove", "sub.example.com").want(t, exitDone, "sub.example.com removed from exchanges\n", "")
	b.call("", "remove", "198.51.100.7").want(t, exitDone, "removed from pools\n", "")
	if got := b.read("routerd"); got != goodSettings {
		t.Errorf("adding and removing leaves\n%s", got)
	}
	if b.reloads != 4 {
		t.Errorf("%d reloads, want 4", b.reloads)
	}
}

func TestAddWithoutADaemonSaysWhenItCounts(t *testing.T) {
	b := newBox(t)
	b.call("", "add", "a.example", "--to", "exchanges").want(t, exitDone, "a.example added to exchanges\n", "routerd is not running: the change counts from its next start")
	b.call("", "remove", "a.example").want(t, exitDone, "removed", "routerd is not running")
}

func TestAddNamesWhatIsWrong(t *testing.T) {
	b := newBox(t)
	for _, tc := range []struct{ args, stderr string }{
		{"add a.example --to exchange", `did you mean "exchanges"?`},
		{"remove b.example", "b.example"},
	} {
		b.call("", strings.Fields(tc.args)...).want(t, exitFailed, "", tc.stderr)
	}
	if got := b.read("routerd"); got != goodSettings {
		t.Errorf("failures changed the settings:\n%s", got)
	}
	if err := os.Remove(b.path("routerd")); err != nil {
		t.Fatal(err)
	}
	b.call("", "add", "a.example", "--to", "exchanges").want(t, exitFailed, "", "no such file")
}

func TestARefusedReloadIsToldAfterAdd(t *testing.T) {
	b := newBox(t)
	b.refuse = errors.New("1 error")
	b.daemon()
	r := b.call("", "add", "a.example", "--to", "exchanges")
	r.want(t, exitFailed, "added", "error: section x\n    wrong\nrouterd: the daemon keeps its last good settings: 1 error")
	if strings.Contains(r.stderr, "quiet") {
		t.Errorf("notes are told too: %q", r.stderr)
	}
}

func TestTunnelImportKeepsTheFileForRootOnlyAndAddsTheTunnel(t *testing.T) {
	b := newBox(t)
	b.daemon()
	dir := b.path("etc")
	text := quick("DNS = 10.9.0.1\n")
	r := b.call(text, "tunnel", "import", "home", "-", "--tunnel-dir", dir)
	r.want(t, exitDone, "tunnel home added ("+dir+"/home.conf)\n", "note: line 4: DNS")
	if got := b.read("etc/home.conf"); got != text {
		t.Errorf("the file is %q", got)
	}
	for path, want := range map[string]os.FileMode{dir: os.ModeDir | 0o700, dir + "/home.conf": 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v; want mode %v", path, info.Mode(), err, want)
		}
	}
	if got := b.read("routerd"); !strings.Contains(got, "config tunnel 'home'\n") || !strings.Contains(got, dir+"/home.conf") {
		t.Errorf("the settings are\n%s", got)
	}
	b.call("", "tunnel", "list").want(t, exitDone, "home    wireguard  rd-home", "")
	b.call("", "tunnel", "list").want(t, exitDone, "up", "")
	if b.reloads != 1 {
		t.Errorf("%d reloads, want 1", b.reloads)
	}
}

func TestTunnelImportReplacesOnlyWhenTold(t *testing.T) {
	b := newBox(t)
	dir := b.path("etc")
	importFile := func(text string, more ...string) result {
		file := b.write("in.conf", text)
		return b.call("", append([]string{"tunnel", "import", "home", file, "--tunnel-dir", dir}, more...)...)
	}
	importFile(quick("")).want(t, exitDone, "added", "not running")
	importFile(quick("MTU = 1300\n")).want(t, exitFailed, "", "there is a tunnel of that name (home); take another one, or --replace")
	if got := b.read("etc/home.conf"); got != quick("") {
		t.Errorf("without --replace the file became %q", got)
	}
	before := b.read("routerd")
	importFile(quick("MTU = 1300\n"), "--replace").want(t, exitDone, "tunnel home uses the new "+dir+"/home.conf", "")
	if got := b.read("etc/home.conf"); got != quick("MTU = 1300\n") {
		t.Errorf("with --replace the file is %q", got)
	}
	if got := b.read("routerd"); got != before {
		t.Errorf("with --replace the settings changed to\n%s", got)
	}
}

func TestTunnelImportRefusesWithoutLeavingAnything(t *testing.T) {
	for _, tc := range []struct{ name, quick, settings, stderr string }{
		{"shell hook", quick("PostUp = iptables -F\n"), goodSettings, "PostUp"},
		{"syntax", "[Interface\n", goodSettings, "line 1"},
		{"wrong key", strings.Replace(quick(""), key, key[:20], 1), goodSettings, "PrivateKey"},
		{"not a wg-quick file", strings.Repeat("x", 70<<10), goodSettings, "not a wg-quick file"},
		{"empty", "", goodSettings, "is not imported"},
		{"settings broken", quick(""), "config routerd main'\n", "routerd validate"},
		{"name taken by another section", quick(""), strings.Replace(goodSettings, "'pools'", "'home'", 1), "a section of type destination has that name"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBox(t)
			b.write("routerd", tc.settings)
			b.call(tc.quick, "tunnel", "import", "home", "-", "--tunnel-dir", b.path("etc")).want(t, exitFailed, "", tc.stderr)
			if got := b.read("routerd"); got != tc.settings {
				t.Errorf("the settings became\n%s", got)
			}
			if left, _ := os.ReadDir(b.path("etc")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestTunnelImportLeavesAFileThatNoTunnelUses(t *testing.T) {
	b := newBox(t)
	if err := os.Mkdir(b.path("etc"), 0o700); err != nil {
		t.Fatal(err)
	}
	b.write("etc/home.conf", "mine")
	b.call(quick(""), "tunnel", "import", "home", "-", "--tunnel-dir", b.path("etc")).want(t, exitFailed, "", "exists already, though no tunnel uses it")
	if got := b.read("etc/home.conf"); got != "mine" {
		t.Errorf("the file became %q", got)
	}
	b.call("", "tunnel", "import", "home", b.path("absent")).want(t, exitFailed, "", "read the wg-quick file")
}

func TestTunnelListNeedsNoDaemon(t *testing.T) {
	b := newBox(t)
	b.call("", "tunnel", "list").want(t, exitDone, "No tunnel is set up", "")
	b.write("routerd", goodSettings+"config tunnel 'other'\n\toption type 'interface'\n\toption device 'awg0'\n\toption priority '7'\n"+
		"config tunnel 'home'\n\toption enabled '0'\n\toption config '/etc/routerd/home.conf'\n")
	r := b.call("", "tunnel", "list")
	r.want(t, exitDone, "", "")
	plain80(t, r.stdout)
	golden(t, "tunnels.txt", r.stdout)
	b.write("routerd", "config tunnel '???'\n")
	b.call("", "tunnel", "list").want(t, exitFailed, "", "routerd validate")
}

func TestValidateNamesEveryProblemAndEndsWith1(t *testing.T) {
	b := newBox(t)
	validate := func() result { return call(t, "", "validate", "--config", b.path("routerd")) }
	validate().want(t, exitDone, "is valid: 0 tunnels, 2 destinations\n", "")

	b.write("routerd", goodSettings+"config destination 'more'\n\toption policy 'tunel'\n\tlist address '1.2.3.4.5'\n")
	r := validate()
	for _, want := range []string{"section more, option policy, value \"tunel\"", "tunnel, auto, direct", "value \"1.2.3.4.5\""} {
		r.want(t, exitFailed, want, "routerd has ")
	}
	plain80(t, r.stdout)

	home := b.write("home.conf", quick("PostUp = reboot\n"))
	b.write("routerd", goodSettings+"config tunnel 'home'\n\toption config '"+home+"'\n")
	validate().want(t, exitFailed, "section home, option PostUp", "has 1 error")

	b.write("home.conf", quick("DNS = 10.9.0.1\n"))
	validate().want(t, exitDone, "note: section home, option DNS", "")

	if err := os.Remove(b.path("routerd")); err != nil {
		t.Fatal(err)
	}
	validate().want(t, exitFailed, "", "no such file")
}
