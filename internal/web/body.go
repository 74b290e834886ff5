package web

import (
	"bufio"
	"errors"
	"io"
	"math"
	"strconv"
	"strings"
)

var (
	errChunk    = errors.New("the body's chunks are malformed")
	errLength   = errors.New("the body's length is malformed")
	errEncoding = errors.New("the body has an encoding for the transfer that nobody asked for")
)

const (
	maxChunkLine = 4 << 10  // of a chunk's size with its extensions
	maxTrailer   = 16 << 10 // of all fields after a body
	// maxWaste bounds what chunks may add: a body of many tiny ones, or with long
	// extensions, would take any time to bring nothing.
	maxWaste = 16 << 10
)

// untilClose is the length of a body that ends with its connection.
const untilClose = -1

// framing says how long a body is: bytes, or untilClose; or chunked. It takes what
// it uses off the header, as the message is without it.
func framing(h *Header, minor int) (length int64, chunked bool, err error) {
	length, err = contentLength(*h)
	if err != nil {
		return 0, false, err
	}
	n := h.count("Transfer-Encoding")
	coding := h.Get("Transfer-Encoding")
	h.remove("Transfer-Encoding")
	switch {
	case n == 0 || minor == 0: // HTTP/1.0 knows no encodings
		return length, false, nil
	case n > 1 || !strings.EqualFold(coding, "chunked"):
		return 0, false, errEncoding
	}
	h.remove("Trailer")
	return untilClose, true, nil
}

// contentLength gives what Content-Length says, untilClose where nothing does.
func contentLength(h Header) (int64, error) {
	length := int64(untilClose)
	for _, f := range h {
		if !strings.EqualFold(f.Name, "Content-Length") {
			continue
		}
		n, err := strconv.ParseUint(f.Value, 10, 63)
		if err != nil || f.Value[0] == '+' || length != untilClose && length != int64(n) {
			return 0, errLength
		}
		length = int64(n)
	}
	return length, nil
}

// sizedBody is a body whose length is known.
type sizedBody struct {
	in   io.Reader
	left int64
}

// Read gives io.ErrUnexpectedEOF if the connection ends first.
func (b *sizedBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	n, err := b.in.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	switch {
	case b.left == 0:
		err = io.EOF
	case errors.Is(err, io.EOF):
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// chunkedBody is a body in chunks, RFC 9112 7.1.
type chunkedBody struct {
	in    *bufio.Reader
	left  int64 // of the chunk
	begun bool  // a chunk came before
	waste int64
	err   error // how it ended
}

// Read gives io.EOF after the last chunk and the fields behind it.
func (b *chunkedBody) Read(p []byte) (int, error) {
	if b.err == nil && b.left == 0 {
		b.err = unexpected(b.next())
	}
	if b.err != nil || len(p) == 0 {
		return 0, b.err
	}
	n, err := b.in.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	b.err = unexpected(err)
	return n, b.err
}

// unexpected makes an end where there should be none an error of its own.
func unexpected(err error) error {
	switch {
	case errors.Is(err, errBodyEnd):
		return io.EOF
	case errors.Is(err, io.EOF):
		return io.ErrUnexpectedEOF
	}
	return err
}

// errBodyEnd says that the last chunk came.
var errBodyEnd = errors.New("end of body")

// next reads up to the first byte of the next chunk.
func (b *chunkedBody) next() error {
	if b.begun {
		end := headReader{b.in, 2}
		if line, err := end.line(); err != nil || line != "" {
			return malformed(err)
		}
	}
	b.begun = true
	r := headReader{b.in, maxChunkLine}
	line, err := r.line()
	if err != nil {
		return malformed(err)
	}
	size, ok := parseChunkSize(line)
	if !ok {
		return errChunk
	}
	// As much as a chunk's own bytes is not waste.
	b.waste = max(0, b.waste+int64(len(line))-16-2*min(size, maxWaste))
	switch {
	case b.waste > maxWaste:
		return errChunk
	case size == 0:
		trailer := headReader{b.in, maxTrailer}
		if _, err := trailer.fields(false); err != nil {
			return malformed(err)
		}
		return errBodyEnd
	}
	b.left = size
	return nil
}

// malformed is an error of the connection as it is, else errChunk.
func malformed(err error) error {
	if err == nil || errors.Is(err, errHeadTooLarge) || errors.Is(err, errNoField) {
		return errChunk
	}
	return err
}

// parseChunkSize reads the hexadecimal number at the beginning of a chunk.
func parseChunkSize(line string) (int64, bool) {
	digits, _, _ := strings.Cut(line, ";")
	digits = strings.TrimRight(digits, " \t")
	if digits == "" || digits[0] == '+' || strings.IndexByte(digits, '_') >= 0 {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 16, 63)
	return int64(n), err == nil && n < math.MaxInt64
}
