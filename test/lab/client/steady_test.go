package client_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/routerd/routerd/test/lab/client"
)

// A server that fails for a while: what each lookup met is told, also that of
// those that were under way when the asking ended.
func TestSteadyTellsOfEachLookup(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	const failFrom, failTo, last = 10, 20, 100
	var n atomic.Int64
	server := serveDNS(t, func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg)
		m.SetReply(q)
		i := n.Add(1)
		if i >= failFrom && i < failTo {
			m.Rcode = dns.RcodeServerFailure
		} else {
			m.Answer = []dns.RR{&dns.A{
				Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 1},
				A:   []byte{192, 0, 2, 1},
			}}
		}
		if i == last {
			stop()
		}
		_ = w.WriteMsg(m)
	})
	got, err := client.Steady(ctx, []string{server + "/a.example", server + "/a.example/tcp"}, time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	asked, answered, failed := sum(t, got)
	if asked != int(n.Load()) || failed != failTo-failFrom || answered != asked-failed {
		t.Errorf("of %d lookups, of which %d failed, it tells %+v", n.Load(), failTo-failFrom, got)
	}
}

// sum adds up what came of all questions.
func sum(t *testing.T, results []client.Steadiness) (asked, answered, failed int) {
	t.Helper()
	for _, s := range results {
		asked, answered, failed = asked+s.Asked, answered+s.Answered, failed+s.Other["name server answers ServerFailure"]
		if s.SlowestS <= 0 || (len(s.Other) > 0) != (s.FailedS > 0) {
			t.Errorf("times are wrong: %+v", s)
		}
	}
	return asked, answered, failed
}

func TestSteadyRefusesAQuestionWithoutAServer(t *testing.T) {
	for _, q := range []string{"nonsense", "/a.example", "192.0.2.1:53/"} {
		if _, err := client.Steady(t.Context(), []string{q}, time.Millisecond); err == nil {
			t.Errorf("%q is taken", q)
		}
	}
}
