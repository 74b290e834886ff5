package tunnel

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestCountersAreTheDevicesAndCostNoMemory(t *testing.T) {
	needIsolation(t)
	must(t, pingOnce("127.0.0.1"))
	var c counters
	defer c.close()
	rx, tx, err := c.packets(1)
	must(t, err)
	link, err := netlink.LinkByIndex(1)
	must(t, err)
	if s := link.Attrs().Statistics; rx == 0 || rx > s.RxPackets || tx > s.TxPackets {
		t.Errorf("%d and %d packets, want at most %d and %d", rx, tx, s.RxPackets, s.TxPackets)
	}
	fd := c.fd
	if n := testing.AllocsPerRun(100, func() { _, _, err = c.packets(1) }); n != 0 || err != nil || c.fd != fd {
		t.Errorf("%v allocations, %v, socket %d, before %d", n, err, c.fd, fd)
	}
	if _, _, err := c.packets(9999); !errors.Is(err, unix.ENODEV) {
		t.Errorf("no such device: %v", err)
	}
	if _, _, err := c.packets(1); err != nil {
		t.Errorf("after an error: %v", err)
	}
}

func TestBrokenStatsAreRefused(t *testing.T) {
	message := func(kind uint16, body ...byte) []byte {
		raw := make([]byte, headerSize, 64)
		binary.NativeEndian.PutUint16(raw[4:], kind)
		binary.NativeEndian.PutUint32(raw[8:], 7)
		return append(raw, body...)
	}
	stats := make([]byte, statsSize)
	attr := func(size, kind uint16, n int) []byte {
		out := binary.NativeEndian.AppendUint16(binary.NativeEndian.AppendUint16(nil, size), kind)
		return append(out, make([]byte, n)...)
	}
	for name, raw := range map[string][]byte{
		"empty":               {},
		"cut in the header":   message(unix.RTM_NEWSTATS)[:10],
		"another kind":        message(unix.RTM_NEWLINK, stats...),
		"cut in the message":  message(unix.RTM_NEWSTATS, stats[:4]...),
		"no attributes":       message(unix.RTM_NEWSTATS, stats...),
		"attribute of none":   message(unix.RTM_NEWSTATS, append(stats[:statsSize:statsSize], attr(0, 1, 16)...)...),
		"attribute too large": message(unix.RTM_NEWSTATS, append(stats[:statsSize:statsSize], attr(40, 1, 16)...)...),
		"too few numbers":     message(unix.RTM_NEWSTATS, append(stats[:statsSize:statsSize], attr(12, 1, 8)...)...),
		"others only":         message(unix.RTM_NEWSTATS, append(stats[:statsSize:statsSize], attr(7, 2, 3)...)...),
		"error cut":           message(unix.NLMSG_ERROR, 1),
	} {
		if _, _, err := parseStats(raw, 7); !errors.Is(err, errAnswer) {
			t.Errorf("%s: %v", name, err)
		}
	}
	good := message(unix.RTM_NEWSTATS, append(append(stats[:statsSize:statsSize], attr(4, 0, 0)...), attr(20, 1, 16)...)...)
	if _, _, err := parseStats(good, 7); err != nil {
		t.Error(err)
	}
	if _, _, err := parseStats(good, 8); !errors.Is(err, errAnswer) {
		t.Errorf("an answer to another question: %v", err)
	}
}
