package ebpf

import (
	"fmt"
	"net"
)

// Client identifies who looked a name up: the MAC address on a device with an
// Ethernet header, the interface on others, the router itself. It is opaque
// and comparable.
type Client uint64

const clientKind Client = 3 << 62

// The kinds in the two highest bits.
const (
	clientMAC     Client = 1 << 62
	clientIfindex Client = 2 << 62
	// ClientSelf is the router.
	ClientSelf Client = 3 << 62
)

// ClientMAC is the client with a hardware address.
func ClientMAC(mac [6]byte) Client {
	c := clientMAC
	for i, b := range mac {
		c |= Client(b) << (8 * (5 - i))
	}
	return c
}

// ClientDevice stands for every client behind a device without Ethernet header.
func ClientDevice(ifindex int) Client { return clientIfindex | Client(ifindex) }

// MAC is the client's hardware address, false for other kinds.
func (c Client) MAC() ([6]byte, bool) {
	var mac [6]byte
	for i := range mac {
		mac[i] = byte(c >> (8 * (5 - i)))
	}
	return mac, c&clientKind == clientMAC
}

// String is the MAC address, "device N" or "router".
func (c Client) String() string {
	switch c & clientKind {
	case clientMAC:
		mac, _ := c.MAC()
		return net.HardwareAddr(mac[:]).String()
	case clientIfindex:
		return fmt.Sprintf("device %d", uint32(c))
	}
	return "router"
}
