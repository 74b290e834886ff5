package machine

import (
	"context"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"
)

// monitor is one that writes lines to whoever connects, and tells of each.
func monitor(t *testing.T, lines string) (file string, asked chan bool) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "monitor")
	ln, err := net.Listen("unix", file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	asked = make(chan bool, 100)
	go func() { // ends with ln
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte(lines))
			asked <- true
			go func() { // ends with the connection
				_, _ = io.Copy(io.Discard, conn)
				_ = conn.Close()
			}()
		}
	}()
	return file, asked
}

const greeting = `{"QMP": {"capabilities": ["oob"]}}` + "\r\n"

func TestAnEmulatorThatDoesNotAnswerHangs(t *testing.T) {
	for _, lines := range []string{"", greeting} {
		file, _ := monitor(t, lines)
		if !hangs(t.Context(), file, 50*time.Millisecond) {
			t.Errorf("one that says %q does not hang", lines)
		}
	}
}

func TestAnEmulatorThatAnswersOrIsNotThereDoesNotHang(t *testing.T) {
	const brief = 20 * time.Millisecond
	if silent(t.Context(), filepath.Join(t.TempDir(), "none"), brief) {
		t.Error("one that is not there is silent")
	}
	file, asked := monitor(t, greeting+`{"return": {}}`+"\r\n")
	ctx, stop := context.WithCancel(t.Context())
	hung := make(chan bool)
	go func() { hung <- hangs(ctx, file, brief) }() // ends with ctx
	<-asked
	<-asked
	stop()
	if <-hung {
		t.Error("one that answers hangs")
	}
}
