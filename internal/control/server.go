package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/routerd/routerd/internal/web"
)

// Handlers are what the daemon answers with. A field that is nil is answered
// with status 501. They are called from many goroutines at once; ctx ends when
// the client leaves, the request's time is over, or the daemon stops.
type Handlers struct {
	Status func(ctx context.Context) (Status, error)
	// Why gets the query as ParseTarget makes it, and an address or "".
	Why       func(ctx context.Context, query, client string) (Why, error)
	Flows     func(ctx context.Context) ([]Flow, error)
	Doctor    func(ctx context.Context) ([]Finding, error)
	Catalogue func(ctx context.Context, words []string) ([]Service, error)
	// Reload applies the settings. An error means that they were refused and
	// the old ones stay; the problems say why.
	Reload func(ctx context.Context) ([]Problem, error)
	// Restart ends the daemon, soon, for another that begins in its place.
	Restart func(ctx context.Context) error
	Lists   func(ctx context.Context) ([]List, error)
	// UpdateList fetches a list now, or with "" every list, and reports how
	// far it is, from the goroutine that called it; the last report of each
	// list is done or failed, and a failed one is not an error. An unknown name
	// is ErrInvalid.
	UpdateList func(ctx context.Context, name string, progress func(ListProgress)) error
	// Checks gives what is known of every target.
	Checks func(ctx context.Context) ([]Check, error)
	// Check checks targets now, as Client.Check says, and reports each result
	// and each end from the goroutine that called it. What is unknown is ErrInvalid.
	Check func(ctx context.Context, what []string, progress func(CheckProgress)) error
	// History gives the last 24 hours of a destination, "": of each.
	History func(ctx context.Context, destination string) ([]History, error)
	// Metrics writes Prometheus text.
	Metrics func(w io.Writer)
	Events  *EventLog
}

// Bounds of the server.
const (
	maxConnections = 32
	maxBody        = 64 << 10
	maxHeader      = 16 << 10
)

// limits are the server's times; tests shorten them.
type limits struct {
	header  time.Duration // for a request's header and body to arrive
	idle    time.Duration // of a kept connection
	request time.Duration // for an answer to be made
	write   time.Duration // for an answer, or one line of a stream, to be taken
	stop    time.Duration // for open requests at the end
	streams int           // at most: followers must leave connections for others
}

func defaultLimits() limits {
	return limits{
		header:  5 * time.Second,
		idle:    30 * time.Second,
		request: time.Minute,
		write:   10 * time.Second,
		stop:    2 * time.Second,
		streams: maxConnections / 2,
	}
}

// ServeOn answers on a listener until ctx ends, which is no error, and closes it. At
// most 32 connections are accepted at a time.
func ServeOn(ctx context.Context, ln net.Listener, h Handlers, log *slog.Logger) error {
	return serve(ctx, ln, h, log, defaultLimits())
}

func serve(ctx context.Context, ln net.Listener, h Handlers, log *slog.Logger, lim limits) error {
	requests, endRequests := context.WithCancel(context.WithoutCancel(ctx))
	defer endRequests()
	srv := &web.Server{
		Handler: newAPI(requests, h, log, lim).serve, Base: requests, Log: log,
		HeadTime: lim.header, IdleTime: lim.idle, MaxHead: maxHeader, MaxConns: maxConnections,
	}
	stopped := make(chan struct{})
	go func() { // ends with ctx or with the function
		defer close(stopped)
		<-ctx.Done()
		endRequests()
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), lim.stop)
		defer cancel()
		_ = srv.Shutdown(end) // what has no answer by then is closed
	}()
	err := srv.Serve(ln)
	if ctx.Err() != nil {
		<-stopped
		return nil
	}
	srv.Close()
	return fmt.Errorf("serve on %s: %w", ln.Addr(), err)
}

// api answers requests.
type api struct {
	base   context.Context // ends with the daemon
	h      Handlers
	log    *slog.Logger
	lim    limits
	routes map[string]route
	stream chan struct{} // holds one token for each open stream
}

// route is one resource. answer writes the reply; an error it returns is
// written as {"error": …}.
type route struct {
	method string
	have   bool // false: the daemon has no such handler
	answer func(w *web.ResponseWriter, r *web.Request) error
}

