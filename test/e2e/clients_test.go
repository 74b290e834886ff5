package e2e_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/routerd/routerd/test/lab"
	"github.com/routerd/routerd/test/lab/client"
)

var labNames = sync.OnceValues(func() (map[string]lab.Name, error) {
	all, err := lab.Names()
	out := make(map[string]lab.Name, len(all))
	for _, n := range all {
		out[n.Name] = n
	}
	return out, err
})

// addresses are all those of names of the lab, of both families.
func addresses(t *testing.T, names ...string) []netip.Addr {
	t.Helper()
	known, err := labNames()
	if err != nil {
		t.Fatal(err)
	}
	var out []netip.Addr
	for _, name := range names {
		n, ok := known[name]
		if !ok {
			t.Fatalf("the lab has no name %s", name)
		}
		out = slices.Concat(out, n.A, n.AAAA)
	}
	return out
}

// address is a name's first address of a family.
func address(t *testing.T, name string, family int) netip.Addr {
	t.Helper()
	for _, a := range addresses(t, name) {
		if a.Is4() == (family == 4) {
			return a
		}
	}
	t.Fatalf("%s has no address of family %d", name, family)
	return netip.Addr{}
}

// families are both.
func families() []int { return []int{4, 6} }

// burst looks names up and opens them, as fast as 100 at a time.
func (w *world) burst(host string, family int, names []string, options ...string) []client.Result {
	w.Helper()
	args := append([]string{"client", "burst", "--names", "-", "--family", strconv.Itoa(family), "--concurrency", "100"}, options...)
	r := w.runOn(host, strings.Join(names, "\n"), w.lab.Program(), args...)
	var out []client.Result
	for line := range strings.Lines(r.stdout) {
		var one client.Result
		w.decode(line, &one)
		out = append(out, one)
	}
	if len(out) != len(names) {
		w.Fatalf("%d results of %d names: %s", len(out), len(names), r.stderr)
	}
	return out
}

// open looks one name up and opens it.
func (w *world) open(host string, family int, name string, options ...string) client.Result {
	w.Helper()
	return w.burst(host, family, []string{name}, options...)[0]
}

// openKnown opens a name at an address that the client has from earlier, with
// no lookup, and tells the way that the connection took.
func (w *world) openKnown(host string, family int, name string) string {
	w.Helper()
	at := fmt.Sprintf("%s:443:%s", name, address(w.T, name, family))
	r := w.runOn(host, "", "curl", "--silent", "--max-time", "10", "--resolve", at, "https://"+name+"/")
	return seenWay(r)
}

// seenWay is the way that a page fetched by curl tells.
func seenWay(r result) string {
	_, seen, _ := strings.Cut(r.stdout, "client ")
	return way(client.Result{OK: r.status == 0, Seen: strings.TrimSpace(seen)})
}

// Where the servers see connections come from.
const (
	overHome  = "over the tunnel home"
	overOther = "over the tunnel other"
	directly  = "directly"
	nowhere   = "nowhere"
)

// way is the path that a connection took, as the server saw it.
func way(r client.Result) string {
	seen, _ := netip.ParseAddr(r.Seen)
	switch {
	case !r.OK:
		return nowhere
	case slices.Contains([]string{lab.ExitSource4, lab.ExitSource6}, r.Seen):
		return overHome
	case slices.Contains([]string{lab.Exit2Source4, lab.Exit2Source6}, r.Seen):
		return overOther
	case r.Seen == lab.RouterWAN4 || netip.MustParsePrefix("2d00:1:1::/64").Contains(seen) || r.Seen == lab.RouterWAN6:
		return directly
	}
	return "unknown: " + r.Seen
}

// goes opens names over both families and fails unless all take one way.
func (w *world) goes(host, want string, names ...string) {
	w.Helper()
	for _, family := range families() {
		for _, r := range w.burst(host, family, names) {
			if got := way(r); got != want {
				w.Errorf("IPv%d: %s opens %s (%s) %s, want %s: %s", family, host, r.Name, r.Address, got, want, r.Error)
			}
		}
	}
}

// packets counts what a host outside the router saw to addresses.
func (w *world) packets(host string, to ...netip.Addr) uint64 {
	w.Helper()
	counts, err := w.lab.Counts(host)
	if err != nil {
		w.Fatal(err)
	}
	var sum uint64
	for _, a := range to {
		sum += counts[a]
	}
	return sum
}

