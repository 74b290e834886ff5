package web

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http2/hpack"
)

// Conn2 is a connection of HTTP/2 (RFC 9113) for small questions and answers, many of
// them at a time. Safe for use by many goroutines.
type Conn2 struct {
	conn    net.Conn
	maxHead int // bytes of an answer's head
	maxBody int // bytes of an answer's body

	write sync.Mutex // makes what is written whole and in order; guards enc, block and out
	enc   *hpack.Encoder
	block bytes.Buffer // what enc writes
	out   []byte

	mu      sync.Mutex // guards what follows and what streams hold; taken after write
	streams map[uint32]*stream
	next    uint32        // id of the next stream
	most    int           // streams at a time
	window  int64         // bytes that may be sent over the connection
	first   int64         // the same over a new stream
	changed chan struct{} // closed when one of these changes; nil: nobody waits
	err     error         // why the connection takes no more requests
}

// stream is an exchange under way.
type stream struct {
	id       uint32
	window   int64         // bytes that may be sent
	received int64         // bytes of DATA, with padding
	ended    chan struct{} // closed once answer and err are complete
	answer   Answer
	err      error
	early    int // answers that came and only announced one
}

const (
	preface   = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	firstMost = 100 // streams at a time, until the server says
	maxMost   = 512 // the same, whatever the server says
	// connWindow is what all answers together may have under way, in bytes.
	connWindow = 1 << 20
	// padRoom is what padding may add to an answer, in bytes.
	padRoom = 16 << 10
	// writeTime bounds one write: what is not taken in it is not taken at all.
	writeTime = 4 * time.Second
)

// NewConn2 begins HTTP/2 over a connection whose server has agreed to it. An answer's
// head may have maxHead bytes, its body maxBody.
func NewConn2(conn net.Conn, maxHead, maxBody int) *Conn2 {
	c := &Conn2{
		conn: conn, maxHead: maxHead, maxBody: maxBody, streams: map[uint32]*stream{}, next: 1, most: firstMost,
		window: firstWindow, first: firstWindow,
	}
	c.enc = hpack.NewEncoder(&c.block)
	c.alive()
	settings := appendSetting(nil, settingPush, 0)
	settings = appendSetting(settings, settingWindow, uint32(maxBody+padRoom))
	settings = appendSetting(settings, settingHeaderList, uint32(maxHead))
	// What is written first takes it along.
	c.out = appendFrame(append(c.out, preface...), frameSettings, 0, 0, settings)
	c.out = appendFrame(c.out, frameWindowUpdate, 0, 0, binary.BigEndian.AppendUint32(nil, connWindow-firstWindow))
	go c.read() // ends when conn is closed, or has been idle
	return c
}

func appendSetting(out []byte, id uint16, value uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(out, id), value)
}

// alive lets the connection be silent for another while.
func (c *Conn2) alive() { _ = c.conn.SetReadDeadline(time.Now().Add(keepTime)) }

// Over says whether the connection takes no more requests.
func (c *Conn2) Over() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err != nil
}

// Close closes the connection; exchanges that are under way fail.
func (c *Conn2) Close() { c.end(ErrOver) }

// end closes the connection; the first reason given stays.
func (c *Conn2) end(err error) {
	_ = c.conn.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
	}
	for id, s := range c.streams {
		c.finish(id, s, err)
	}
}

// finish ends an exchange; c.mu is held.
func (c *Conn2) finish(id uint32, s *stream, err error) {
	s.err = err
	delete(c.streams, id)
	close(s.ended)
	c.wake()
}

// wake tells those that wait for a change; c.mu is held.
func (c *Conn2) wake() {
	if c.changed != nil {
		close(c.changed)
		c.changed = nil
	}
}

// change is closed with the next change; c.mu is held.
func (c *Conn2) change() <-chan struct{} {
	if c.changed == nil {
		c.changed = make(chan struct{})
	}
	return c.changed
}

