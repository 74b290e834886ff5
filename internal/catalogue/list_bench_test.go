package catalogue

import (
	"fmt"
	"io"
	"runtime"
	"runtime/metrics"
	"strings"
	"syscall"
	"testing"
	"time"
)

// benchNames is how many names the lists of the benchmark have.
const benchNames = 100_000

// bigList writes a list of n names in a format.
func bigList(format Format, n int) string {
	line := map[Format]string{
		FormatPlain: "%s\n", FormatHosts: "0.0.0.0 %s\n", FormatDnsmasq: "nftset=/%s/4#inet#fw4#steer\n",
		FormatV2fly: "domain:%s @cn\n", FormatClash: "  - '+.%s'\n",
	}[format]
	var b strings.Builder
	if format == FormatClash {
		b.WriteString("payload:\n")
	}
	for i := range n {
		fmt.Fprintf(&b, line, fmt.Sprintf("name%d.some-site-%d.example", i%7, i))
	}
	return b.String()
}

// BenchmarkParseList loads 100,000 names in each format. B/op is all that is
// allocated on the way, kept-B what the rules hold in the end, peak-B the most
// that lay on the heap at any time, garbage included; cpu-ms/op is the time of
// the processor, which other work on the machine does not change much.
func BenchmarkParseList(b *testing.B) {
	for _, format := range formats() {
		text := bigList(format, benchNames)
		b.Run(string(format), func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			before := heap(true)
			peak := &peakReader{}
			var p Parsed
			var cpu time.Duration
			for b.Loop() {
				b.StopTimer()
				p = Parsed{}
				runtime.GC() // what the last turn left is none of this one's
				b.StartTimer()
				begun := cpuTime()
				var err error
				peak.r = strings.NewReader(text)
				if p, err = ParseList(peak, FormatAuto, ListOptions{}); err != nil || len(p.Rules) != benchNames || p.Format != format {
					b.Fatalf("%d rules as %s, %v", len(p.Rules), p.Format, err)
				}
				peak.look()
				cpu += cpuTime() - begun
			}
			b.ReportMetric(float64(cpu.Milliseconds())/float64(b.N), "cpu-ms/op")
			b.ReportMetric(float64(peak.most)-float64(before), "peak-B")
			b.ReportMetric(float64(heap(true))-float64(before), "kept-B")
			runtime.KeepAlive(p)
		})
	}
}

// cpuTime is what the process has computed so far, the garbage collector
// included; other work on the machine does not count.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// heap gives the bytes of objects on the heap, those that are garbage included
// unless it is to collect first.
func heap(collect bool) uint64 {
	if collect {
		runtime.GC()
	}
	s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// peakReader looks at the heap with each read.
type peakReader struct {
	r    io.Reader
	most uint64
}

func (p *peakReader) look() { p.most = max(p.most, heap(false)) }

func (p *peakReader) Read(b []byte) (int, error) {
	p.look()
	return p.r.Read(b)
}

func TestALargeListTakesMemoryByItsRulesOnly(t *testing.T) {
	const names = benchNames / 4
	for _, format := range formats() {
		text := bigList(format, names)
		before := heap(true)
		p, err := ParseList(strings.NewReader(text), FormatAuto, ListOptions{})
		if err != nil || p.Format != format || len(p.Rules) != names || p.Skipped+p.Duplicates+p.UnsupportedTotal() != 0 {
			t.Fatalf("%s: %d rules as %s, %v", format, len(p.Rules), p.Format, err)
		}
		// 56 bytes a rule on 64 bits, and the names.
		if kept := heap(true) - before; kept > names*100 {
			t.Errorf("%s: %d bytes are kept for %d names", format, kept, names)
		}
		runtime.KeepAlive(p)
	}
}
