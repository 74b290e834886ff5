package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/routerd/routerd/internal/control"
	"github.com/routerd/routerd/internal/owned"
)

// tree writes files below a directory of the test, which it gives.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func today() time.Time { return time.Date(2026, 11, 23, 15, 0, 0, 0, time.UTC) }

func TestDNSFindings(t *testing.T) {
	process := func(cmdline string) map[string]string {
		return map[string]string{
			"proc/77/comm":    "dnsmasq\n",
			"proc/77/cmdline": strings.ReplaceAll(cmdline, " ", "\x00") + "\x00",
			"proc/78/comm":    "sh\n",
			"proc/self/comm":  "dnsmasq\n",
		}
	}
	with := func(files map[string]string, name, text string) map[string]string {
		files[name] = text
		return files
	}
	const openwrt = "/usr/sbin/dnsmasq -C /var/etc/dnsmasq.conf.cfg01411c -k -x /var/run/dnsmasq.pid"
	const file = "var/etc/dnsmasq.conf.cfg01411c"
	for _, tc := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"no dnsmasq", map[string]string{"proc/1/comm": "init"}, "note: not running | let DHCP name it"},
		{"as OpenWrt starts it", with(process(openwrt), file, "domain-needed\nstop-dns-rebind\n"), "ok: rebind protection"},
		{"without rebind protection", with(process(openwrt), file, "port=53\n"), "ok: dnsmasq answers"},
		{"port 0", with(process(openwrt), file, "port = 0\n"), "warning: port=0 in /var/etc/dnsmasq.conf.cfg01411c | /etc/config/dhcp"},
		{"--conf-file=", with(process("dnsmasq --conf-file=/x"), "x", "port=0"), "warning: in /x"},
		{"--conf-file", with(process("dnsmasq --conf-file /x"), "x", "port=0"), "warning: in /x"},
		{"the default file", with(process("dnsmasq -k"), "etc/dnsmasq.conf", "port=0"), "warning: in /etc/dnsmasq.conf"},
		{"an unreadable file", process(openwrt), "ok: dnsmasq answers"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			expect(t, judgeDNS(gatherSystem(tree(t, tc.files), today())), tc.want)
		})
	}
}

func TestClockFindings(t *testing.T) {
	expect(t, judgeClock(today()), "ok: plausible")
	expect(t, judgeClock(time.Unix(0, 0)), "error: 1970-01-01 | sysntpd")
}

func TestMemoryFindings(t *testing.T) {
	for _, tc := range []struct{ name, meminfo, want string }{
		{"plenty", "MemTotal:  126000 kB\nMemFree: 1 kB\nMemAvailable:   90000 kB\n", "ok: 87 of 123 MiB"},
		{"short", "MemTotal:  61000 kB\nMemAvailable:   9000 kB\n", "warning: 8 of 59 MiB | max_addresses"},
		{"strange", "MemTotal:\n", "note: cannot be read"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			expect(t, judgeMemory(gatherSystem(tree(t, map[string]string{"proc/meminfo": tc.meminfo}), today())), tc.want)
		})
	}
}

