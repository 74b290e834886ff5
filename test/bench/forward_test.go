package bench

import (
	"os"
	"testing"
	"time"
)

func TestMeasuresForwarding(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("needs root: makes network namespaces and loads BPF programs")
	}
	rows, err := Run(t.Context(), "forward", Options{Program: buildRouterd(t), Rounds: 1, Each: time.Second, Progress: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	if err := Print(os.Stdout,rows); err != nil { t.Fatal(err)}
}
