// Package labtest raises labs for the tests of other packages.
package labtest

import (
	"testing"

	"github.com/routerd/routerd/test/lab"
)

// Up raises a lab that ends with the test, or with the test's process if that
// is killed. On a machine that cannot have one it fails the test with what is
// missing: a lab's tests never skip.
func Up(t testing.TB, o lab.Options) *lab.Lab {
	t.Helper()
	l, err := lab.Up(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Down(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// Run runs a program inside a host and gives back its standard output; it
// fails the test if the program fails.
func Run(t testing.TB, l *lab.Lab, host, program string, args ...string) string {
	t.Helper()
	out, err := l.Run(t.Context(), host, program, args...)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}
