package daemon

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/routerd/routerd/ebpf"
	"github.com/routerd/routerd/internal/config"
	"github.com/routerd/routerd/internal/control"
	"github.com/routerd/routerd/internal/steer"
	"github.com/routerd/routerd/internal/tunnel"
)

func TestDiffersInWhatTheKernelMustKnow(t *testing.T) {
	base := tunnel.State{
		Name: "home", Device: "rd-home", Health: tunnel.Up, Index: 4, IPv4: true,
		Endpoints: []netip.AddrPort{netip.MustParseAddrPort("9.9.9.9:51820")},
		Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.2/32")},
	}
	tests := []struct {
		name   string
		change func(*tunnel.State)
		want   bool
	}{
		{"nothing", func(*tunnel.State) {}, false},
		{"traffic and handshake", func(s *tunnel.State) { s.RxBytes, s.LastHandshake = 7, time.Now() }, false},
		{"the reason alone", func(s *tunnel.State) { s.Reason = "x" }, false},
		{"health", func(s *tunnel.State) { s.Health = tunnel.Down }, true},
		{"another device of the same name", func(s *tunnel.State) { s.Index = 5 }, true},
		{"device", func(s *tunnel.State) { s.Device = "awg0" }, true},
		{"families", func(s *tunnel.State) { s.IPv6 = true }, true},
		{"endpoint", func(s *tunnel.State) { s.Endpoints = []netip.AddrPort{netip.MustParseAddrPort("9.9.9.8:51820")} }, true},
		{"no endpoint", func(s *tunnel.State) { s.Endpoints = nil }, true},
		{"another address", func(s *tunnel.State) { s.Addresses = []netip.Prefix{netip.MustParsePrefix("10.0.0.3/32")} }, true},
	}
	for _, tt := range tests {
		now := base
		tt.change(&now)
		if got := differs(base, now); got != tt.want {
			t.Errorf("%s: %t, want %t", tt.name, got, tt.want)
		}
	}
}

func TestFlowStateInAWord(t *testing.T) {
	tests := []struct {
		flow ebpf.Flow
		want string
	}{
		{ebpf.Flow{Protocol: protoTCP, Flags: ebpf.FlowSYN}, "connecting"},
		{ebpf.Flow{Protocol: protoTCP, Flags: ebpf.FlowSYN | ebpf.FlowSYNACK, RxPackets: 1}, "open"},
		{ebpf.Flow{Protocol: protoTCP}, "open"}, // seen from its middle
		{ebpf.Flow{Protocol: protoTCP, Flags: ebpf.FlowSYN | ebpf.FlowFIN, RxPackets: 9}, "closing"},
		{ebpf.Flow{Protocol: protoTCP, Flags: ebpf.FlowFIN | ebpf.FlowResetServer}, "reset"},
		{ebpf.Flow{Protocol: protoTCP, Flags: ebpf.FlowResetClient}, "reset"},
		{ebpf.Flow{Protocol: protoTCP, Flags: ebpf.FlowEnded | ebpf.FlowResetClient}, "ended"},
		{ebpf.Flow{Protocol: protoUDP}, "open"},
		{ebpf.Flow{Protocol: protoICMPv6}, "open"},
	}
	for _, tt := range tests {
		if got := flowState(tt.flow); got != tt.want {
			t.Errorf("%+v: %s, want %s", tt.flow, got, tt.want)
		}
	}
	for proto, want := range map[uint8]string{protoTCP: "tcp", protoUDP: "udp", protoICMP: "icmp", protoICMPv6: "icmp", 47: "47"} {
		if got := protocolName(proto); got != want {
			t.Errorf("protocol %d: %s, want %s", proto, got, want)
		}
	}
}

func TestLimiterLetsEachKindThroughOnceAMinute(t *testing.T) {
	now := time.Unix(0, 0)
	l := newLimiter(func() time.Time { return now })
	check := func(key string, wantHeld int, want bool) {
		t.Helper()
		held, ok := l.allow(key)
		expect(t, held == wantHeld && ok == want, "%s after %v: %t, %d held back, want %t, %d", key, now, ok, held, want, wantHeld)
	}
	check("a", 0, true)
	for range 5 {
		check("a", 0, false)
	}
	check("b", 0, true)
	now = now.Add(limitTime)
	check("a", 5, true)
}

func TestLimiterIsBounded(t *testing.T) {
	now := time.Unix(0, 0)
	l := newLimiter(func() time.Time { return now })
	for i := range 10 * limitKeys {
		l.allow(string(rune(i)))
	}
	expect(t, len(l.seen) == limitKeys, "%d kinds are remembered, at most %d may be", len(l.seen), limitKeys)
	now = now.Add(limitTime)
	_, ok := l.allow("new")
	expect(t, ok, "kinds that are over leave no room")
}

