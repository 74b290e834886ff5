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
