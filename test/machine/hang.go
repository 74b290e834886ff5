package machine

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"time"
)

// ErrHung says that the emulator did nothing any more and was ended. Where time is
// counted QEMU 7.2 may do so: a timer of MIPS (target/mips/sysemu/cp0_timer.c) that is
// set to the instant that it is fires without end, and time stands still meanwhile. It is
// no fault of what runs in the machine, which may be run again.
var ErrHung = errors.New("the emulator hangs: its timers fire without end (docs/machines.md); it was ended")

// patience is how long an emulator may leave its monitor without a word. One that
// others leave no processor has a fiftieth of it.
const patience = 2 * time.Minute

// greetEvery is how often it is asked.
const greetEvery = 10 * time.Second

// hangs waits until an emulator does nothing any more: its loop does not answer on the
// monitor, a Unix socket (docs/interop/qmp-spec.txt of QEMU). It gives false when ctx
// ends first.
func hangs(ctx context.Context, monitor string, patience time.Duration) bool {
	for {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(min(greetEvery, patience)):
		}
		if silent(ctx, monitor, patience) {
			return ctx.Err() == nil
		}
	}
}

// silent says whether somebody listens on the monitor and does not answer. An emulator
// that has not begun, or has ended, does not listen. The greeting says nothing: a thread
// of its own sends that.
func silent(ctx context.Context, monitor string, patience time.Duration) bool {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", monitor)
	if err != nil {
		return false
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return false
	}
	if _, err := io.WriteString(conn, `{"execute": "qmp_capabilities"}`+"\n"); err != nil {
		return false
	}
	lines := bufio.NewReader(conn)
	for range 2 { // the greeting and the answer
		if _, err := lines.ReadSlice('\n'); err != nil {
			return errors.Is(err, os.ErrDeadlineExceeded)
		}
	}
	return false
}
