package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestNoNameStandsForAll(t *testing.T) {
	r, err := parse([]string{"--routerd", "x"}, &bytes.Buffer{})
	if err != nil || strings.Join(r.names, " ") != "dns forward programs reload wireguard" {
		t.Errorf("%+v, %v", r, err)
	}
	r, err = parse([]string{"--routerd", "x", "--seconds", "3", "--rounds", "9", "reload", "dns"}, &bytes.Buffer{})
	if err != nil || strings.Join(r.names, " ") != "reload dns" || r.Each != 3*time.Second || r.Rounds != 9 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestWrongArgumentsAreNamed(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"", "give --routerd"},
		{"--routerd x --rounds 0", "positive"},
		{"--routerd x --seconds -1", "positive"},
		{"--routerd x everything", `no measurement "everything", but:`},
		{"--nothing", "nothing"},
	} {
		var out bytes.Buffer
		if got := run(strings.Fields(c.args), &out, &out); got != exitUsage || !strings.Contains(out.String(), c.want) {
			t.Errorf("%q: status %d, %q", c.args, got, out.String())
		}
	}
	if got := run([]string{"--help"}, &bytes.Buffer{}, &bytes.Buffer{}); got != 0 {
		t.Errorf("--help ends %d", got)
	}
}