func TestSettingsThatCannotBeLoaded(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	tests := []struct {
		name, path string
		words      string
		problems   bool
	}{
		{"no file", filepath.Join(dir, "none"), "read settings", false},
		{"a directory", dir, "read settings", false},
		{"no UCI", file("broken", "config routerd 'main\n"), "not valid", true},
		{"a wrong value", file("wrong", "config routerd 'main'\n\toption mark_mask '5'\n"), "mark_mask", true},
		{"a list that is not there", file("list", "config destination 'a'\n\tlist file '/nowhere/x'\n"), "/nowhere/x", true},
		{"a tunnel whose file is not there", file("tunnel", "config tunnel 'home'\n\toption config '/nowhere/home.conf'\n"), "/nowhere/home.conf", true},
		{"larger than can be", file("large", strings.Repeat("# x\n", settingsMax/4+1)), "larger than", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, problems, err := loadSettings(tt.path, kept{}.Rules)
			if s != nil || err == nil || !strings.Contains(err.Error(), tt.words) {
				t.Errorf("settings %v, error %v, want one that says %q", s, err, tt.words)
			}
			isError := func(p config.Problem) bool { return p.Level == config.LevelError }
			if slices.ContainsFunc(problems, isError) != tt.problems {
				t.Errorf("problems: %v", problems)
			}
			if lines := refusal(problems, err); len(lines) == 0 || !strings.Contains(lines[0], "settings refused") {
				t.Errorf("refusal: %q", lines)
			}
		})
	}
}

