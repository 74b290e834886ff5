package web

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strconv"

	"golang.org/x/net/http2/hpack"
)

// maxUneventful is how many frames may come in a row that bring no answer on.
const maxUneventful = 1000

// reader2 reads what a server of HTTP/2 sends; one goroutine uses it. Errors that it
// returns end the connection.
type reader2 struct {
	c          *Conn2
	in         *bufio.Reader
	buf        []byte
	dec        *hpack.Decoder
	granted    int64 // bytes of DATA that the server may still send
	uneventful int
	leaving    bool // the server takes no more requests

	// The header that is being read, in one or more frames.
	open   uint32 // its stream; 0: none
	last   bool   // it ends the stream
	block  []byte
	fields Header
	size   int // of fields, as RFC 9113 6.5.2 counts
}

func (c *Conn2) read() {
	r := newReader2(c)
	err := r.begin()
	for err == nil {
		if err = r.next(); err == nil && r.leaving && c.drained() {
			err = ErrOver
		}
	}
	if code := errorCode(0); errors.As(err, &code) {
		payload := binary.BigEndian.AppendUint32(make([]byte, 4, 8), uint32(code))
		_ = c.sendFrame(frameGoAway, 0, 0, payload)
	}
	c.end(err)
}

func newReader2(c *Conn2) *reader2 {
	r := &reader2{c: c, in: bufio.NewReaderSize(c.conn, 2<<10), granted: connWindow}
	r.dec = hpack.NewDecoder(4096, r.field)
	r.dec.SetMaxStringLength(c.maxHead)
	return r
}

// begin reads the settings, which come first.
func (r *reader2) begin() error {
	f, err := r.frame()
	if err != nil {
		return err
	}
	if f.kind != frameSettings || f.has(flagAck) {
		return codeProtocol
	}
	return r.settings(&f)
}

func (r *reader2) frame() (frame, error) {
	head, err := r.in.Peek(frameHead)
	if err != nil {
		return frame{}, err
	}
	if size := int(head[0])<<16 | int(head[1])<<8 | int(head[2]); size <= maxFrame {
		r.buf = slices.Grow(r.buf[:0], size)[:size]
	}
	return readFrame(r.in, r.buf)
}

// next reads a frame and does what it says.
func (r *reader2) next() error {
	f, err := r.frame()
	if err != nil {
		return err
	}
	if r.uneventful++; r.uneventful > maxUneventful {
		return codeCalm
	}
	if (r.open != 0) != (f.kind == frameContinuation) || r.open != 0 && f.stream != r.open {
		return codeProtocol // nothing comes between the frames of one header
	}
	switch f.kind {
	case frameData, frameHeaders, frameContinuation, frameReset:
		return r.ofStream(&f)
	case frameSettings, framePing, frameGoAway:
		return r.ofConnection(&f)
	case frameWindowUpdate:
		return r.windowUpdate(&f)
	case framePushPromise:
		return codeProtocol // it was refused by our settings
	}
	return nil // of another kind: RFC 9113 4.1
}

// ofStream is for frames of one exchange.
func (r *reader2) ofStream(f *frame) error {
	if !r.c.begun(f.stream) {
		return codeProtocol
	}
	switch f.kind {
	case frameData:
		return r.data(f)
	case frameReset:
		return r.reset(f)
	}
	return r.header(f)
}

// begun says whether a stream of that number was ever begun.
func (c *Conn2) begun(id uint32) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return id%2 == 1 && id < c.next
}

// ofConnection is for frames that belong to no stream.
func (r *reader2) ofConnection(f *frame) error {
	switch {
	case f.stream != 0:
		return codeProtocol
	case f.kind == frameSettings:
		return r.settings(f)
	case f.kind == frameGoAway:
		return r.goAway(f)
	case len(f.payload) != 8:
		return codeFrameSize
	case f.has(flagAck):
		return nil
	}
	return r.c.sendFrame(framePing, flagAck, 0, f.payload)
}

