package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// steadyWait is how long each of a steady client's lookups waits. It is sent once
// only: what is lost shows.
const steadyWait = 8 * time.Second

// streamTurns is every how many turns a question over TCP is asked: a client may
// have some connections to a DNS server at a time, not hundreds.
const streamTurns = 40

// Question is what a steady client asks, and whom.
type Question struct {
	Server string // address:port
	Name   string
	TCP    bool
}

// ParseQuestion reads SERVER/NAME or SERVER/NAME/tcp, the server as address:port.
func ParseQuestion(s string) (Question, error) {
	server, name, ok := strings.Cut(s, "/")
	if !ok || server == "" || name == "" {
		return Question{}, fmt.Errorf("%q is no SERVER/NAME", s)
	}
	q := Question{Server: server, Name: name}
	q.Name, q.TCP = strings.CutSuffix(name, "/tcp")
	return q, nil
}

// Steadiness is what came of one question that was asked again and again.
type Steadiness struct {
	Question string         `json:"question"`
	Asked    int            `json:"asked"`
	Answered int            `json:"answered"` // with an address
	Other    map[string]int `json:"other"`    // what else came of it, and how often
	SlowestS float64        `json:"slowest_s"`
	Late     int            `json:"late"` // answered after more than a tenth of a second
	// FailedS lies between the first lookup that failed and the end of the last.
	FailedS float64 `json:"failed_s"`

	firstFailure time.Time
}

// Steady asks each question anew at every interval, over TCP at every fortieth,
// until ctx ends, without regard to answers that are still to come, and tells what
// came of each once all lookups are over.
func Steady(ctx context.Context, questions []string, every time.Duration) ([]Steadiness, error) {
	out := make([]Steadiness, len(questions))
	asked := make([]Question, len(questions))
	for i, s := range questions {
		q, err := ParseQuestion(s)
		if err != nil {
			return nil, err
		}
		asked[i], out[i] = q, Steadiness{Question: s, Other: map[string]int{}}
	}
	var mu sync.Mutex // guards out
	var lookups sync.WaitGroup
	turns := time.NewTicker(every)
	defer turns.Stop()
	for turn := 0; ctx.Err() == nil; turn++ {
		for i, q := range asked {
			if q.TCP && turn%streamTurns != 0 {
				continue
			}
			lookups.Go(func() {
				begin := time.Now()
				what := q.ask(context.WithoutCancel(ctx))
				mu.Lock()
				defer mu.Unlock()
				out[i].note(begin, time.Since(begin), what)
			})
		}
		select {
		case <-ctx.Done():
		case <-turns.C:
		}
	}
	lookups.Wait()
	return out, nil
}

// note takes one lookup in; what is "" for an answer with an address.
func (s *Steadiness) note(begin time.Time, took time.Duration, what string) {
	s.Asked++
	s.SlowestS = max(s.SlowestS, took.Seconds())
	if what == "" {
		s.Answered++
		if took > time.Second/10 {
			s.Late++
		}
		return
	}
	s.Other[what]++
	if s.firstFailure.IsZero() || begin.Before(s.firstFailure) {
		s.firstFailure = begin
	}
	s.FailedS = max(s.FailedS, begin.Add(took).Sub(s.firstFailure).Seconds())
}

// ask asks once and says in a word what came of it, "" for an address.
func (q Question) ask(ctx context.Context) string {
	query, id, err := question(q.Name, dnsmessage.TypeA)
	if err != nil {
		return err.Error()
	}
	ctx, stop := context.WithTimeout(ctx, steadyWait)
	defer stop()
	var answer []byte
	if q.TCP {
		answer, err = askStream(ctx, q.Server, query)
	} else {
		answer, err = askOnce(ctx, q.Server, query, id)
	}
	if err != nil {
		return kind(err)
	}
	found, _, err := parseAnswer(answer)
	if err != nil {
		return err.Error()
	}
	if len(found) == 0 {
		return "no address"
	}
	return ""
}

// kind is an error without addresses and ports, so that alike ones count together.
func kind(err error) string {
	var errno syscall.Errno
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return "no answer"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "connection closed"
	case errors.As(err, &errno):
		return errno.Error()
	}
	return err.Error()
}
