package web

import (
	"bufio"
	"errors"
	"io"
	"strconv"
	"strings"
)

// Response is an answer whose head has been read.
type Response struct {
	StatusCode int
	Status     string // code and reason, as they came: "200 OK"
	Header     Header // without what says how the body is transferred
	// ContentLength is the body's length in bytes, -1 where it is not known ahead.
	ContentLength int64
	// Body is never nil. Its end is io.EOF if it is whole, else another error.
	Body io.Reader

	keep bool // the connection may carry another exchange after the body
}

var errAnnouncements = errors.New("only announcements of an answer came")

// noHTTP is an error about what came in the place of a status line.
func noHTTP(line string) error {
	const most = 64
	return errors.New("malformed status line " + strconv.Quote(line[:min(len(line), most)]))
}

// maxAnnouncements is how many answers may come that only announce one.
const maxAnnouncements = 5

// ReadResponse reads the head of the answer to a request with a method, of at most
// maxHead bytes, past those that only announce one (RFC 9110 15.2). io.EOF says that
// nothing came.
func ReadResponse(in *bufio.Reader, method string, maxHead int) (*Response, error) {
	r := headReader{in, maxHead}
	for range maxAnnouncements {
		resp, err := r.response(method)
		if err != nil || resp.StatusCode >= 200 || resp.StatusCode == statusSwitchingProtocols {
			return resp, err
		}
	}
	return nil, errAnnouncements
}

func (r *headReader) response(method string) (*Response, error) {
	line, err := r.line()
	if err != nil {
		return nil, err
	}
	resp, minor, err := parseStatusLine(line)
	if err != nil {
		return nil, err
	}
	if resp.Header, err = r.fields(false); err != nil {
		return nil, err
	}
	length, chunked, err := framing(&resp.Header, minor)
	if err != nil {
		return nil, err
	}
	resp.ContentLength = length
	resp.keep = minor > 0 && !resp.Header.hasToken("Connection", "close")
	switch {
	case method == methodHead || hasNoBody(resp.StatusCode):
		resp.Body = strings.NewReader("")
	case chunked:
		resp.Body = &chunkedBody{in: r.in}
	case length == untilClose:
		resp.Body, resp.keep = r.in, false
	default:
		resp.Body = &sizedBody{r.in, length}
	}
	return resp, nil
}

// hasNoBody says whether no body follows a status, whatever the header says.
func hasNoBody(status int) bool {
	return status < 200 || status == 204 || status == StatusNotModified
}

// parseStatusLine reads "HTTP/1.1 200 OK", whose reason may be missing. minor is
// that of the version, and 1 where the major one is another than 1.
func parseStatusLine(line string) (resp *Response, minor int, err error) {
	version, status, ok := strings.Cut(line, " ")
	major, minor, valid := parseVersion(version)
	if !ok || !valid {
		return nil, 0, noHTTP(line)
	}
	if major != 1 {
		minor = 1
	}
	status = strings.TrimLeft(status, " ")
	digits, _, _ := strings.Cut(status, " ")
	code, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || len(digits) != 3 || code < 100 {
		return nil, 0, noHTTP(line)
	}
	return &Response{StatusCode: int(code), Status: status}, minor, nil
}

// parseVersion reads HTTP/x.y.
func parseVersion(s string) (major, minor int, ok bool) {
	if len(s) != len("HTTP/1.1") || s[:5] != "HTTP/" || s[6] != '.' {
		return 0, 0, false
	}
	major, minor = int(s[5])-'0', int(s[7])-'0'
	return major, minor, major >= 0 && major <= 9 && minor >= 0 && minor <= 9
}
