package control

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/routerd/routerd/internal/web"
)

// answer runs a handler within the request's time and writes its value.
func answer[T any](a *api, w *web.ResponseWriter, r *web.Request, get func(context.Context) (T, error)) error {
	ctx, cancel := context.WithTimeout(r.Context(), a.lim.request)
	defer cancel()
	v, err := get(ctx)
	if err != nil {
		return err
	}
	a.reply(w, web.StatusOK, v)
	return nil
}

// list makes a handler's missing list an empty one: the JSON has [], not null.
func list[T any](v []T, err error) ([]T, error) {
	if v == nil {
		v = []T{}
	}
	return v, err
}

func (a *api) status(w *web.ResponseWriter, r *web.Request) error {
	if err := parseNothing(r.URL.RawQuery); err != nil {
		return err
	}
	return answer(a, w, r, func(ctx context.Context) (Status, error) {
		s, err := a.h.Status(ctx)
		return s.filled(), err
	})
}

// filled makes every missing list an empty one.
func (s Status) filled() Status {
	s.DataPlane.Devices, _ = list(s.DataPlane.Devices, nil)
	s.Tunnels, _ = list(s.Tunnels, nil)
	s.Destinations, _ = list(s.Destinations, nil)
	s.Problems, _ = list(s.Problems, nil)
	s.DNS.Upstreams, _ = list(s.DNS.Upstreams, nil)
	s.DNS.Bypass, _ = list(s.DNS.Bypass, nil)
	return s
}

func (a *api) why(w *web.ResponseWriter, r *web.Request) error {
	q, err := parseWhy(r.URL.RawQuery)
	if err != nil {
		return err
	}
	return answer(a, w, r, func(ctx context.Context) (Why, error) {
		v, err := a.h.Why(ctx, q.query, q.client)
		return v.filled(), err
	})
}

// filled makes every missing list an empty one, without writing to the
// handler's own.
func (v Why) filled() Why {
	addresses := make([]WhyAddress, len(v.Addresses))
	for i, w := range v.Addresses {
		w.Names, _ = list(w.Names, nil)
		w.Clients, _ = list(w.Clients, nil)
		w.SharedWith, _ = list(w.SharedWith, nil)
		addresses[i] = w
	}
	v.Addresses = addresses
	checks := make([]Check, len(v.Checks))
	for i, c := range v.Checks {
		checks[i] = c.filled()
	}
	v.Checks = checks
	return v
}

func (a *api) doctor(w *web.ResponseWriter, r *web.Request) error {
	if err := parseNothing(r.URL.RawQuery); err != nil {
		return err
	}
	return answer(a, w, r, func(ctx context.Context) ([]Finding, error) { return list(a.h.Doctor(ctx)) })
}

func (a *api) catalogue(w *web.ResponseWriter, r *web.Request) error {
	words, err := parseWords(r.URL.RawQuery)
	if err != nil {
		return err
	}
	return answer(a, w, r, func(ctx context.Context) ([]Service, error) { return list(a.h.Catalogue(ctx, words)) })
}

func (a *api) reload(w *web.ResponseWriter, r *web.Request) error {
	if err := parseNothing(r.URL.RawQuery); err != nil {
		return err
	}
	// A reload that has begun is finished, whether the one who asked waits or not.
	ctx, cancel := context.WithTimeout(a.base, a.lim.request)
	defer cancel()
	problems, err := list(a.h.Reload(ctx))
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("wait for the reload: %w", ctx.Err())
	}
	reply := Reloaded{Problems: problems}
	status := web.StatusOK
	if err != nil {
		status, reply.Error = web.StatusUnprocessableEntity, err.Error()
	}
	a.reply(w, status, reply)
	return nil
}

func (a *api) restart(w *web.ResponseWriter, r *web.Request) error {
	if err := parseNothing(r.URL.RawQuery); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(a.base, a.lim.request)
	defer cancel()
	if err := a.h.Restart(ctx); err != nil {
		return err
	}
	a.reply(w, web.StatusOK, struct{}{})
	return nil
}

func (a *api) metrics(w *web.ResponseWriter, r *web.Request) error {
	if err := parseNothing(r.URL.RawQuery); err != nil {
		return err
	}
	var text bytes.Buffer
	a.h.Metrics(&text)
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	w.SetWriteDeadline(time.Now().Add(a.lim.write))
	_ = w.Reply(web.StatusOK, text.Bytes()) // the client is gone: nobody to tell
	return nil
}

func (a *api) flows(w *web.ResponseWriter, r *web.Request) error {
	q, err := parseStream(r.URL.RawQuery, "follow", "interval")
	if err != nil {
		return err
	}
	get := func(ctx context.Context) ([]Flow, error) { return list(a.h.Flows(ctx)) }
	if !q.follow {
		return answer(a, w, r, get)
	}
	first, err := get(r.Context())
	if err != nil {
		return err
	}
	lines, done, err := a.openStream(w)
	if err != nil {
		return err
	}
	defer done()
	tick := time.NewTicker(q.interval)
	defer tick.Stop()
	for flows := first; ; {
		if lines.send(flows) != nil {
			return nil
		}
		select {
		case <-r.Context().Done():
			return nil
		case <-tick.C:
		}
		if flows, err = get(r.Context()); err != nil {
			// The header is gone: the end of the stream is all that can be said.
			a.log.Warn("flows stream ended", "error", err)
			return nil
		}
	}
}

func (a *api) events(w *web.ResponseWriter, r *web.Request) error {
	q, err := parseStream(r.URL.RawQuery, "follow", "since")
	if err != nil {
		return err
	}
	lines, done, err := a.openStream(w)
	if err != nil {
		return err
	}
	defer done()
	if !q.follow {
		past, _ := a.h.Events.After(q.since)
		for _, e := range past {
			if lines.send(e) != nil {
				return nil
			}
		}
		return nil
	}
	for e := range a.h.Events.Subscribe(r.Context(), q.since) {
		if lines.send(e) != nil {
			return nil
		}
	}
	return nil
}

// openStream begins an answer of one JSON value a line. done gives its place
// back.
func (a *api) openStream(w *web.ResponseWriter) (s *lineStream, done func(), err error) {
	select {
	case a.stream <- struct{}{}:
	default:
		return nil, nil, &statusError{web.StatusServiceUnavailable, fmt.Sprintf("%d clients follow already; end one of them", cap(a.stream))}
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.SetWriteDeadline(time.Now().Add(a.lim.write))
	if err := w.Stream(web.StatusOK); err != nil {
		<-a.stream
		return nil, nil, fmt.Errorf("begin the stream: %w", err)
	}
	return &lineStream{w, a.lim.write}, func() { <-a.stream }, nil
}

// lineStream writes one JSON value a line and drops a reader that does not take
// a line in time.
type lineStream struct {
	w     *web.ResponseWriter
	write time.Duration
}

func (s *lineStream) send(v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	s.w.SetWriteDeadline(time.Now().Add(s.write))
	return s.w.Send(append(line, '\n'))
}
