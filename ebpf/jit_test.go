package ebpf

import (
	"os"
	"path/filepath"
	"testing"
)

func TestJITIsTurnedOnWhereItIsOff(t *testing.T) {
	for _, tc := range []struct {
		name, before, after string
		changed             bool
	}{
		{"off", "0\n", "1\n", true},
		{"on", "1\n", "1\n", false},
		{"on, for debugging", "2\n", "2\n", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "bpf_jit_enable")
			if err := os.WriteFile(file, []byte(tc.before), 0o644); err != nil {
				t.Fatal(err)
			}
			changed, err := TurnOnJIT(file)
			if err != nil || changed != tc.changed {
				t.Errorf("changed %t, %v; want %t", changed, err, tc.changed)
			}
			if after, err := os.ReadFile(file); err != nil || string(after) != tc.after {
				t.Errorf("now %q, %v; want %q", after, err, tc.after)
			}
		})
	}
	if changed, err := TurnOnJIT(filepath.Join(t.TempDir(), "none")); changed || err != nil {
		t.Errorf("a kernel without JIT: %t, %v", changed, err)
	}
	if _, err := TurnOnJIT(t.TempDir()); err == nil {
		t.Error("a setting that cannot be read is no error")
	}
}
