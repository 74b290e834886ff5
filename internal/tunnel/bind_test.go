package tunnel

import (
	"encoding/binary"
	"errors"
	"net"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/conn"
	"golang.zx2c4.com/wireguard/device"
)

// message is a WireGuard message of a type.
func message(kind uint32, size int) []byte {
	b := make([]byte, size)
	binary.LittleEndian.PutUint32(b, kind)
	return b
}

func openBind(t *testing.T) (*udpBind, []conn.ReceiveFunc, uint16) {
	t.Helper()
	b := newBind(newGate(8), newGate(8))
	fns, port, err := b.Open(0)
	must(t, err)
	t.Cleanup(func() { b.Close() })
	return b, fns, port
}

func TestBindSendsAndReceivesInBothFamilies(t *testing.T) {
	from, _, fromPort := openBind(t)
	_, fns, port := openBind(t)
	if len(fns) != 2 {
		t.Skip("needs IPv4 and IPv6")
	}
	for i, host := range []string{"127.0.0.1", "[::1]"} {
		ep, err := from.ParseEndpoint(host + ":" + portText(port))
		must(t, err)
		sent := message(device.MessageTransportType, 64)
		must(t, from.Send([][]byte{sent}, ep))
		buf, sizes, eps := [][]byte{make([]byte, 2048)}, make([]int, 1), make([]conn.Endpoint, 1)
		n, err := fns[i](buf, sizes, eps)
		must(t, err)
		if n != 1 || sizes[0] != 64 || eps[0].DstToString() != host+":"+portText(fromPort) {
			t.Errorf("got %d messages of %v from %v", n, sizes, eps)
		}
	}
}

func portText(p uint16) string { return strconv.Itoa(int(p)) }

func TestBindMarksSocketsNowAndLater(t *testing.T) {
	needIsolation(t)
	b, _, _ := openBind(t)
	must(t, b.SetMark(uint32(testMark)))
	checkMarks(t, b)
	must(t, b.Close())
	_, _, err := b.Open(0)
	must(t, err)
	checkMarks(t, b)
}

func checkMarks(t *testing.T, b *udpBind) {
	t.Helper()
	for _, c := range []*net.UDPConn{b.v4, b.v6} {
		raw, err := c.SyscallConn()
		must(t, err)
		var mark int
		must(t, raw.Control(func(fd uintptr) { mark, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK) }))
		if err != nil || mark != int(testMark) {
			t.Errorf("mark is %#x (%v)", mark, err)
		}
	}
}

func TestClosedBindEndsItsReaders(t *testing.T) {
	b, fns, port := openBind(t)
	if _, _, err := b.Open(0); !errors.Is(err, conn.ErrBindAlreadyOpen) {
		t.Errorf("opened twice: %v", err)
	}
	must(t, b.Close())
	for _, fn := range fns {
		if _, err := fn([][]byte{make([]byte, 64)}, make([]int, 1), make([]conn.Endpoint, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("reader says %v", err)
		}
	}
	ep, err := b.ParseEndpoint("127.0.0.1:9")
	must(t, err)
	if err := b.Send([][]byte{message(1, 148)}, ep); err == nil {
		t.Error("a closed bind sends")
	}
	if _, again, err := b.Open(port); err != nil || again != port {
		t.Errorf("opened again on port %d (%v), want %d", again, err, port)
	}
}

func TestBindOnATakenPortFails(t *testing.T) {
	_, _, port := openBind(t)
	b := newBind(newGate(8), newGate(8))
	if _, _, err := b.Open(port); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("error is %v", err)
	}
	if b.v4 != nil || b.v6 != nil {
		t.Error("half of it is open")
	}
}

func TestFloodOfHandshakesIsCut(t *testing.T) {
	from, _, _ := openBind(t)
	_, fns, port := openBind(t)
	ep, err := from.ParseEndpoint("127.0.0.1:" + portText(port))
	must(t, err)
	passed := 0
	const flood = 200
	for range flood {
		must(t, from.Send([][]byte{message(device.MessageInitiationType, device.MessageInitiationSize)}, ep))
		sizes := make([]int, 1)
		_, err := fns[0]([][]byte{make([]byte, 2048)}, sizes, make([]conn.Endpoint, 1))
		must(t, err)
		if sizes[0] > 0 {
			passed++
		}
	}
	if passed < handshakeBurst || passed > flood/2 {
		t.Errorf("%d of %d passed", passed, flood)
	}
}

func TestGateHoldsBackUntilSomebodyLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(2)
		g.wait()
		g.enter()
		g.enter()
		began := time.Now()
		go func() {
			time.Sleep(gatePatience / 2)
			g.leave()
		}()
		g.wait()
		if waited := time.Since(began); waited != gatePatience/2 {
			t.Errorf("waited %v", waited)
		}
	})
}

func TestGateForgetsWhatNeverLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(2)
		g.enter()
		g.enter()
		began := time.Now()
		g.wait()
		if waited := time.Since(began); waited != gatePatience {
			t.Errorf("waited %v", waited)
		}
		for range 5 {
			g.leave() // those that were forgotten come out after all
		}
		if n := g.inside.Load(); n != 0 {
			t.Errorf("%d inside", n)
		}
	})
}

func TestSizingFollowsTheMachine(t *testing.T) {
	for memory, want := range map[int64]sizing{
		32 << 20:  {limit: 16 << 20, window: 32},
		64 << 20:  {limit: 16 << 20, window: 32},
		128 << 20: {limit: 16 << 20, window: 64},
		256 << 20: {limit: 32 << 20, window: 128},
		8 << 30:   {limit: 128 << 20, window: 256},
	} {
		if got := sizeFor(memory); got != want {
			t.Errorf("%d MiB: %+v, want %+v", memory>>20, got, want)
		}
	}
	if got := sizeFor(0); got.limit < 16<<20 || got.window < 32 {
		t.Errorf("this machine: %+v", got)
	}
}