// data takes a piece of a body.
func (r *reader2) data(f *frame) error {
	if r.granted -= int64(len(f.payload)); r.granted < 0 {
		return codeFlowControl
	}
	body, err := f.unpadded()
	if err != nil {
		return err
	}
	if r.granted < connWindow/2 {
		more := binary.BigEndian.AppendUint32(nil, uint32(connWindow-r.granted))
		if err := r.c.sendFrame(frameWindowUpdate, 0, 0, more); err != nil {
			return err
		}
		r.granted = connWindow
	}
	if len(body) > 0 || f.has(flagEndStream) {
		r.uneventful = 0
	}
	reset, err := r.c.take(f, body)
	if reset {
		err = r.c.cancel(f.stream)
	}
	return err
}

// take adds to an answer's body. reset says that no more of it is wanted.
func (c *Conn2) take(f *frame, body []byte) (reset bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.streams[f.stream]
	if s == nil {
		return false, nil // given up
	}
	if s.received += int64(len(f.payload)); s.received > int64(c.maxBody+padRoom) {
		return false, codeFlowControl
	}
	if s.answer.StatusCode == 0 {
		c.finish(s.id, s, errMalformed)
		return true, nil
	}
	s.answer.Body = append(s.answer.Body, body...)
	switch {
	case len(s.answer.Body) > c.maxBody:
		s.answer.Body = s.answer.Body[:c.maxBody+1]
		c.finish(s.id, s, nil)
		return true, nil
	case f.has(flagEndStream):
		c.complete(s)
	}
	return false, nil
}

// complete ends an exchange whose answer has come whole; c.mu is held.
func (c *Conn2) complete(s *stream) {
	length, err := contentLength(s.answer.Header)
	switch {
	case err != nil:
	case s.answer.StatusCode == 0:
		err = errMalformed
	case length != untilClose && length != int64(len(s.answer.Body)) && s.answer.StatusCode != StatusNotModified:
		err = io.ErrUnexpectedEOF
	}
	c.finish(s.id, s, err)
}

// header takes HEADERS or CONTINUATION; the header's parts are read together.
func (r *reader2) header(f *frame) error {
	part := f.payload
	if f.kind == frameHeaders {
		var err error
		if part, err = f.unpadded(); err != nil {
			return err
		}
		r.open, r.last, r.block = f.stream, f.has(flagEndStream), r.block[:0]
	}
	if len(r.block)+len(part) > 2*r.c.maxHead {
		return codeCalm
	}
	r.block = append(r.block, part...)
	if !f.has(flagEndHeaders) {
		return nil
	}
	id := r.open
	r.open, r.fields, r.size = 0, make(Header, 0, 8), 0
	if _, err := r.dec.Write(r.block); err != nil {
		return codeCompression
	}
	if r.dec.Close() != nil {
		return codeCompression
	}
	if r.c.headed(id, r.fields, r.size, r.last) {
		return r.c.cancel(id)
	}
	return nil
}

// field is called with each field of a header.
func (r *reader2) field(f hpack.HeaderField) {
	if r.size += int(f.Size()); r.size <= r.c.maxHead && len(r.fields) < maxFields {
		r.fields = append(r.fields, Field{f.Name, f.Value})
		return
	}
	r.size = max(r.size, r.c.maxHead+1)
}

// headed takes the fields of a header. reset says that the rest is not wanted.
func (c *Conn2) headed(id uint32, fields Header, size int, last bool) (reset bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.streams[id]
	if s == nil {
		return false // given up
	}
	err := error(nil)
	switch {
	case size > c.maxHead:
		err = errHeadTooLarge
	case s.answer.StatusCode == 0:
		err = s.begin(fields, last)
	case !last:
		err = errMalformed // fields behind the body end the stream
	}
	switch {
	case err != nil:
		c.finish(id, s, err)
		return !last
	case last:
		c.complete(s)
	}
	return false
}

