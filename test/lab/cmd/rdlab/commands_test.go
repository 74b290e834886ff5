package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/routerd/routerd/test/lab"
	"github.com/routerd/routerd/test/lab/labtest"
)

// execute runs the command line and gives standard output.
func execute(t *testing.T, args ...string) (string, error) {
	t.Helper()
	root := rootCommand()
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&bytes.Buffer{})
	root.SetArgs(args)
	err := root.ExecuteContext(t.Context())
	return out.String(), err
}

func TestEveryCommandHasHelpWithAnExample(t *testing.T) {
	var check func(c *cobra.Command)
	check = func(c *cobra.Command) {
		if c.Hidden || c.Name() == "help" {
			return
		}
		out, err := execute(t, append(strings.Fields(strings.TrimPrefix(c.CommandPath(), "lab")), "--help")...)
		if err != nil || !strings.Contains(out, "scripts/lab ") || !strings.Contains(out, "Usage:") {
			t.Errorf("%s --help: %v\n%s", c.CommandPath(), err, out)
		}
		for _, sub := range c.Commands() {
			check(sub)
		}
	}
	check(rootCommand())
}

func TestWrongUsageIsTold(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	for _, c := range []struct {
		args  string
		want  string // of the error
		usage bool
	}{
		{"exec client", "exec needs a host and a command", true},
		{"shell", "shell needs a host", true},
		{"up --colour", "unknown flag: --colour", true},
		{"client fetch --family 5 https://x/", "--family 5: use 4 or 6", true},
		{"up --firewall pf", `firewall "pf": use nft, iptables or iptables-legacy`, false},
		{"exec --name none client true", `no lab "none" is up`, false},
		{"counts --name none", `no lab "none" is up`, false},
		{"isp tls", `kind "tls": use one of dns-forge`, true},
		{"isp tls-reset", "tls-reset needs NAME, such as: scripts/lab isp tls-reset okx.com", true},
		{"isp loss okx.com", `percentage "okx.com": use a number such as 20`, true},
		{"isp delay soon", `duration "soon": use one such as 150ms`, true},
		{"isp service-status okx.com", `status "okx.com": put one of [403 429 451 500 503] last`, true},
		{"isp dns-drop --server nobody", "use an address, or isp for the provider's resolver", true},
		{"isp tcp-drop --port 0", `port "0": use 1 to 65535`, true},
		{"isp wan-down --port 1", "unknown flag: --port", true},
		{"isp list --name none", `no lab "none" is up`, false},
		{"isp --name none clear", `no lab "none" is up`, false},
		{"isp loss 5 --name none", `no lab "none" is up`, false},
		{"up --dns mine", `dns "mine": use public or isp`, false},
		{"status --name none", `no lab "none" is up`, false},
	} {
		_, err := execute(t, strings.Fields(c.args)...)
		var wrong usageError
		if err == nil || !strings.Contains(err.Error(), c.want) || errors.As(err, &wrong) != c.usage {
			t.Errorf("%s: %v, want %s (usage %v)", c.args, err, c.want, c.usage)
		}
	}
}

func TestNamesAreListedByWords(t *testing.T) {
	for _, c := range []struct {
		args, holds, lacks string
	}{
		{"names binance exchange-no-such", "", "binance"},
		{"names binance", "www.binance.com ", "kraken"},
		{"names chain2", "CNAME hop1.chain2.edge.example → hop2.chain2.edge.example", "chain3"},
		{"names --plain h3.", "h3.binance.com\n", " "},
		{"names h3.binance.com", "HTTPS 1 . alpn=h2,h3", "plain.example"},
		{"names many.binance", "+59", "www."},
		{"names --plain --all plain", "n01999.plain.example\n", "fresh"},
		{"names plain", "", "n01999.plain.example"},
		{"names stratum braiins", "stratum :3333", "binance"},
	} {
		out, err := execute(t, strings.Fields(c.args)...)
		if err != nil || !strings.Contains(out, c.holds) || strings.Contains(out, c.lacks) {
			t.Errorf("%s: %v\n%s", c.args, err, out)
		}
	}
	out, err := execute(t, "names", "--json", "cdn.okx.com")
	var n lab.Name
	if err != nil || json.Unmarshal([]byte(out), &n) != nil || n.Name != "cdn.okx.com" || !n.A[0].IsValid() {
		t.Errorf("%s, %v", out, err)
	}
}

func TestLabCanBeLookedAt(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	if out, err := execute(t, "status"); err != nil || out != "" {
		t.Errorf("status without a lab: %s, %v", out, err)
	}
	l := labtest.Up(t, lab.Options{Name: "look"})
	labtest.Run(t, l, lab.Client, l.Program(), "client", "udp-echo", "bank.example:7", "--count", "3")
	for _, c := range []struct{ args, holds string }{
		{"status", "192.168.1.10"},
		{"status --name look --json", `"firewall":"nft"`},
		{"counts --name look isp", "bank.example"},
		{"counts --name look --json --reset", `"packets":3,`},
		{"counts --name look exit", ""},
		{"exec --name look client true", ""},
	} {
		out, err := execute(t, strings.Fields(c.args)...)
		if err != nil || !strings.Contains(out, c.holds) {
			t.Errorf("%s: %v\n%s", c.args, err, out)
		}
	}
	if out, err := execute(t, "counts", "--name", "look", "isp"); err != nil || strings.Contains(out, "bank.example") {
		t.Errorf("counts after a reset: %s, %v", out, err)
	}
	if _, err := execute(t, "down", "--all"); err != nil {
		t.Error(err)
	}
	if out, _ := execute(t, "status"); out != "" {
		t.Errorf("status after down --all: %s", out)
	}
}

func TestInterferenceIsBegunListedAndCleared(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	l := labtest.Up(t, lab.Options{Name: "isp-commands"})
	isp := func(args string) string {
		t.Helper()
		out, err := execute(t, append([]string{"isp", "--name", l.Name()}, strings.Fields(args)...)...)
		if err != nil {
			t.Fatalf("isp %s: %v", args, err)
		}
		return out
	}
	for _, c := range []struct{ args, want string }{
		{"list", ""},
		{"dns-forge okx.com --server isp,22.8.8.8 --answer nxdomain --family 4", "i1  dns-forge okx.com family 4 servers [22.100.0.53 2d00:100::53 22.8.8.8] answer nxdomain\n"},
		{"loss 12.5% 22.10.0.0/16 2d00:10::1 --direction out --protocol udp --port 7,443", "i2  loss 22.10.0.0/16 2d00:10::1/128 out udp ports [7 443] 12.5 %\n"},
		{"service-status okx.com kraken.com 451", "s1  service-status okx.com kraken.com 451\n"},
		{"wg-handshake --message response", "i3  wg-handshake response\n"},
		{"delay 20ms www.okx.com", "i4  delay www.okx.com 20ms\n"},
		{"clear i2 delay", ""},
	} {
		if got := isp(c.args); got != c.want {
			t.Errorf("isp %s prints %q, want %q", c.args, got, c.want)
		}
	}
	got := isp("list")
	if strings.Count(got, "\n") != 3 || !strings.Contains(got, "i1  0 hits  dns-forge okx.com") || !strings.Contains(got, "s1  0 hits") {
		t.Errorf("the list is %s", got)
	}
	if got := isp("list --json"); !strings.HasPrefix(got, `{"id":"i1","kind":"dns-forge","names":["okx.com"],"family":4,`) {
		t.Errorf("as JSON it is %s", got)
	}
	if isp("clear"); isp("list") != "" {
		t.Error("something goes on after clear")
	}
}
