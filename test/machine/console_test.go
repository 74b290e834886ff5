package machine

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/routerd/routerd/test/machine/job"
)

func TestConsolePassesTheCommandsOctetsOnHoweverTheyCome(t *testing.T) {
	j := job.Job{ID: "abc"}
	want := job.Result{Status: 3, Total: 50000, Peak: 20000, Resident: 9000}
	for name, said := range map[string]string{
		"text": "one\ntwo\n", "no line end": "one", "nothing": "", "line ends of others": "a\r\nb\r\n", "beginning of the last line": "x\nmachine abc\nmachine abc end\n",
	} {
		whole := "noise of the boot\r\n" + strings.ReplaceAll(j.Begin(), "\n", "\r\n") + said + j.End(want) + "after the end"
		for _, size := range []int{1, 2, 7, 1000} {
			t.Run(name, func(t *testing.T) {
				var out bytes.Buffer
				c := &console{job: j, out: &out}
				for rest := []byte(whole); len(rest) > 0; {
					n := min(size, len(rest))
					if _, err := c.Write(rest[:n]); err != nil {
						t.Fatal(err)
					}
					rest = rest[n:]
				}
				if c.result == nil || *c.result != want {
					t.Errorf("result %+v, want %+v", c.result, want)
				}
				if d := cmp.Diff(said, out.String()); d != "" {
					t.Errorf("output (-want +got):\n%s", d)
				}
			})
		}
	}
}

func TestConsoleHoldsNothingBackThatIsNoEnd(t *testing.T) {
	var out bytes.Buffer
	c := &console{job: job.Job{ID: "abc"}, out: &out}
	for _, s := range []string{"\nmachine abc begins\n", "# ", "ls\n"} {
		if _, err := c.Write([]byte(s)); err != nil {
			t.Fatal(err)
		}
	}
	// A line end alone may be the beginning of the last line.
	if got := out.String(); got != "# ls" {
		t.Errorf("a person sees %q", got)
	}
}

func TestConsoleKeepsTheEndOfABootThatFailed(t *testing.T) {
	c := &console{job: job.Job{ID: "abc"}, out: &bytes.Buffer{}}
	for range 5000 {
		if _, err := c.Write([]byte("one more line of noise\r\n")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Write([]byte("Kernel panic - not syncing\r\n")); err != nil {
		t.Fatal(err)
	}
	if tail := c.tail(); !strings.HasSuffix(tail, "\nKernel panic - not syncing") || strings.Contains(tail, "\r") {
		t.Errorf("tail %q", tail)
	}
	if len(c.held) > maxBoot {
		t.Errorf("%d octets kept", len(c.held))
	}
}

func TestALastLineThatCannotBeReadIsAnError(t *testing.T) {
	c := &console{job: job.Job{ID: "abc"}, out: &bytes.Buffer{}}
	if _, err := c.Write([]byte("\nmachine abc begins\n\nmachine abc ends badly\n")); err == nil {
		t.Error("no error")
	}
}
