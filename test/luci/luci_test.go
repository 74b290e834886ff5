package luci_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/routerd/routerd/test/device"
	"github.com/routerd/routerd/test/lab"
	"github.com/routerd/routerd/test/lab/labtest"
)

// Where things are, from this package's directory.
const (
	sources = "../.."
	base    = "http://192.168.1.1" // the router, as its clients see it
)

// server is the program that serves the pages; TestMain builds it.
func server() string { return filepath.Join(os.Getenv("XDG_RUNTIME_DIR"), "luciserver") }

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "routerd-luci-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "make directory:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err := os.Setenv("XDG_RUNTIME_DIR", dir); err != nil {
		fmt.Fprintln(os.Stderr, "choose state directory:", err)
		return 1
	}
	if out, err := exec.Command("go", "build", "-o", server(), "./cmd/luciserver").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build luciserver: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// site is a router with the package installed and its pages served.
type site struct {
	*device.Device
	out string // of screenshots
}

func newSite(t *testing.T) *site {
	t.Helper()
	d := device.New(t, labtest.Up(t, lab.Options{}))
	d.InstallSources()
	d.Within("the daemon answers", func() bool { return strings.Contains(d.Call("status", "{}"), `"running":true`) })
	d.UseLabsResolver()
	out, err := filepath.Abs(filepath.Join(sources, "build/screenshots"))
	if err != nil {
		t.Fatal(err)
	}
	return &site{d, out}
}

// real says whether LuCI's own client files are served.
func (s *site) real() string {
	if os.Getenv("LUCI_DIR") != "" {
		return "real"
	}
	return ""
}

// serve serves the pages in a language until the returned function is called.
func (s *site) serve(lang string) (stop func()) {
	s.Helper()
	app, err := filepath.Abs(filepath.Join(sources, "openwrt/luci-app-routerd"))
	if err != nil {
		s.Fatal(err)
	}
	// A checkout of LuCI, where there is one: the same tests with its own files.
	cmd := exec.Command(server(), "--listen", "192.168.1.1:80", "--app", app, "--luci", os.Getenv("LUCI_DIR"), "--root", s.Root, "--lang", lang,
		"--hosts", `{"02:00:00:00:00:10":{"name":"laptop","ipaddrs":["192.168.1.10"],"ip6addrs":[]}}`)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := s.Lab.Start(lab.Router, cmd); err != nil {
		s.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }() // ends with the server
	s.Within("the pages are served", func() bool {
		_, err := s.Lab.Run(s.Context(), lab.Client, "curl", "-sf", "-o", "/dev/null", base+"/cgi-bin/luci/admin/services/routerd/overview")
		return err == nil
	})
	return func() { _ = cmd.Process.Kill(); <-ended }
}

// drive runs a script of browser/ on a client and decodes its last line.
func (s *site) drive(into any, script string, args ...string) {
	s.Helper()
	path, err := filepath.Abs(filepath.Join("browser", script))
	if err != nil {
		s.Fatal(err)
	}
	modules, err := filepath.Abs(filepath.Join(sources, "build/browser"))
	if err != nil {
		s.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(modules, "node_modules/playwright-core")); err != nil {
		s.Fatalf("%v: `scripts/test luci` installs what drives the browser", err)
	}
	const limit = 5 * time.Minute
	ctx, stop := context.WithTimeout(context.Background(), limit)
	defer stop()
	cmd := s.Lab.Command(ctx, lab.Client, "node", append([]string{path, base, s.out}, args...)...)
	cmd.Env = append(cmd.Env, "BROWSER_MODULES="+modules, "HOME="+s.TempDir())
	var out, failed bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &failed
	if err := cmd.Run(); err != nil {
		s.Fatalf("%s: %v\n%s\n%s\nthe daemon says: %s", script, err, failed.String(), out.String(), s.Call("status", "{}"))
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), into); err != nil {
		s.Fatalf("%s: %v in %s", script, err, out.String())
	}
}

// tunnelFile is the lab's wg-quick file, on the machine.
func (s *site) tunnelFile() string {
	s.Helper()
	conf, err := s.Lab.WGQuick("home")
	if err != nil {
		s.Fatal(err)
	}
	path := filepath.Join(s.TempDir(), "home.conf")
	if err := os.WriteFile(path, conf, 0o600); err != nil {
		s.Fatal(err)
	}
	return path
}

func TestFromAnEmptyPageToASteeredExchange(t *testing.T) {
	s := newSite(t)
	stop := s.serve("en")
	var got struct{ Clicks int }
	s.drive(&got, "first.mjs", s.tunnelFile())
	const most = 8
	if got.Clicks > most {
		t.Errorf("it took %d clicks, %d are allowed", got.Clicks, most)
	}
	page := labtest.Run(t, s.Lab, lab.Client, "curl", "-sS", "-4", "https://www.binance.com/")
	if !strings.Contains(page, "client 22.60.0.2") {
		t.Errorf("www.binance.com does not go through the tunnel: %s", page)
	}
	page = labtest.Run(t, s.Lab, lab.Client, "curl", "-sS", "-4", "https://www.news.example/")
	if !strings.Contains(page, "client 22.100.0.2") {
		t.Errorf("www.news.example does not go direct: %s", page)
	}
	var ok struct{ OK bool }
	s.drive(&ok, "pages.mjs", "", s.real())
	s.drive(&ok, "work.mjs", "kY9pTZ0aQ3mC5o4mXjYx1m8m0cS9v5vW7cQ0m3s8b2E=")
	for _, want := range []string{"list service 'f2pool'", "list domain 'mine.example'", "list category 'exchange'"} {
		if !strings.Contains(s.Read("etc/config/routerd"), want) {
			t.Errorf("the settings lack %s:\n%s", want, s.Read("etc/config/routerd"))
		}
	}
	if !strings.Contains(s.Call("why", `{"query":"x.mine.example"}`), `"destination":"exchanges"`) {
		t.Error("what was added on the page is not in force")
	}
	stop()
	defer s.serve("ru")()
	s.drive(&ok, "pages.mjs", "ru-", s.real())
}

// Whoever may write a setting, such as by a file that is imported, is not yet root in
// a browser.
func TestSettingsThatHoldHTMLRunNoScript(t *testing.T) {
	s := newSite(t)
	defer s.serve("en")()
	settings := s.Read("etc/config/routerd") + "\nconfig destination 'hostile'\n"
	for _, name := range []string{"option label", "option policy", "option fallback", "list service", "list domain", "list file", "list tunnel", "list client", "list check"} {
		settings += "\t" + name + " '<img src=x onerror=window.hurt=1>'\n"
	}
	s.Write("etc/config/routerd", settings)
	var ok struct{ OK bool }
	s.drive(&ok, "hostile.mjs")
}
