package interfere

import (
	"sync"
	"time"
)

// worker says what becomes of the packets of a queue.
type worker interface {
	each(h held)
	// release lets go of packets that it still has, before the queue closes.
	release()
}

// worker makes the one of an interference.
func (k *controller) worker(a *active, q *queue) worker {
	switch a.x.Kind {
	case Delayed:
		return newDelay(q, a.x.Delay, &a.hits)
	case Freeze:
		return passer{q}
	}
	c := &censor{q: q, x: a.x, hits: &a.hits, raw: k.raw, mark: cutMark(a.number)}
	c.tcp = newInspector(c.look)
	c.quic = newQUICInspector(a.x.covers)
	if a.x.Kind == DNSInject || a.x.Kind == DNSDrop {
		c.forgery = &forgery{x: a.x, hits: &a.hits}
		c.forgery.answers, _ = a.x.answers(k.blockPage()) // checked when it came
	}
	return c
}

// passer passes every packet on, cut to what a wire carries.
type passer struct{ q *queue }

func (p passer) each(h held) { p.q.pass(h, 0) }

func (p passer) release() {}

// censor looks into packets and acts on those of listed names. All of it happens
// in the goroutine of its queue.
type censor struct {
	q       *queue
	x       Interference
	hits    *hits
	raw     *rawSender
	mark    uint32
	tcp     *inspector
	quic    *quicInspector
	forgery *forgery // of DNS
}

func (c *censor) release() {}

func (c *censor) each(h held) {
	p, ok := parsePacket(h.ip)
	switch {
	case !ok:
		c.q.pass(h, 0)
	case p.proto == protoUDP && c.x.Kind == QUICDrop:
		if !c.quic.see(p) {
			c.q.pass(h, 0)
			return
		}
		c.hits.add(1)
		c.q.pass(h, c.mark) // to the rule that silences the connection
	case p.proto == protoUDP:
		c.query(h, p)
	default:
		c.segment(h, p)
	}
}

// query acts on a DNS query over UDP.
func (c *censor) query(h held, p packet) {
	head, q, ok := question(p.payload)
	if !ok || !c.forgery.applies(p.dst.Addr(), q) {
		c.q.pass(h, 0)
		return
	}
	c.hits.add(1)
	if c.x.Kind == DNSDrop {
		c.q.drop(h)
		return
	}
	if answer, err := c.forgery.forge(head, q); err == nil {
		// The query waits: the true answer cannot be first.
		_ = c.raw.send(packet{src: p.dst, dst: p.src, proto: protoUDP, payload: answer}.build(), p.src.Addr())
	}
	c.q.pass(h, 0)
}

// segment acts on a TCP segment of a client.
func (c *censor) segment(h held, p packet) {
	first, again := c.tcp.see(p)
	if !first && !again {
		c.q.pass(h, 0)
		return
	}
	if first {
		c.hits.add(1)
	}
	switch c.x.Kind {
	case TLSDrop:
		c.q.pass(h, c.mark)
	case DNSDrop:
		c.q.drop(h)
	default:
		toClient, toServer := p.resets()
		_ = c.raw.send(toServer, p.dst.Addr())
		_ = c.raw.send(toClient, p.src.Addr())
		c.q.drop(h)
	}
}

// look says whether a TCP client's first bytes are what the kind is after.
func (c *censor) look(p packet, stream []byte) finding {
	name, f := "", found
	switch c.x.Kind {
	case TLSReset, TLSDrop:
		name, f = serverName(stream)
	case HTTPReset:
		name, f = hostOf(stream)
	case DNSDrop:
		return queriedName(c.forgery, p.dst.Addr(), stream)
	default:
		return found // any bytes
	}
	if f == found && !c.x.covers(name) {
		return nothing
	}
	return f
}

// delay holds packets for a while and sends them on in the order in which they
// came.
type delay struct {
	q    *queue
	wait time.Duration
	hits *hits
	line chan delayed
	all  sync.WaitGroup // of its goroutine
	stop chan struct{}
}

// delayed is a packet and when it goes on.
type delayed struct {
	h  held
	at time.Time
}

func newDelay(q *queue, wait time.Duration, hits *hits) *delay {
	d := &delay{q: q, wait: wait, hits: hits, line: make(chan delayed, queueLength), stop: make(chan struct{})}
	d.all.Go(d.run)
	return d
}

func (d *delay) each(h held) {
	d.hits.add(1)
	select {
	case <-d.stop:
		d.q.pass(h, 0)
	case d.line <- delayed{h, time.Now().Add(d.wait)}:
	default:
		d.q.drop(h) // as a full line does
	}
}

// run sends packets on; once stopped, those it has at once.
func (d *delay) run() {
	for {
		select {
		case p := <-d.line:
			timer := time.NewTimer(time.Until(p.at))
			select {
			case <-timer.C:
			case <-d.stop:
			}
			d.q.pass(p.h, 0)
		case <-d.stop:
			for {
				select {
				case p := <-d.line:
					d.q.pass(p.h, 0)
				default:
					return
				}
			}
		}
	}
}

func (d *delay) release() {
	close(d.stop)
	d.all.Wait()
}
