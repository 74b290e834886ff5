package crowd

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Kind is what an attempt does.
type Kind string

// The values of Kind.
const (
	HTTP    Kind = "http"    // plain HTTP on port 80
	HTTPS   Kind = "https"   // TLS on port 443, with the certificate checked
	UDP     Kind = "udp"     // datagrams to port 7
	QUIC    Kind = "quic"    // datagrams to port 443
	Stratum Kind = "stratum" // a miner's session of a second
	Probe   Kind = "probe"   // plain HTTP after a fresh lookup, within ProbeTime
	Lasting Kind = "lasting" // one connection, used several times a second
	Control Kind = "control" // plain HTTP at a known unlisted address: tells how fast the machine is
)

// Attempt is what came of one connection.
type Attempt struct {
	Client  string        `json:"client"` // host of the lab
	Kind    Kind          `json:"kind"`
	Name    string        `json:"name"`
	Listed  bool          `json:"listed"`
	Family  int           `json:"family"`
	Address string        `json:"address,omitempty"` // "" where the lookup failed
	Server  string        `json:"server,omitempty"`  // of DNS; "" where the address was known
	Begin   time.Duration `json:"begin"`             // by Now
	End     time.Duration `json:"end"`
	OK      bool          `json:"ok"`
	Error   string        `json:"error,omitempty"`
	Seen    string        `json:"seen,omitempty"` // the client's address as the server names it
}

// String tells of an attempt in one line.
func (a Attempt) String() string {
	out := fmt.Sprintf("%s of %s to %s over IPv%d", a.Kind, a.Client, a.Name, a.Family)
	if a.Address != "" {
		out += " at " + a.Address
	}
	if a.Server != "" {
		out += ", asked " + a.Server
	}
	out += fmt.Sprintf(", %.1f s", (a.End - a.Begin).Seconds())
	if a.Seen != "" {
		out += ", seen as " + a.Seen
	}
	if a.Error != "" {
		out += ": " + a.Error
	}
	return out
}

// Now is the time of CLOCK_MONOTONIC: the same in all processes of a machine,
// and no change of its clock moves it.
func Now() time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) != nil {
		return 0 // no kernel refuses this clock
	}
	return time.Duration(t.Nano())
}
