package interfere

// inspector follows the client's side of TCP connections as far as look needs to
// decide. It is not for use by several goroutines.
type inspector struct {
	look  func(p packet, stream []byte) finding
	flows map[flowKey]*flow
}

// flowKey is a connection as the client's packets show it.
type flowKey struct{ src, dst string }

// flow is what has been seen of a connection.
type flow struct {
	next    uint32            // sequence number of the first byte not in data
	data    []byte            // from the first byte on
	later   map[uint32][]byte // segments that came too early
	decided bool
	cut     bool // decided: found
}

// maxFlows bounds the connections that are followed at once.
const maxFlows = 16384

func newInspector(look func(packet, []byte) finding) *inspector {
	return &inspector{look: look, flows: map[flowKey]*flow{}}
}

// see takes the next packet of a client and says whether the connection is one
// looked for: first when this packet shows it, again for all that follow.
func (i *inspector) see(p packet) (first, again bool) {
	key := flowKey{p.src.String(), p.dst.String()}
	if p.flags&flagSYN != 0 {
		i.begin(key, p.seq+1)
		return false, false
	}
	f := i.flows[key]
	if f == nil && len(p.payload) > 0 {
		f = i.begin(key, p.seq) // it is older than the interference
	}
	if f == nil || f.cut {
		return false, f != nil
	}
	if !f.decided && len(p.payload) > 0 {
		f.add(p.seq, p.payload)
		f.decide(i.look(p, f.data))
	}
	if p.flags&(flagFIN|flagRST) != 0 && !f.cut {
		delete(i.flows, key)
	}
	return f.cut, false
}

// decide notes what was found; bytes that tell no more are forgotten.
func (f *flow) decide(what finding) {
	f.cut = what == found
	f.decided = what != more || len(f.data) > maxHello
	if f.decided {
		f.data, f.later = nil, nil
	}
}

func (i *inspector) begin(key flowKey, next uint32) *flow {
	if len(i.flows) >= maxFlows {
		for k := range i.flows { // any one
			delete(i.flows, k)
			break
		}
	}
	f := &flow{next: next, later: map[uint32][]byte{}}
	i.flows[key] = f
	return f
}

// add puts a segment in its place; what comes twice is left out.
func (f *flow) add(seq uint32, payload []byte) {
	if len(f.later) < inspectPackets {
		f.later[seq] = append([]byte(nil), payload...)
	}
	for again := true; again; {
		again = false
		for at, part := range f.later {
			behind := f.next - at // bytes of part that are known already
			if int32(behind) < 0 {
				continue
			}
			delete(f.later, at)
			if behind < uint32(len(part)) {
				f.data = append(f.data, part[behind:]...)
				f.next = at + uint32(len(part))
			}
			again = true
		}
	}
}