func TestTunnelFilesOpenToOthersAreNamed(t *testing.T) {
	root := tree(t, map[string]string{"home.conf": "", "notes.txt": ""})
	chmod := func(name string, mode fs.FileMode) {
		if err := os.Chmod(filepath.Join(root, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	chmod(".", 0o700)
	chmod("notes.txt", 0o644)
	expect(t, checkTunnelFiles(root), "ok: only root can read")
	chmod("home.conf", 0o644)
	chmod(".", 0o755)
	expect(t, checkTunnelFiles(root), "warning: mode 0755 | chmod 700 "+root, "warning: mode 0644 | chmod 600 "+root+"/home.conf")
	expect(t, checkTunnelFiles(filepath.Join(root, "absent")))
	expect(t, checkTunnelFiles(filepath.Join(root, "notes.txt", "x")), "error: cannot be looked at")
}

func TestSettingsFindings(t *testing.T) {
	const good = "config routerd 'main'\n\tlist lan 'lan'\n\toption mark_mask '0x00f00000'\n"
	const open = "config tunnel 'home'\n\toption config '%'\n"
	for _, tc := range []struct {
		name, text, quick, want string
		mask                    owned.Mask
	}{
		{"in order", good, "", "ok: is in order", 0x00f00000},
		{"a wrong value", good + "\toption dns 'tor'\n", "", "error: section main, option dns, value tor", owned.DefaultMask},
		{"a broken line", "config routerd 'main\n", "", "error: ", owned.DefaultMask},
		{"a broken wg-quick file", good + open, "[Interface\n", "error: section home | line 1", 0x00f00000},
		{"a missing wg-quick file", good + open, "", "error: section home, option config | no such file", 0x00f00000},
	} {
		t.Run(tc.name, func(t *testing.T) {
			files := map[string]string{"routerd": ""}
			if tc.quick != "" {
				files["home.conf"] = tc.quick
			}
			root := tree(t, files)
			path := filepath.Join(root, "routerd")
			text := strings.ReplaceAll(tc.text, "%", root+"/home.conf")
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			got, mask := checkSettings(path)
			if len(got) > 0 {
				expect(t, got[:1], tc.want)
			}
			if mask != tc.mask || len(got) == 0 {
				t.Errorf("mask %#x, %d findings; want %#x", uint32(mask), len(got), uint32(tc.mask))
			}
		})
	}
	got, _ := checkSettings(filepath.Join(t.TempDir(), "absent"))
	expect(t, got, "error: no such file | --config")
}

func TestDaemonFindings(t *testing.T) {
	expect(t, judgeDaemon(daemonFacts{err: control.ErrNotRunning}), "error: not running | /etc/init.d/routerd start")
	expect(t, judgeDaemon(daemonFacts{err: errors.New("permission denied")}), "error: permission denied | root")
	problems := control.Status{Problems: []string{"tunnel home is down", "the address map is full"}}
	more := []control.Finding{warn(topicDNS, "x", "y")}
	expect(t, judgeDaemon(daemonFacts{status: problems, findings: more}), "error: tunnel home is down | routerd status", "error: map is full", "warning: x")
	expect(t, judgeDaemon(daemonFacts{status: control.Status{Version: "0.1.0"}}), "ok: 0.1.0 is running")
}

func TestProblemsAreToldWhereTheDaemonHasNoSettings(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	ln, err := control.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- control.ServeOn(ctx, ln, control.Handlers{
			Status: func(context.Context) (control.Status, error) {
				return control.Status{Problems: []string{"settings refused: x"}}, nil
			},
			Doctor: func(context.Context) ([]control.Finding, error) {
				return nil, fmt.Errorf("%w: the settings are refused", control.ErrUnavailable)
			},
		}, slog.New(slog.DiscardHandler))
	}()
	expect(t, judgeDaemon(askDaemon(t.Context(), socket)), "error: settings refused: x | routerd status")
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestRunAsksTheDaemonAndLooksAtEverything(t *testing.T) {
	root := tree(t, map[string]string{"routerd": "config routerd 'main'\n\tlist lan 'lan'\n"})
	socket := filepath.Join(root, "s")
	ctx, cancel := context.WithCancel(t.Context())
	ln, err := control.Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		// No Doctor handler: its absence is not a fault.
		done <- control.ServeOn(ctx, ln, control.Handlers{
			Status: func(context.Context) (control.Status, error) { return control.Status{Version: "9"}, nil },
		}, slog.New(slog.DiscardHandler))
	}()
	o := Options{ConfigFile: filepath.Join(root, "routerd"), TunnelDir: root, BPFDir: "/sys/fs/bpf/x", Socket: socket, Root: "/", Now: today}
	seen := topics(t, Run(ctx, o))
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(seen[topicDaemon], "routerd 9 is running") {
		t.Errorf("of the daemon it says %q", seen[topicDaemon])
	}
	if seen := topics(t, Run(t.Context(), o)); !strings.Contains(seen[topicDaemon], "not running") {
		t.Errorf("without the daemon it says %q", seen[topicDaemon])
	}
}

func TestRunWithoutASocketDoesNotAskTheDaemon(t *testing.T) {
	for _, f := range Run(t.Context(), Options{ConfigFile: "/absent", BPFDir: "/sys/fs/bpf/x", Root: "/", Now: today}) {
		if f.Topic == topicDaemon {
			t.Errorf("it asked: %+v", f)
		}
	}
}

// topics gives the texts by topic; all topics must be there.
func topics(t *testing.T, findings []control.Finding) map[string]string {
	t.Helper()
	seen := map[string]string{}
	for _, f := range findings {
		complete(t, f)
		seen[f.Topic] += f.Text + "\n"
	}
	for _, topic := range []string{topicDaemon, topicSettings, topicKernel, topicFirewall, topicOffload, topicBypass, topicDNS, topicClock, topicMemory} {
		if seen[topic] == "" {
			t.Errorf("there is no finding on %s", topic)
		}
	}
	return seen
}
