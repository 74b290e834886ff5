package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"runtime/debug"
	"strings"

	"github.com/routerd/routerd/internal/command"
	"github.com/routerd/routerd/internal/config/uci"
	"github.com/routerd/routerd/internal/doctor"
)

func (a *app) reportCommand() *command.Command {
	cmd := &command.Command{
		Use:   "report",
		Short: "Write a report for support, with the secrets removed",
		Long: `Prints what somebody who helps needs to know: version, kernel, what doctor finds,
state, events and settings. Keys, passwords in addresses of lists and whatever
looks like a key are removed; names and addresses of clients and servers are
not: read it before you send it.`,
		Example: `  routerd report >report.txt`,
		Args:    command.None,
	}
	a.configFlag(cmd)
	a.socketFlag(cmd)
	a.tunnelDirFlag(cmd)
	cmd.String(&a.files.bpf, "bpf-dir", "`DIR` of pinned maps and links")
	cmd.Run = func(ctx context.Context, _ []string) error {
		_, err := fmt.Fprint(a.stdout, a.supportReport(ctx))
		return err
	}
	return cmd
}

func (a *app) doctorOptions() doctor.Options {
	return doctor.Options{
		ConfigFile: a.files.config, TunnelDir: a.files.tunnelDir, BPFDir: a.files.bpf, Socket: a.files.socket, Root: "/", Now: a.now,
	}
}

// supportReport gathers whatever can be had; a part that cannot says why.
func (a *app) supportReport(ctx context.Context) string {
	var b strings.Builder
	part := func(title string, text string, err error) {
		if err != nil {
			text = "not to be had: " + err.Error()
		}
		fmt.Fprintf(&b, "== %s\n%s\n\n", title, strings.TrimRight(text, "\n"))
	}
	info, _ := debug.ReadBuildInfo()
	part("version", strings.Join(versionLines(info), "\n"), nil)
	system, err := systemText()
	part("system", system, err)
	findings := doctor.Run(ctx, a.doctorOptions())
	var lines []string
	for _, f := range findings {
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%-8s %-10s %s %s", f.Level, f.Topic, f.Text, f.Mend)))
	}
	part("doctor", strings.Join(lines, "\n"), nil)
	status, err := a.client().Status(ctx)
	part("status", indented(status), err)
	lists, err := a.client().Lists(ctx)
	part("lists", indented(lists), err)
	facts, err := a.tunnelFacts()
	part("tunnels", indented(facts), err)
	events, err := a.client().Events(ctx, 0)
	var told []string
	for _, e := range events {
		line, _ := json.Marshal(e) // has no value that JSON has no word for
		told = append(told, string(line))
	}
	part("events", strings.Join(told, "\n"), err)
	settings, err := settingsText(a.files.config)
	part("settings", settings, err)
	return withoutSecrets(b.String())
}

func indented(v any) string {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// systemText names kernel, firmware and machine.
func systemText() (string, error) {
	version, err := os.ReadFile("/proc/version")
	if err != nil {
		return "", err
	}
	text := string(version)
	for _, path := range []string{"/etc/openwrt_release", "/tmp/sysinfo/model"} {
		if more, err := os.ReadFile(path); err == nil {
			text += string(more)
		}
	}
	return text, nil
}

// settingsText is the settings file without its secrets: the options that hold
// keys go whole, whatever they look like.
func settingsText(path string) (string, error) {
	f, err := uci.Read(path)
	if err != nil {
		return "", err
	}
	for _, s := range f.Sections() {
		for _, o := range s.Options {
			hide := strings.Contains(o.Name, "key") && o.Name != "public_key" || strings.Contains(o.Name, "password")
			if hide && !o.List {
				if err := f.Set(s.Ref, o.Name, removed); err != nil {
					return "", err
				}
			}
		}
	}
	return string(bytes.TrimSpace(f.Bytes())), nil
}

const removed = "(removed)"

// keyText is what a WireGuard key looks like: 32 octets in base64 or hexadecimal.
var keyText = regexp.MustCompile(`[A-Za-z0-9+/]{43}=|\b[0-9a-fA-F]{64}\b`)

// urlUser and urlQuery are the parts of addresses that may let somebody in,
// wherever a text repeats one.
var (
	urlUser  = regexp.MustCompile(`://[^/\s"']*@`)
	urlQuery = regexp.MustCompile(`(://[^\s"'?]*\?)[^\s"']*`)
)

// withoutSecrets is the last net: no text of a key's form leaves, a public one
// neither.
func withoutSecrets(text string) string {
	text = keyText.ReplaceAllString(text, removed)
	text = urlUser.ReplaceAllString(text, "://"+removed+"@")
	return urlQuery.ReplaceAllString(text, "${1}"+removed)
}
