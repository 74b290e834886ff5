package dns

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	peer "github.com/miekg/dns"
	"golang.org/x/net/dns/dnsmessage"
)

// hostsBench is how many names the benchmark asks for.
const hostsBench = 500

// playServer is a server in a process of its own, until its input ends. Its
// upstream is that of the benchmark.
func playServer() int {
	u, err := ParseUpstream("udp://127.0.0.60")
	if err != nil {
		return 1
	}
	r := New(Options{Dial: localDial, Upstreams: []Upstream{u}})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s, err := Listen(ctx, ServerOptions{
		Resolver: r,
		Decide:   func(string, netip.Addr) Decision { return Decision{Listed: true, Path: 1} },
		Learn:    func(Lesson) error { return nil },
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	go func() { _, _ = io.Copy(io.Discard, os.Stdin); cancel() }()
	if err := s.Serve(ctx); err != nil {
		return 1
	}
	return 0
}

// BenchmarkCachedQueries measures, with dnsperf and each server on one core
// alone, how many queries a second dnsmasq and this server answer from their
// caches, in turns, and reports both and the ratio. Only an idle machine gives a
// true ratio: beside other work the process with more threads gets more.
func BenchmarkCachedQueries(b *testing.B) {
	needIsolation(b)
	for _, program := range []string{"dnsperf", "dnsmasq", "taskset"} {
		if _, err := exec.LookPath(program); err != nil {
			b.Skipf("%s is missing: apt-get install --no-install-recommends dnsperf dnsmasq-base util-linux", program)
		}
	}
	newPeer(b, "127.0.0.60:53", func(q *peer.Msg) *peer.Msg {
		return answerOf(b, q, q.Question[0].Name+" 3600 IN A 198.51.100.1")
	})
	queries := filepath.Join(b.TempDir(), "queries")
	var text strings.Builder
	for i := range hostsBench {
		fmt.Fprintf(&text, "host%d.test A\n", i)
	}
	must(b, os.WriteFile(queries, []byte(text.String()), 0o600))
	startPinned(b, "127.0.0.1:5399", "/proc/self/exe", "serve")
	startPinned(b, "127.0.0.1:5300", "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=5300",
		"--user=root", "--no-resolv", "--server=127.0.0.60", "--no-hosts", "--pid-file=", "--cache-size=10000", "--max-port=60000")
	measure := func(port string) float64 { return dnsperf(b, port, queries) }
	measure("5399") // fills the caches
	measure("5300")
	var ours, theirs []float64
	for b.Loop() {
		theirs = append(theirs, measure("5300"))
		ours = append(ours, measure("5399"))
	}
	b.ReportMetric(median(ours), "routerd-q/s")
	b.ReportMetric(median(theirs), "dnsmasq-q/s")
	b.ReportMetric(median(ours)/median(theirs), "ratio")
}

// median bears a round that other work on the machine has spoilt.
func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

// startPinned starts a server on the first core and waits until it answers.
func startPinned(b *testing.B, address string, command ...string) {
	b.Helper()
	if command[0] == "/proc/self/exe" {
		self, err := os.Readlink(command[0])
		must(b, err)
		command[0] = self
	}
	cmd := exec.Command("taskset", append([]string{"-c", "0"}, command...)...)
	var output bytes.Buffer
	cmd.Stderr = &output
	in, err := cmd.StdinPipe()
	must(b, err)
	must(b, cmd.Start())
	b.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	poll(b, strings.Join(command, " ")+" answers", func() bool {
		m, err := peer.Exchange(question("host0.test.", peer.TypeA), address)
		return err == nil && len(m.Answer) == 1
	})
}

var perSecond = regexp.MustCompile(`Queries per second:\s+([0-9.]+)`)

func dnsperf(b *testing.B, port, queries string) float64 {
	b.Helper()
	out, err := exec.Command("taskset", "-c", "1", "dnsperf", "-f", "inet", "-s", "127.0.0.1", "-p", port, "-d", queries,
		"-l", "2", "-c", "4", "-q", "100").CombinedOutput()
	if err != nil {
		b.Fatalf("dnsperf: %v\n%s", err, out)
	}
	m := perSecond.FindSubmatch(out)
	if m == nil {
		b.Fatalf("dnsperf printed no rate:\n%s", out)
	}
	rate, err := strconv.ParseFloat(string(m[1]), 64)
	must(b, err)
	return rate
}

// BenchmarkTurn measures what one cached query costs beside its system calls.
func BenchmarkTurn(b *testing.B) {
	r := New(Options{Dial: localDial})
	defer r.Close()
	s := &Server{o: ServerOptions{
		Resolver: r,
		Decide:   func(string, netip.Addr) Decision { return Decision{Listed: true, Path: 1} },
		Learn:    func(Lesson) error { return nil },
	}}
	fill(b, r, 500, time.Hour)
	msg, err := question("Host7.example.test.", peer.TypeA).Pack()
	must(b, err)
	t := turn{client: netip.MustParseAddr("192.0.2.1")}
	out := make([]byte, 0, maxMessage)
	b.ReportAllocs()
	for b.Loop() {
		if reply, next := s.begin(&t, out, msg); next != actionReply || len(reply) < 40 {
			b.Fatal("not answered from the cache")
		}
	}
}

// fill puts answers as a household gets them into a cache: two addresses and a
// CNAME each.
func fill(t testing.TB, r *Resolver, n int, ttl time.Duration) { fillFrom(t, r, 0, n, ttl) }

func fillFrom(t testing.TB, r *Resolver, from, to int, ttl time.Duration) {
	for i := from; i < to; i++ {
		name := fmt.Sprintf("host%d.example.test.", i)
		q := question(name, peer.TypeA)
		m := answerOf(t, q, fmt.Sprintf("%s %d IN CNAME edge%d.cdn.test.", name, int(ttl.Seconds()), i),
			fmt.Sprintf("edge%d.cdn.test. 60 IN A 198.51.100.%d", i, i%250), fmt.Sprintf("edge%d.cdn.test. 60 IN A 198.51.101.%d", i, i%250))
		wire, err := nameWire(name)
		must(t, err)
		key := newKey(wire, dnsmessage.TypeA, 1)
		m.Id = 0
		raw, err := m.Pack()
		must(t, err)
		a, err := parseAnswer(raw, key.message(), false)
		must(t, err)
		r.keep(key, a)
	}
}

// playFull fills a cache of the default size, serves from it and prints what
// memory that takes.
func playFull() int {
	t := &testing.B{}
	before := memory()
	r := New(Options{Dial: localDial})
	s, err := Listen(context.Background(), ServerOptions{Resolver: r, Port: 5398, Decide: decide})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer s.closeSockets()
	fill(t, r, 5000, time.Hour)
	after := memory()
	entries, bytes := r.cache.usage()
	fmt.Printf("entries %d\naccounted %d\nheap %d\nrss %d\n", entries, bytes, after.heap-before.heap, after.rss)
	runtime.KeepAlive(r)
	return 0
}

type usage struct{ heap, rss int }

func memory() usage {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return usage{}
	}
	for line := range strings.Lines(string(status)) {
		if f := strings.Fields(line); f[0] == "VmRSS:" {
			kib, _ := strconv.Atoi(f[1])
			return usage{int(m.HeapAlloc), kib << 10}
		}
	}
	return usage{heap: int(m.HeapAlloc)}
}

func TestFullCacheTakesTheMemoryItIsAllowed(t *testing.T) {
	needIsolation(t)
	self, err := os.Executable()
	must(t, err)
	out, err := exec.Command(self, "fill").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("\n%s", out)
	values := map[string]int{}
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		values[f[0]], err = strconv.Atoi(f[1])
		must(t, err)
	}
	if values["accounted"] > 512<<10 || values["accounted"] < 500<<10 {
		t.Errorf("the cache accounts for %d octets of 512 KiB", values["accounted"])
	}
	// Beside the entries there are a server's buffers of two sockets.
	if values["heap"] > 512<<10*3/2 {
		t.Errorf("the cache takes %d octets of heap", values["heap"])
	}
}
