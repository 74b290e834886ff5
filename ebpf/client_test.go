package ebpf

import (
	"testing"
	"time"
)

func TestClients(t *testing.T) {
	for _, c := range []struct {
		client Client
		text   string
		mac    bool
	}{
		{ClientMAC([6]byte{2, 0, 0, 0xab, 0xcd, 0xef}), "02:00:00:ab:cd:ef", true},
		{ClientMAC([6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}), "ff:ff:ff:ff:ff:ff", true},
		{ClientDevice(12), "device 12", false},
		{ClientSelf, "router", false},
	} {
		mac, ok := c.client.MAC()
		if c.client.String() != c.text || ok != c.mac || (ok && ClientMAC(mac) != c.client) {
			t.Errorf("%x: %s, MAC %x %t; want %s", uint64(c.client), c.client, mac, ok, c.text)
		}
	}
}

func TestTicks(t *testing.T) {
	now := Now()
	if got := Ticks(10).Since(20); got != 10*Tick {
		t.Errorf("since: %s", got)
	}
	if Ticks(20).Since(10) != 0 || Ticks(10).Until(20) != 0 {
		t.Error("a length of time is negative")
	}
	if got := (now + 5).Until(now); got != 5*Tick || Tick < time.Second {
		t.Errorf("until: %s", got)
	}
}
