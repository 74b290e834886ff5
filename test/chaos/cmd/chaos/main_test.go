package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestWrongUsageIsTold(t *testing.T) {
	good := []string{"--routerd", "a", "--upgrade", "b", "--log", "c"}
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"no programs", nil, "give --routerd"},
		{"an argument", append([]string{"now"}, good...), "give --routerd"},
		{"no time", append([]string{"--minutes", "0"}, good...), "minutes above 0"},
		{"no such event", append([]string{"--only", "kill,rain"}, good...), `no event is called "rain"`},
		{"no such option", []string{"--rain"}, "not defined"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out, failed bytes.Buffer
			if status := run(c.args, strings.NewReader(""), &out, &failed); status != exitUsage {
				t.Errorf("exit status %d", status)
			}
			if !strings.Contains(failed.String(), c.want) || out.Len() > 0 {
				t.Errorf("wrote %q and %q", out.String(), failed.String())
			}
		})
	}
}

func TestSeedIsTakenWhereNoneIsGiven(t *testing.T) {
	var failed bytes.Buffer
	o, _, err := options([]string{"--routerd", "a", "--upgrade", "b", "--log", "c"}, &failed)
	if err != nil || o.Seed == 0 || len(o.Kinds) == 0 {
		t.Errorf("seed %d, kinds %v, %v", o.Seed, o.Kinds, err)
	}
}
