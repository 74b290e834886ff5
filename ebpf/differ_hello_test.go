package ebpf

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/routerd/routerd/internal/owned"
)

// hellos makes TLS hellos.
type hellos struct {
	*generator
	real [][]byte
}

func newHellos(t testing.TB, seed uint64, w *world) *hellos {
	t.Helper()
	h := &hellos{generator: newGenerator(seed, w.tables)}
	for _, host := range []string{listedHost, "only.example", longHost(), "www.example", "192.0.2.44", "API.Open.Example"} {
		for _, c := range []*tls.Config{{}, {MaxVersion: tls.VersionTLS12}, {NextProtos: []string{"h2", "http/1.1"}}} {
			c.ServerName, c.InsecureSkipVerify = host, true
			h.real = append(h.real, realHello(t, c))
		}
	}
	return h
}

// hello is real, made, or broken.
func (h *hellos) hello() []byte {
	b := slices.Clone(pick(h.generator, h.real...))
	if h.one(2) {
		b = h.made()
	}
	if h.one(4) {
		b = h.broken(b)
	}
	if len(b) < 6 {
		return h.hello()
	}
	return b
}

// made has extensions of all sizes, and now and then a name that is not sound.
func (h *hellos) made() []byte {
	host := strings.Join(h.name(), ".")
	if h.one(10) {
		host = pick(h.generator, "", ".", "a..b", host+".", strings.Repeat("a", 64)+".closed.example", host+"\x00")
	}
	list := []extension{serverName(host[:min(len(host), 300)])}
	for range h.IntN(12) {
		e := filler(uint16(1+h.IntN(60)), pick(h.generator, 0, 1, 4, 30, h.IntN(500)))
		list = slices.Insert(list, h.IntN(len(list)+1), e)
	}
	if h.one(10) {
		list = slices.DeleteFunc(list, func(e extension) bool { return e.kind == 0 })
	}
	b := madeHello(pick(h.generator, 0, 32, 32, h.IntN(256)), h.IntN(80), list...)
	if h.one(8) { // several names, or a name of another kind, in the extension
		list = append(list[:0:0], extension{0, slices.Concat(h.octets(2), []byte{byte(h.IntN(2))}, h.u16(4, 14), []byte("closed.example"), h.octets(h.IntN(400)))})
		b = madeHello(32, 16, list...)
	}
	return b
}

// partMax is what fits into a page with its headers.
const partMax = 3000

// cuts are where the parts of a hello of n octets end.
func (h *hellos) cuts(n int) []int {
	ends := []int{n}
	for at := partMax; at < n; at += partMax {
		ends = append(ends, at)
	}
	for range pick(h.generator, 0, 1, 1, 1, 2, 3, 8) {
		ends = append(ends, 1+h.IntN(n))
	}
	if h.one(10) { // small ones, one behind the other
		for at := 44 + h.IntN(n); at < n && len(ends) < 60; at += 1 + h.IntN(9) {
			ends = append(ends, at)
		}
	}
	slices.Sort(ends)
	return slices.Compact(ends)
}

// TestHellosAreReadAsTheReferenceReadsThem compares the program that reads TLS
// hellos with reference_hello_test.go.
func TestHellosAreReadAsTheReferenceReadsThem(t *testing.T) {
	for _, seed := range differSeeds(t) {
		w := tlsWorld(t)
		d := newDiffer(t, w, bpfProgRouterdSteer)
		h := newHellos(t, seed, w)
		inside(t, w.ns, func() {
			for i := range *differMessages / 2 {
				hello := h.hello()
				d.hello(i, h.Uint32(), hello, h.cuts(len(hello)))
			}
		})
		t.Logf("seed %d: %v", seed, d.kinds)
		d.checkKinds("passed", "redirected")
	}
}

// TestHellosAreReadWhereverTheyAreCut cuts real hellos in two, at every place.
func TestHellosAreReadWhereverTheyAreCut(t *testing.T) {
	w := tlsWorld(t)
	d := newDiffer(t, w, bpfProgRouterdSteer)
	h := newHellos(t, 1, w)
	inside(t, w.ns, func() {
		for _, hello := range h.real[:6] {
			for at := 1; at < len(hello); at++ {
				d.hello(at, h.Uint32(), hello, []int{at, len(hello)})
			}
		}
	})
	t.Logf("%v", d.kinds)
}

// hello sends a hello in parts and compares what happens with what must.
func (d *differ) hello(i int, seq uint32, hello []byte, ends []int) {
	name, named, ok := refHelloName(hello, ends)
	if ok {
		rule := d.rules[alice].find(refHelloQuestion(name))
		ok = rule != nil && rule.slot.Path != owned.PathNone && (rule.slot.Path != owned.PathDirect || rule.slot.Closed)
	}
	begin := 0
	for part, end := range ends {
		f := to(helloServer, flags(ack))
		f.seq, f.payload = seq+uint32(begin), hello[begin:end]
		got, data := d.send(differPacket{frame: f}, d.lan, d.lan)
		want := refAnswers{verdict: passed}
		if ok && part == named {
			want.verdict = redirected
			want.events = []refEvent{{
				kind: EventTLS, name: textName(append(refHelloQuestion(name).name, 0)), addrs: []netip.Addr{netip.MustParseAddr(helloServer)},
			}}
		}
		if err := d.checkHello(f, want, got, data); err != nil {
			d.t.Fatalf("hello %d, parts that end at %v, part %d: %v\n%x", i, ends, part, err, hello)
		}
		d.kinds[got.String()]++
		if got == redirected {
			d.clear()
			return
		}
		begin = end
	}
}

func (d *differ) checkHello(f frame, want refAnswers, got verdict, data []byte) error {
	events := d.told()
	switch {
	case got != want.verdict:
		return fmt.Errorf("%s, want %s", got, want.verdict)
	case !slices.EqualFunc(events, want.events, refEvent.same):
		return fmt.Errorf("told\n  %+v, want\n  %+v", events, want.events)
	case got == passed && !bytes.Equal(data, f.build()):
		return errors.New("the packet was changed")
	}
	return nil
}
