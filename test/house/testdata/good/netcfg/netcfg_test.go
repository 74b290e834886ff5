package netcfg

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/routerd/routerd/test/lab"
)

var update bool

func TestPollsWithADeadline(t *testing.T) {
	_, _ = cmp.Diff, lab.Up
	for end := time.Now().Add(time.Second); time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
}
