package web

import (
	"errors"
	"net"
	"strconv"
	"time"
)

// ResponseWriter writes the answer to one request: either by Reply, at once, or by
// Stream and Send, piece by piece. One goroutine uses it.
type ResponseWriter struct {
	conn   net.Conn
	req    *Request
	header Header
	out    []byte

	begun   bool // something has been written
	stream  bool
	chunked bool // of a stream
	keep    bool // the connection can carry another answer behind this one
	failed  bool // what was written is not whole
}

// Header are the fields to send; what is changed after the first write is not sent.
func (w *ResponseWriter) Header() *Header { return &w.header }

// SetWriteDeadline bounds all writes to come. What is not taken by then is not sent,
// and the connection ends.
func (w *ResponseWriter) SetWriteDeadline(t time.Time) { _ = w.conn.SetWriteDeadline(t) }

var errBegun = errors.New("an answer has begun already")

// Reply writes a whole answer.
func (w *ResponseWriter) Reply(status int, body []byte) error {
	if w.begun {
		return errBegun
	}
	w.header.Set("Content-Length", strconv.Itoa(len(body)))
	w.head(status)
	if w.req.Method == methodHead {
		body = nil
	}
	return w.flush(body, "")
}

// Stream begins an answer whose end is not known, and sends its head.
func (w *ResponseWriter) Stream(status int) error {
	if w.begun {
		return errBegun
	}
	w.stream = true
	w.chunked = w.req.minor > 0
	w.keep = w.keep && w.chunked // else the connection's end is the body's
	if w.chunked {
		w.header.Set("Transfer-Encoding", "chunked")
	}
	w.head(status)
	return w.flush(nil, "")
}

// Send sends a piece of a stream.
func (w *ResponseWriter) Send(piece []byte) error {
	if len(piece) == 0 || w.req.Method == methodHead {
		return nil // an empty chunk would be the end
	}
	if !w.chunked {
		return w.flush(piece, "")
	}
	w.out = strconv.AppendUint(w.out, uint64(len(piece)), 16)
	w.out = append(w.out, "\r\n"...)
	return w.flush(piece, "\r\n")
}

// finish ends the answer, and says whether the connection may go on.
func (w *ResponseWriter) finish() bool {
	if !w.begun {
		_ = w.Reply(StatusOK, nil)
	}
	if w.chunked && !w.failed && w.req.Method != methodHead {
		_ = w.flush(nil, "0\r\n\r\n")
	}
	_ = w.conn.SetWriteDeadline(time.Time{})
	return w.keep && !w.failed
}

// head appends the status line and the fields.
func (w *ResponseWriter) head(status int) {
	w.begun = true
	// RFC 9110 6.6.1; a client may compare the age of what it keeps with it.
	w.header.Set("Date", time.Now().UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT"))
	w.keep = w.keep && w.req.body == nil
	switch {
	case !w.keep:
		w.header.Set("Connection", "close")
	case w.req.minor == 0:
		w.header.Set("Connection", "keep-alive")
	}
	w.out = append(w.out, "HTTP/1.1 "...)
	w.out = append(w.out, statusLine(status)...)
	w.out = append(w.out, "\r\n"...)
	w.out = appendFields(w.out, w.header)
}

// flush writes what has gathered, a body and what follows it: in one piece, unless
// the body is worth not to be copied.
func (w *ResponseWriter) flush(body []byte, after string) error {
	const small = 4 << 10
	parts := [][]byte{nil, body, []byte(after)}
	if len(body) <= small {
		w.out = append(append(w.out, body...), after...)
		parts = parts[:1]
	}
	parts[0] = w.out
	w.out = w.out[:0]
	for _, part := range parts {
		if _, err := w.conn.Write(part); err != nil {
			w.failed = true
			return err
		}
	}
	return nil
}
