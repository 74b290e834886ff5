package reach

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/routerd/routerd/internal/catalogue"
	"github.com/routerd/routerd/internal/web"
)

// request is what a check sends: what curl sends for the same URL over HTTP/1.1.
// It is the same on every router.
func request(t catalogue.Target, path string) string {
	return "GET " + path + " HTTP/1.1\r\n" +
		"Host: " + t.HostHeader() + "\r\n" +
		"User-Agent: curl/8.14.1\r\n" +
		"Accept: */*\r\n\r\n"
}

// maxHead bounds the head of an answer, in bytes.
const maxHead = 32 << 10

// maxPage is how much of a page is looked at.
const maxPage = 4 << 10

// http asks for a page and reads what a check may.
func (x *probe) http(ctx context.Context, conn net.Conn, s *Session) {
	path, want := x.target.Path, int64(bodyBytes)
	if x.deep {
		want = deepBytes
		if x.large != "" {
			path = x.large
		}
	}
	s.HTTP = &Response{}
	began := time.Now()
	head := &io.LimitedReader{R: conn, N: maxHead}
	in := bufio.NewReaderSize(head, 4<<10)
	var resp *web.Response
	err := x.timed(ctx, conn, x.o.Times.Answer, func() (err error) {
		if _, err = io.WriteString(conn, request(x.target, path)); err != nil {
			return err
		}
		resp, err = web.ReadResponse(in, web.MethodGet, maxHead)
		return err
	})
	s.HTTP.Took = time.Since(began)
	switch {
	case err != nil && head.N == 0:
		s.HTTP.Failure = Failure{FaultGarbage, "its head does not end"}
		return
	case err != nil:
		s.HTTP.Failure = httpFailure(err)
		return
	}
	head.N += want + 8<<10 // what chunks add, too
	s.HTTP.describe(resp)
	page := s.transfer(&patient{ctx, conn, resp.Body, x.o.Times.Silence, time.Now()}, want)
	s.HTTP.Length = s.Transfer.Bytes
	s.HTTP.Title = titleOf(page)
}

// httpFailure tells what is no HTTP from what did not come.
func httpFailure(err error) Failure {
	f := failure(err)
	if f.Fault == FaultOther {
		f.Fault = FaultGarbage
	}
	return f
}

func (r *Response) describe(resp *web.Response) {
	r.Status, r.Server = resp.StatusCode, clean(resp.Header.Get("Server"))
	if u, err := url.Parse(resp.Header.Get("Location")); err == nil && resp.StatusCode/100 == 3 {
		r.Location = clean(strings.ToLower(u.Hostname()))
	}
	const most = 40
	for _, f := range resp.Header {
		r.Fields = append(r.Fields, clean(strings.ToLower(f.Name)))
	}
	slices.Sort(r.Fields)
	r.Fields = slices.Compact(r.Fields)
	r.Fields = r.Fields[:min(len(r.Fields), most)]
	// Cloudflare's documented sign that a script, not the person, is sent away.
	r.Challenge = resp.Header.Get("Cf-Mitigated") == "challenge"
}

// transfer reads a body up to want bytes and gives its beginning.
func (s *Session) transfer(body io.Reader, want int64) (page []byte) {
	t := &Transfer{}
	s.Transfer = t
	began := time.Now()
	defer func() { t.Took = time.Since(began) }()
	buf := make([]byte, 4<<10)
	for t.Bytes < want {
		n, err := body.Read(buf[:min(int64(len(buf)), want-t.Bytes)])
		t.Bytes += int64(n)
		page = append(page, buf[:min(n, maxPage-len(page))]...)
		switch {
		case errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
			t.Whole = true
			return page
		case errors.Is(err, errBudget):
			return page
		case err != nil:
			t.Failure = failure(err)
			return page
		}
	}
	return page
}

// patient reads from a connection that may be slow but not silent.
type patient struct {
	ctx     context.Context
	conn    net.Conn
	body    io.Reader
	silence time.Duration
	began   time.Time
}

var errSlow = errors.New("the time was up while bytes still came")

// Read waits for something, however little; three times as long where it has been
// slow so far. What a full queue drops comes again after a wait that has grown
// with the queue, and until then nothing behind it is given to the reader.
func (p *patient) Read(b []byte) (int, error) {
	now := time.Now()
	_ = p.conn.SetReadDeadline(now.Add(p.silence + min(4*now.Sub(p.began), 2*p.silence)))
	if p.ctx.Err() != nil {
		return 0, errSlow
	}
	n, err := p.body.Read(b)
	if err != nil && p.ctx.Err() != nil && !errors.Is(err, io.EOF) {
		return n, errSlow
	}
	return n, err
}

// titlePattern finds the title of a page. Counted repetitions would take every start
// on a slow processor tens of milliseconds.
var titlePattern = regexp.MustCompile(`(?is)<title[^>]*>\s*(.*?)\s*</title>`)

// titleMost is how many characters a title may have.
const titleMost = 120

func titleOf(page []byte) string {
	m := titlePattern.FindSubmatch(page)
	if m == nil || utf8.RuneCount(m[1]) > titleMost {
		return ""
	}
	return clean(string(m[1]))
}