func TestSettingsReadAnyListOnce(t *testing.T) {
	dir := t.TempDir()
	list, path := filepath.Join(dir, "list"), filepath.Join(dir, "routerd")
	text := "config destination 'a'\n\tlist file '" + list + "'\nconfig destination 'b'\n\tlist file '" + list +
		"'\nconfig destination 'off'\n\toption enabled '0'\n\tlist domain 'off.example.org'\n"
	for name, b := range map[string]string{list: "one.example.org\n# none\nfull:two.example.org\n5.5.5.0/24\n", path: text} {
		if err := os.WriteFile(name, []byte(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, _, err := loadSettings(path, kept{}.Rules)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.plan.Names) != 2 || len(s.plan.Networks) != 1 || len(s.plan.Destinations) != 2 || string(s.text) != text {
		t.Errorf("names %v, networks %v, destinations %v", s.plan.Names, s.plan.Networks, s.plan.Destinations)
	}
	if s.files != nil {
		t.Error("the lists are kept beside the plan")
	}
}

func TestGoodSettingsAreKeptForRootOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	for _, text := range []string{"one", "one", "two"} {
		if err := saveGood(dir, []byte(text)); err != nil {
			t.Fatal(err)
		}
		if got, err := readGood(dir); err != nil || string(got) != text {
			t.Errorf("kept %q, %v, want %q", got, err, text)
		}
	}
	if info, err := os.Stat(goodPath(dir)); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if err := saveGood("/proc/nowhere", nil); err == nil || !strings.Contains(err.Error(), "state directory") {
		t.Errorf("a directory that cannot be made: %v", err)
	}
}

// What a crash left half written has a mode of its own.
func TestGoodSettingsAreKeptForRootOnlyAfterACrash(t *testing.T) {
	dir := t.TempDir()
	need(t, os.WriteFile(goodPath(dir)+".new", []byte("half"), 0o644))
	need(t, saveGood(dir, []byte("three")))
	info, err := os.Stat(goodPath(dir))
	need(t, err)
	expect(t, info.Mode() == 0o600, "mode %v", info.Mode())
}

// A copy that is cut off anywhere, also where its sections end, is no settings.
func TestADamagedCopyOfGoodSettingsIsRefused(t *testing.T) {
	dir := t.TempDir()
	text := "config routerd 'main'\n\nconfig destination 'a'\n\tlist domain 'a.example'\n\nconfig destination 'b'\n\tlist domain 'b.example'\n"
	need(t, saveGood(dir, []byte(text)))
	whole, err := os.ReadFile(goodPath(dir))
	need(t, err)
	try := func(what string, kept []byte) {
		t.Helper()
		need(t, os.WriteFile(goodPath(dir), kept, 0o600))
		if got, err := readGood(dir); !errors.Is(err, errNotGood) {
			t.Errorf("%s: %q, %v", what, got, err)
		}
	}
	for n := range whole {
		try("cut off", whole[:n])
	}
	try("without its head", []byte(text))
	try("noise", []byte("\x00\xff\n\n"))
	try("with more behind it", append(slices.Clone(whole), "\tlist domain 'c.example'\n"...))
	changed := bytes.Replace(whole, []byte("b.example"), []byte("x.example"), 1)
	try("with another name", changed)
}

func TestRemovingStateLeavesWhatIsNotOurs(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	if err := removeState(dir); err != nil {
		t.Errorf("nothing there: %v", err)
	}
	if err := saveGood(dir, []byte("x")); err != nil {
		t.Fatal(err)
	}
	theirs := filepath.Join(dir, "theirs")
	if err := os.WriteFile(theirs, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := removeState(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(goodPath(dir)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("our copy is still there: %v", err)
	}
	if _, err := os.Stat(theirs); err != nil {
		t.Errorf("somebody else's file: %v", err)
	}
	if err := os.Remove(theirs); err != nil {
		t.Fatal(err)
	}
	if err := removeState(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the empty directory is still there: %v", err)
	}
}

func TestProblemsTheGravestFirst(t *testing.T) {
	const failing = "the settings cannot be applied, routerd goes on trying: no memory"
	on := &settings{cfg: &config.Config{Main: config.Main{Enabled: true}}, plan: &steer.Plan{Destinations: []steer.Destination{{Name: "a"}, {Name: "b"}}}}
	off := &settings{cfg: &config.Config{}}
	tests := []struct {
		name string
		view view
		want []string
	}{
		{"before the first settings", view{}, nil},
		{"refused, none in force", view{refused: []string{"settings refused: x"}}, []string{"settings refused: x"}},
		{"starting", view{settings: on, tunnels: []tunnel.State{{Name: "home", Health: tunnel.Connecting}}}, nil},
		{"starting fails", view{settings: on, failed: "no memory"}, []string{failing}},
		{"disabled", view{applied: true, settings: off}, []string{errDisabled.Error()}},
		{"all is well", view{applied: true, settings: on}, nil},
		{
			"everything at once",
			view{
				applied: true, settings: on, full: true, failed: "no memory", refused: []string{"settings refused: x"}, problems: []string{"no default route"},
				choices: map[string]steer.Choice{"a": {State: steer.StateOK}, "b": {State: steer.StateDown, Reason: "why"}},
				tunnels: []tunnel.State{{Name: "home", Health: tunnel.Up}, {Name: "other", Health: tunnel.Down, Reason: "gone"}},
			},
			[]string{
				"settings refused: x", "the last good settings stay in force until these are mended and reloaded",
				failing, "the address map is full: new names of listed services are withheld; raise option max_addresses",
				"destination b is down: why", "no default route", "tunnel other is down: gone",
			},
		},
	}
	for _, tt := range tests {
		if got := allProblems(&tt.view); got == nil || !slices.Equal(got, tt.want) && len(got)+len(tt.want) > 0 {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestRequestsBeforeSettingsAreInForce(t *testing.T) {
	on := &settings{cfg: &config.Config{Main: config.Main{Enabled: true}}}
	tests := []struct {
		name string
		view view
		want error
	}{
		{"starting", view{}, errNotReady},
		{"settings known, kernel not yet", view{settings: on}, errNotReady},
		{"refused", view{refused: []string{"x"}}, errRefused},
		{"refused, earlier ones on their way", view{settings: on, refused: []string{"x"}}, errNotReady},
		{"in force", view{settings: on, applied: true, refused: []string{"x"}}, nil},
	}
	for _, tt := range tests {
		if got := tt.view.ready(); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
	if !errors.Is(errNotReady, control.ErrUnavailable) {
		t.Error("a request that comes too early is answered as a fault")
	}
}

func TestAReloadTellsTheLineAndTheMendOfEachProblem(t *testing.T) {
	got := controlProblems([]config.Problem{{
		Level: config.LevelError, Section: "home", Option: "mtu", Value: "9", Text: "is too small", Mend: "remove it", Line: 12,
	}})
	want := control.Problem{Level: "error", Section: "home", Option: "mtu", Value: "9", Text: "is too small", Mend: "remove it", Line: 12}
	if len(got) != 1 || got[0] != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestTunnelStatus(t *testing.T) {
	never := tunnelStatus(tunnel.State{Name: "home", Health: tunnel.Connecting, Reason: "x"})
	if never.LastHandshakeS != nil || never.Endpoint != "" || never.State != "connecting" {
		t.Errorf("%+v", never)
	}
	s := tunnelStatus(tunnel.State{
		LastHandshake: time.Now().Add(-70 * time.Second), Health: tunnel.Up, Backend: tunnel.BackendKernel,
		Endpoints: []netip.AddrPort{netip.MustParseAddrPort("9.9.9.9:1"), netip.MustParseAddrPort("[2001:db8::1]:2")},
	})
	if s.LastHandshakeS == nil || *s.LastHandshakeS < 70 || *s.LastHandshakeS > 80 || s.Endpoint != "9.9.9.9:1 [2001:db8::1]:2" {
		t.Errorf("%+v", s)
	}
	// The clock is set while the handshake is known: no time in the future.
	if s := tunnelStatus(tunnel.State{LastHandshake: time.Now().Add(time.Hour)}); *s.LastHandshakeS != 0 {
		t.Errorf("%d s", *s.LastHandshakeS)
	}
}

func TestExpectedTunnels(t *testing.T) {
	specs := []tunnel.Spec{{Name: "new", Device: "rd-new"}, {Name: "home", Device: "rd-home"}}
	got := expected(specs, []tunnel.State{{Name: "gone", Health: tunnel.Up}, {Name: "home", Health: tunnel.Up}})
	if len(got) != 2 || got[0].Health != tunnel.Connecting || got[0].Reason == "" || got[1].Health != tunnel.Up {
		t.Errorf("%+v", got)
	}
}