// noLeak fails if the provider saw any packet to an address of the names.
func (w *world) noLeak(names ...string) {
	w.Helper()
	counts, err := w.lab.CountsByProtocol(lab.ISP)
	if err != nil {
		w.Fatal(err)
	}
	for _, name := range names {
		to := addresses(w.T, name)
		for _, c := range counts {
			if slices.Contains(to, c.Address) {
				w.Errorf("%d packets (%s) to %s (%s) left by the WAN", c.Packets, c.Protocol, name, c.Address)
			}
		}
	}
}

// download is a transfer that goes on only when the test reads it.
type download struct {
	w    *world
	name string
	cmd  *exec.Cmd
	out  *bufio.Reader
}

// downloadSize is more than all buffers on the way hold, so that a transfer of
// which the beginning was read is under way.
const downloadSize = 16 << 20

// download begins a transfer with curl and reads its beginning.
func (w *world) download(host string, family int, name string) *download {
	w.Helper()
	ctx, stop := context.WithCancel(context.Background())
	url := "https://" + name + "/bytes/" + strconv.Itoa(downloadSize)
	cmd := w.lab.Command(ctx, host, "curl", "--silent", "--show-error", "--no-buffer", "--max-time", "60", "-"+strconv.Itoa(family), url)
	out, err := cmd.StdoutPipe()
	if err != nil {
		w.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() {
		stop()
		_ = cmd.Wait()
	})
	d := &download{w, name, cmd, bufio.NewReader(out)}
	if _, err := io.CopyN(io.Discard, d.out, 64<<10); err != nil {
		w.Fatalf("begin download from %s: %v", name, err)
	}
	return d
}

// finish reads the transfer to its end, which must be a good one.
func (d *download) finish() {
	d.w.Helper()
	n, err := io.Copy(io.Discard, d.out)
	if err == nil {
		err = d.cmd.Wait()
	}
	if n += 64 << 10; err != nil || n != downloadSize {
		d.w.Errorf("the download from %s broke after %d of %d bytes: %v", d.name, n, downloadSize, err)
	}
}

// breaks says whether the transfer ends early, in an error.
func (d *download) breaks() bool {
	n, _ := io.Copy(io.Discard, d.out)
	return d.cmd.Wait() != nil && n+64<<10 < downloadSize
}

// mining is a Stratum session under way.
type mining struct {
	w   *world
	cmd *exec.Cmd
	out *strings.Builder
}

// mine begins a session and waits for its first share.
func (w *world) mine(host, target string) *mining {
	w.Helper()
	name, _, _ := strings.Cut(target, ":")
	crossed := func() (n uint64) {
		for _, host := range []string{lab.ISP, lab.Exit, lab.Exit2} {
			n += w.packets(host, addresses(w.T, name)...)
		}
		return n
	}
	before := crossed()
	out := &strings.Builder{}
	cmd := exec.Command(w.lab.Program(), "client", "stratum", target, "--for", "60s")
	cmd.Stdout = out
	if err := w.lab.Start(host, cmd); err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = cmd.Process.Kill() })
	within(w.T, usual, "the session with "+target+" is under way", func() bool { return crossed() > before+7 })
	return &mining{w, cmd, out}
}

// end ends the session and tells how it went.
func (m *mining) end() client.StratumResult {
	m.w.Helper()
	_ = m.cmd.Process.Signal(syscall.SIGTERM) // a shell in the background ignores SIGINT
	_ = m.cmd.Wait()
	var r client.StratumResult
	if err := json.Unmarshal([]byte(m.out.String()), &r); err != nil {
		m.w.Fatalf("result of the session: %v in %q", err, m.out)
	}
	return r
}

// unbroken ends the session, which must have lasted to now without a gap.
func (m *mining) unbroken() {
	m.w.Helper()
	r := m.end()
	if r.Error != "" || !r.Authorized || r.Accepted == 0 || r.LongestGap > 4 {
		m.w.Errorf("the Stratum session broke or stood still: %+v", r)
	}
}

// address4 is an address that a constant of the lab names.
func address4(s string) netip.Addr { return netip.MustParseAddr(s) }
