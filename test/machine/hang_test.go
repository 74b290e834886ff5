package machine

import (
	"context"
	"net"
	"path/filepath"
	"testing"
	"time"
)

func TestAnEmulatorThatSaysNothingHangs(t *testing.T) {
	const brief = 50 * time.Millisecond
	file := filepath.Join(t.TempDir(), "monitor")
	ln, err := net.Listen("unix", file)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	// Connections wait to be accepted, as while the emulator's loop stands still.
	if !hangs(t.Context(), file, brief) {
		t.Error("one that says nothing does not hang")
	}
}

func TestAnEmulatorThatGreetsOrIsNotThereDoesNotHang(t *testing.T) {
	const brief = 20 * time.Millisecond
	file := filepath.Join(t.TempDir(), "monitor")
	if silent(t.Context(), file, brief) {
		t.Error("one that is not there is silent")
	}
	ln, err := net.Listen("unix", file)
	if err != nil {
		t.Fatal(err)
	}
	greeted := make(chan bool, 100)
	go func() { // ends with ln
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("{\"QMP\": {}}\r\n"))
			_ = conn.Close()
			greeted <- true
		}
	}()
	ctx, stop := context.WithCancel(t.Context())
	hung := make(chan bool)
	go func() { hung <- hangs(ctx, file, brief) }() // ends with ctx
	<-greeted
	<-greeted
	stop()
	if <-hung {
		t.Error("one that greets hangs")
	}
	_ = ln.Close()
}