func newAPI(base context.Context, h Handlers, log *slog.Logger, lim limits) *api {
	a := &api{base: base, h: h, log: log, lim: lim, stream: make(chan struct{}, lim.streams)}
	a.routes = map[string]route{
		"/v1/status":       {web.MethodGet, h.Status != nil, a.status},
		"/v1/why":          {web.MethodGet, h.Why != nil, a.why},
		"/v1/flows":        {web.MethodGet, h.Flows != nil, a.flows},
		"/v1/events":       {web.MethodGet, h.Events != nil, a.events},
		"/v1/doctor":       {web.MethodGet, h.Doctor != nil, a.doctor},
		"/v1/catalogue":    {web.MethodGet, h.Catalogue != nil, a.catalogue},
		"/v1/reload":       {web.MethodPost, h.Reload != nil, a.reload},
		"/v1/restart":      {web.MethodPost, h.Restart != nil, a.restart},
		"/v1/lists":        {web.MethodGet, h.Lists != nil, a.lists},
		"/v1/lists/update": {web.MethodPost, h.UpdateList != nil, a.updateList},
		"/v1/checks":       {web.MethodGet, h.Checks != nil, a.checks},
		"/v1/check":        {web.MethodPost, h.Check != nil, a.check},
		"/v1/history":      {web.MethodGet, h.History != nil, a.history},
		"/metrics":         {web.MethodGet, h.Metrics != nil, a.metrics},
	}
	return a
}

// serve finds the route and bounds the request.
func (a *api) serve(w *web.ResponseWriter, r *web.Request) {
	rt, ok := a.routes[r.URL.Path]
	switch {
	case !ok:
		a.fail(w, r, &statusError{web.StatusNotFound, "no such resource: " + r.URL.Path})
		return
	case r.Method != rt.method:
		w.Header().Set("Allow", rt.method)
		a.fail(w, r, &statusError{web.StatusMethodNotAllowed, r.URL.Path + " takes " + rt.method})
		return
	case !rt.have:
		a.fail(w, r, &statusError{web.StatusNotImplemented, "this daemon does not answer " + r.URL.Path})
		return
	}
	if err := a.discardBody(r); err != nil {
		a.fail(w, r, err)
		return
	}
	if err := rt.answer(w, r); err != nil {
		a.fail(w, r, err)
	}
}

// discardBody reads the body, which no resource uses, within its bounds.
func (a *api) discardBody(r *web.Request) error {
	err := r.DiscardBody(maxBody, a.lim.header)
	switch {
	case errors.Is(err, web.ErrBodyTooLarge):
		return &statusError{web.StatusRequestEntityTooLarge, fmt.Sprintf("the body is larger than %d bytes", maxBody)}
	case err != nil:
		return &statusError{web.StatusRequestTimeout, "the body did not arrive: " + err.Error()}
	}
	return nil
}

// statusError is an error with the status to answer it with.
type statusError struct {
	status int
	text   string
}

func (e *statusError) Error() string { return e.text }

func statusOf(err error) int {
	var se *statusError
	switch {
	case errors.As(err, &se):
		return se.status
	case errors.Is(err, ErrInvalid):
		return web.StatusBadRequest
	case errors.Is(err, context.DeadlineExceeded):
		return web.StatusGatewayTimeout
	case errors.Is(err, context.Canceled), errors.Is(err, ErrUnavailable):
		return web.StatusServiceUnavailable
	}
	return web.StatusInternalServerError
}

// failure is the body of every answer that is an error.
type failure struct {
	Error string `json:"error"`
}

func (a *api) fail(w *web.ResponseWriter, r *web.Request, err error) {
	status := statusOf(err)
	if status == web.StatusInternalServerError {
		a.log.Warn("control request failed", "path", r.URL.Path, "error", err)
	}
	a.reply(w, status, failure{err.Error()})
}

// reply writes one JSON value. The client that does not take it in time loses
// its connection.
func (a *api) reply(w *web.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		// Only a number that JSON has no word for (NaN) can do this.
		status, body = web.StatusInternalServerError, []byte(`{"error":"the answer cannot be written as JSON"}`)
		a.log.Error("control answer is not JSON", "error", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.SetWriteDeadline(time.Now().Add(a.lim.write))
	_ = w.Reply(status, append(body, '\n')) // the client is gone: nobody to tell
}
