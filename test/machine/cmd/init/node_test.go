package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestNodesOfModulesAreRead(t *testing.T) {
	got := parseNodes("# Device nodes to trigger on-demand module loading.\ntun net/tun c10:200\nloop loop-control c10:237\nx y b7:0\n")
	want := []node{
		{"net/tun", unix.S_IFCHR, 10, 200},
		{"loop-control", unix.S_IFCHR, 10, 237},
		{"y", unix.S_IFBLK, 7, 0},
	}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(node{})); d != "" {
		t.Errorf("nodes (-want +got):\n%s", d)
	}
}