// Ask does one exchange.
func (c *Conn2) Ask(ctx context.Context, call *Call) (*Answer, error) {
	s, rest, err := c.open(ctx, call)
	if err == nil {
		err = c.sendRest(ctx, s, rest)
	}
	if s == nil {
		return nil, err
	}
	if err == nil {
		select {
		case <-s.ended:
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
	}
	if err != nil && c.giveUp(s, err) {
		return nil, err
	}
	if s.err != nil {
		return nil, s.err
	}
	return &s.answer, nil
}

// giveUp ends an exchange that is still under way, and says whether it was.
func (c *Conn2) giveUp(s *stream, err error) bool {
	c.mu.Lock()
	open := c.streams[s.id] == s
	if open {
		c.finish(s.id, s, err)
	}
	c.mu.Unlock()
	if open {
		_ = c.cancel(s.id)
	}
	return open
}

// cancel tells the server that an exchange has been given up.
func (c *Conn2) cancel(id uint32) error {
	return c.sendFrame(frameReset, 0, id, binary.BigEndian.AppendUint32(nil, uint32(codeCancel)))
}

// open sends a request's head, and as much of its body as may be sent at once. It
// waits while as many exchanges are under way as may be. No stream: nothing was sent.
func (c *Conn2) open(ctx context.Context, call *Call) (s *stream, rest []byte, err error) {
	fields, err := call.fields()
	if err != nil {
		return nil, nil, err
	}
	for {
		c.write.Lock()
		s, wait, err := c.enter()
		if s != nil {
			rest, err = c.sendHead(s, fields, call.Body)
			c.write.Unlock()
			return s, rest, err
		}
		c.write.Unlock()
		if err != nil {
			return nil, nil, err
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, nil, context.Cause(ctx)
		}
	}
}

// enter makes a stream, or says what to wait for; c.write is held, so that streams
// begin in the order of their numbers.
func (c *Conn2) enter() (s *stream, wait <-chan struct{}, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.err != nil || c.next > maxWindow:
		return nil, nil, ErrOver
	case len(c.streams) >= c.most:
		return nil, c.change(), nil
	}
	s = &stream{id: c.next, window: c.first, ended: make(chan struct{})}
	c.streams[s.id] = s
	c.next += 2
	return s, nil, nil
}

// claim takes what may be sent now of n bytes over a stream.
func (c *Conn2) claim(s *stream, n int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	may := max(0, min(int64(n), c.window, s.window, maxFrame))
	c.window -= may
	s.window -= may
	return int(may)
}

// sendHead writes HEADERS, and what the windows allow of the body; c.write is held.
func (c *Conn2) sendHead(s *stream, fields []hpack.HeaderField, body []byte) (rest []byte, err error) {
	rest = body
	c.block.Reset()
	for _, f := range fields {
		_ = c.enc.WriteField(f) // to memory
	}
	flags := byte(flagEndHeaders)
	if len(rest) == 0 {
		flags |= flagEndStream
	}
	c.out = appendFrame(c.out, frameHeaders, flags, s.id, c.block.Bytes())
	if n := c.claim(s, len(rest)); n > 0 {
		c.out = appendData(c.out, s.id, rest[:n], n == len(rest))
		rest = rest[n:]
	}
	c.alive()
	return rest, c.flush()
}

func appendData(out []byte, id uint32, data []byte, last bool) []byte {
	flags := byte(0)
	if last {
		flags = flagEndStream
	}
	return appendFrame(out, frameData, flags, id, data)
}

// fields are a request's head as HTTP/2 has it.
func (c *Call) fields() ([]hpack.HeaderField, error) {
	fields := []hpack.HeaderField{
		{Name: ":method", Value: c.Method},
		{Name: ":scheme", Value: c.URL.Scheme},
		{Name: ":authority", Value: hostField(c.URL)},
		{Name: ":path", Value: c.URL.RequestURI()},
	}
	for _, f := range c.Header {
		fields = append(fields, hpack.HeaderField{Name: strings.ToLower(f.Name), Value: f.Value})
	}
	if c.Body != nil {
		fields = append(fields, hpack.HeaderField{Name: "content-length", Value: strconv.Itoa(len(c.Body))})
	}
	size := 0
	for _, f := range fields {
		if size += int(f.Size()); !isValue(f.Value) || size > maxFrame {
			return nil, errCall
		}
	}
	return fields, nil
}

// sendRest sends what is left of a request's body as the windows allow, until the
// answer has come.
func (c *Conn2) sendRest(ctx context.Context, s *stream, rest []byte) error {
	for len(rest) > 0 {
		c.mu.Lock()
		wait := c.change()
		c.mu.Unlock()
		n := c.claim(s, len(rest))
		if n == 0 {
			select {
			case <-wait:
			case <-s.ended: // nobody waits for the rest
				return c.cancel(s.id)
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			continue
		}
		c.write.Lock()
		c.out = appendData(c.out, s.id, rest[:n], n == len(rest))
		err := c.flush()
		c.write.Unlock()
		if err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}

// sendFrame writes a frame that belongs to no request's beginning.
func (c *Conn2) sendFrame(kind, flags byte, id uint32, payload []byte) error {
	c.write.Lock()
	defer c.write.Unlock()
	c.out = appendFrame(c.out, kind, flags, id, payload)
	return c.flush()
}

// flush writes what has gathered; c.write is held. What could not be written whole
// ends the connection.
func (c *Conn2) flush() error {
	_ = c.conn.SetWriteDeadline(time.Now().Add(writeTime))
	_, err := c.conn.Write(c.out)
	c.out = c.out[:0]
	if err != nil {
		c.end(err)
	}
	return err
}

var errMalformed = errors.New("HTTP/2: the answer is malformed")
