package ebpf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"unsafe"

	"github.com/cilium/ebpf/ringbuf"
)

// EventKind tells what an Event is about, RD_EV_*.
type EventKind uint8

// The values of EventKind.
const (
	EventLearned  EventKind = 1 // addresses are known now
	EventFull     EventKind = 2 // there was no room for them all
	EventUnparsed EventKind = 3 // the answer could not be read whole
	EventTLS      EventKind = 4 // an address is known by the name in a TLS hello
	EventDoT      EventKind = 5 // a client asks a resolver over TLS; told once an hour for each two
	EventDoH      EventKind = 6 // or over HTTPS; told likewise
	EventShared   EventKind = 7 // known addresses are also those of an unlisted name; told once
)

// Event is one DNS answer of a listed name, or a listed name in a TLS hello; or
// it names a client and, as its only address, a resolver past the router's.
type Event struct {
	Kind     EventKind
	Client   Client
	Ifindex  int
	Name     string // as asked, lower case
	Rule     uint64 // HashName of the rule's name
	Full     bool   // it is a full: rule
	Verified bool   // the answer is of routerd's resolver: it counts for every client
	Target   Target
	TTL      Ticks // the least of the addresses'
	Addrs    []netip.Addr
	Withheld bool // the answer was dropped
	Time     Ticks
}

func (e Event) origin() Origin {
	switch {
	case e.Verified:
		return OriginResolver
	case e.Kind == EventTLS:
		return OriginTLS
	}
	return OriginDNS
}

// Events reads events until Close.
type Events struct {
	r   *ringbuf.Reader
	rec ringbuf.Record
}

// Events opens the ring of events. One reader at a time.
func (d *DataPlane) Events() (*Events, error) {
	r, err := ringbuf.NewReader(d.maps[bpfMapEvents])
	if err != nil {
		return nil, fmt.Errorf("open ring of events: %w", explain(err))
	}
	return &Events{r: r}, nil
}

// Next waits for the next event; os.ErrClosed after Close.
func (e *Events) Next() (Event, error) {
	for {
		err := e.r.ReadInto(&e.rec)
		if errors.Is(err, ringbuf.ErrClosed) {
			return Event{}, os.ErrClosed
		}
		if err != nil {
			return Event{}, fmt.Errorf("read event: %w", err)
		}
		if ev, ok := parseEvent(e.rec.RawSample); ok {
			ev.Time = Now()
			return ev, nil
		}
	}
}

// Close ends Next.
func (e *Events) Close() error { return e.r.Close() }

// parseEvent reads struct rd_event, of which only the addresses in use are sent.
func parseEvent(raw []byte) (Event, bool) {
	var ev bpfRdEvent
	head := int(unsafe.Offsetof(ev.Addr))
	if len(raw) < head {
		return Event{}, false
	}
	order := binary.NativeEndian
	n, nameLen := int(order.Uint16(raw[26:])), int(raw[29])
	if n > len(ev.Addr) || len(raw) < head+16*n {
		return Event{}, false
	}
	out := Event{
		Client: Client(order.Uint64(raw)), Rule: order.Uint64(raw[8:]), TTL: Ticks(order.Uint32(raw[16:])),
		Ifindex: int(order.Uint32(raw[20:])), Target: Target(order.Uint16(raw[24:])),
		Kind: EventKind(raw[28]), Full: raw[30]&knownFull != 0, Withheld: raw[31] != 0,
		Verified: raw[30]&knownGlobal != 0,
		Name:     textName(raw[32 : 32+nameLen]),
	}
	for i := range n {
		out.Addrs = append(out.Addrs, netip.AddrFrom16([16]byte(raw[head+16*i:])).Unmap())
	}
	return out, true
}