// begin takes the head of an answer, or of one that only announces it.
func (s *stream) begin(fields Header, last bool) error {
	code, ok := statusOf(fields)
	if !ok {
		return errMalformed
	}
	if code < 200 {
		if s.early++; s.early > maxAnnouncements || last {
			return errAnnouncements
		}
		return nil
	}
	s.answer.StatusCode, s.answer.Status, s.answer.Header = code, statusLine(code), fields[1:]
	return nil
}

// statusOf gives the status that fields begin with, if all of them are valid.
func statusOf(fields Header) (code int, ok bool) {
	if len(fields) == 0 || fields[0].Name != ":status" || len(fields[0].Value) != 3 {
		return 0, false
	}
	for _, f := range fields[1:] {
		if !isToken(f.Name) || !isValue(f.Value) { // a second :status, too
			return 0, false
		}
	}
	n, err := strconv.ParseUint(fields[0].Value, 10, 16)
	return int(n), err == nil && n >= 100
}

// reset ends an exchange as the server wants it.
func (r *reader2) reset(f *frame) error {
	if len(f.payload) != 4 {
		return codeFrameSize
	}
	err := error(errorCode(binary.BigEndian.Uint32(f.payload)))
	if errors.Is(err, codeRefused) {
		err = ErrOver // it was not looked at
	}
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	if s := r.c.streams[f.stream]; s != nil {
		r.c.finish(f.stream, s, err)
	}
	return nil
}

// goAway takes no more requests; those that the server will not look at are over.
func (r *reader2) goAway(f *frame) error {
	if len(f.payload) < 8 {
		return codeFrameSize
	}
	last := binary.BigEndian.Uint32(f.payload) & maxWindow
	r.leaving = true
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	if r.c.err == nil {
		r.c.err = ErrOver
	}
	for id, s := range r.c.streams {
		if id > last {
			r.c.finish(id, s, ErrOver)
		}
	}
	r.c.wake()
	return nil
}

// drained says whether no exchange is under way.
func (c *Conn2) drained() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.streams) == 0
}

// windowUpdate lets more be sent.
func (r *reader2) windowUpdate(f *frame) error {
	if len(f.payload) != 4 {
		return codeFrameSize
	}
	more := int64(binary.BigEndian.Uint32(f.payload) & maxWindow)
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	window := &r.c.window
	if f.stream != 0 {
		s := r.c.streams[f.stream]
		if s == nil {
			return nil
		}
		window = &s.window
	}
	if *window += more; more == 0 || *window > maxWindow {
		return codeFlowControl
	}
	r.c.wake()
	return nil
}

// settings takes and acknowledges the server's settings.
func (r *reader2) settings(f *frame) error {
	if f.has(flagAck) {
		return nil
	}
	if len(f.payload)%6 != 0 || f.stream != 0 {
		return codeFrameSize
	}
	for p := f.payload; len(p) > 0; p = p[6:] {
		if err := r.c.set(binary.BigEndian.Uint16(p), binary.BigEndian.Uint32(p[2:])); err != nil {
			return err
		}
	}
	return r.c.sendFrame(frameSettings, flagAck, 0, nil)
}

// set takes one setting. A larger frame than everybody must take is of no use to us.
func (c *Conn2) set(id uint16, value uint32) error {
	if id == settingTable {
		c.write.Lock()
		defer c.write.Unlock()
		c.enc.SetMaxDynamicTableSizeLimit(value)
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case id == settingStreams:
		c.most = int(min(value, maxMost))
	case id == settingWindow && value > maxWindow:
		return codeFlowControl
	case id == settingWindow:
		for _, s := range c.streams {
			if s.window += int64(value) - c.first; s.window > maxWindow {
				return codeFlowControl
			}
		}
		c.first = int64(value)
	}
	c.wake()
	return nil
}
