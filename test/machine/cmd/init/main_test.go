package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAnotherTimerThanTheWantedIsNamed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "current_device")
	if err := checkTimer(file, ""); err != nil {
		t.Errorf("where any will do: %v", err)
	}
	if err := checkTimer(file, "MIPS"); err == nil {
		t.Error("a kernel that does not tell its timer will do")
	}
	if err := os.WriteFile(file, []byte("pit\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := checkTimer(file, "pit"); err != nil {
		t.Errorf("the wanted one: %v", err)
	}
	if err := checkTimer(file, "MIPS"); err == nil || !strings.Contains(err.Error(), "pit instead of MIPS") {
		t.Errorf("another one: error %v, want both named", err)
	}
}
