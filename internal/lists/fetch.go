package lists

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path"
	"time"

	"github.com/routerd/routerd/internal/config"
	"github.com/routerd/routerd/internal/web"
)

// userAgent says nothing of who asks; some servers refuse requests without one.
const userAgent = "Mozilla/5.0 (compatible)"

// maxRedirects is how many are followed.
const maxRedirects = 5

var (
	errStalled = errors.New("nothing was received for too long")
	errTooSlow = errors.New("it took too long")
)

// fetch reads a list over HTTP by one path.
func (m *Manager) fetch(ctx context.Context, l config.List, by string, known meta, progress func(done, total int64)) (result, error) {
	source, err := url.Parse(l.URL)
	if err != nil || source.Scheme != "http" && source.Scheme != "https" || source.Host == "" {
		return result{}, fmt.Errorf("address %q is not https://, http:// or file://", oneLine(l.URL))
	}
	ctx, cancel := context.WithTimeoutCause(ctx, m.limits.whole, errTooSlow)
	defer cancel()
	ctx, stall := context.WithCancelCause(ctx)
	defer stall(nil)
	resp, err := m.newGuard(source, m.opts.Dial(by)).follow(ctx, source, header(known))
	if err != nil {
		return result{}, fetchError(ctx, err)
	}
	defer resp.Close()
	res, err := answered(resp.Response, known)
	if err != nil || res.same {
		return res, err
	}
	watch := time.AfterFunc(m.limits.stall, func() { stall(errStalled) })
	defer watch.Stop()
	body := &watchedReader{r: resp.Body, alive: func() { watch.Reset(m.limits.stall) }}
	res.parsed, err = m.parse(body, l, path.Base(source.Path), nil, func(done int64) {
		progress(done, max(resp.ContentLength, 0))
	})
	return res, fetchError(ctx, err)
}

// header asks for a list, by condition where it is known.
func header(known meta) web.Header {
	// The body is taken as it is: its size then is what the server says, and progress
	// can be shown.
	h := web.Header{{Name: "User-Agent", Value: userAgent}, {Name: "Accept", Value: "*/*"}, {Name: "Accept-Encoding", Value: "gzip"}}
	if known.ETag != "" {
		h.Set("If-None-Match", known.ETag)
	}
	if known.Modified != "" {
		h.Set("If-Modified-Since", known.Modified)
	}
	h.Set("Connection", "close")
	return h
}

// answered looks at the head of an answer.
func answered(resp *web.Response, known meta) (result, error) {
	res := result{etag: headerOf(resp, "ETag"), modified: headerOf(resp, "Last-Modified")}
	switch {
	case resp.StatusCode == web.StatusOK:
		return res, nil
	case resp.StatusCode == web.StatusNotModified && known.ETag+known.Modified != "":
		res.same = true
		return res, nil
	}
	return res, fmt.Errorf("the server answers %q", oneLine(resp.Status))
}

// headerOf gives a header that can be kept in one line, else "".
func headerOf(resp *web.Response, name string) string {
	const longest = 200
	v := resp.Header.Get(name)
	if len(v) > longest || oneLine(v) != v {
		return ""
	}
	return v
}

// watchedReader tells of every byte that arrives.
type watchedReader struct {
	r     io.Reader
	alive func()
}

func (w *watchedReader) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	if n > 0 {
		w.alive()
	}
	return n, err
}

// fetchError puts the reason for which a fetch was ended in place of the error
// that this caused. It is an error
// also where none came of it: a server that sees the connection end may close a
// body that is not whole as if it were, just in time to be read.
func fetchError(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}
