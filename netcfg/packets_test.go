package netcfg

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netns"
)

func TestMarkedConnectionsCrossTheTunnelOnly(t *testing.T) {
	flavours(t, func(t *testing.T, opts []Option) {
		w := newWorld(t)
		d := w.state()
		apply(t, newNet(t, opts...), d)
		targets(t, func(target, tunnelAddr string, headers int) {
			exit, inet := w.serve(t, w.exit, target), w.serve(t, w.inet, target)
			w.mark(t, d, int(pathHome))
			w.nothing(t, w.inet, "WAN", func() {
				c := mustDial(t, w, w.client, target)
				if err := echo(c); err != nil {
					t.Errorf("%s: %v", target, err)
				}
				a := receive(t, exit, "tunnel's end")
				if a.from.String() != tunnelAddr {
					t.Errorf("%s: came from %s, want masquerade as %s", target, a.from, tunnelAddr)
				}
				if want := 1420 - headers; a.mss > want || maxSegment(c) > want {
					t.Errorf("%s: segments of %d and %d, want %d at the most", target, a.mss, maxSegment(c), want)
				}
				c.Close()
				a.conn.Close()
			})
			w.unmark(t)
			mustDial(t, w, w.client, target)
			if a := receive(t, inet, "WAN"); a.mss < 1420-headers {
				t.Errorf("%s: an unmarked connection was clamped to %d", target, a.mss)
			}
		})
	})
}

func TestNothingMarkedLeavesByTheWAN(t *testing.T) {
	cases := []struct {
		name string
		edit func(*Desired)
		path int
		run  string
	}{
		{"tunnel down", func(d *Desired) { d.Paths[2].Up = false }, int(pathHome), ""},
		{"block", nil, 2, ""},
		{"a path nobody knows", nil, 9, ""},
		{"rules deleted", nil, int(pathHome), `
ip rule del priority 700 fwmark 0x03000000/0x0f000000
ip -6 rule del priority 700 fwmark 0x03000000/0x0f000000`},
		{"routes deleted", nil, int(pathHome), `
ip route flush table 29187
ip -6 route flush table 29187`},
		{"IPv6 off", func(d *Desired) { d.IPv6 = false; d.Paths[2].Up = false }, int(pathHome), ""},
		{"device deleted", nil, int(pathHome), "ip link del rd-home"},
	}
	flavours(t, func(t *testing.T, opts []Option) {
		w := newWorld(t)
		n := newNet(t, opts...)
		// Less than the second after which a client sends its SYN again. iptables
		// cannot refuse before routing, and of ICMP errors the kernel sends few.
		w.patience = 900 * time.Millisecond
		if n.Firewall() == IPTables {
			w.patience = 200 * time.Millisecond
		}
		for _, tt := range cases {
			d := w.state()
			if tt.edit != nil {
				tt.edit(&d)
			}
			apply(t, n, d)
			run(t, tt.run)
			w.mark(t, d, tt.path)
			targets(t, func(target, _ string, _ int) {
				w.nothing(t, w.inet, "WAN", func() {
					begin := time.Now()
					_, err := w.dial(t, w.client, target)
					took := time.Since(begin)
					if err == nil || n.Firewall() == NFTables && took >= w.patience {
						t.Errorf("%s, %s: %v after %v, want a refusal at once", tt.name, target, err, took)
					}
				})
			})
		}
	})
}

func TestConnectionBegunOnTheWANIsResetWhenItsAddressBecomesListed(t *testing.T) {
	flavours(t, func(t *testing.T, opts []Option) {
		w := newWorld(t)
		d := w.state()
		apply(t, newNet(t, opts...), d)
		targets(t, func(target, _ string, _ int) {
			inet, exit := w.serve(t, w.inet, target), w.serve(t, w.exit, target)
			c := mustDial(t, w, w.client, target)
			receive(t, inet, "WAN")
			if err := echo(c); err != nil {
				t.Fatal(err)
			}
			w.mark(t, d, int(pathHome))
			if err := echo(c); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("%s: %v, want a reset", target, err)
			}
			// The next connection is a new one.
			mustDial(t, w, w.client, target)
			receive(t, exit, "tunnel's end")
			w.unmark(t)
		})
	})
}

func TestTheOtherEndOfATunnelBeginsNoConnection(t *testing.T) {
	flavours(t, func(t *testing.T, opts []Option) {
		w := newWorld(t)
		lan, own := w.serve(t, w.client, "192.168.1.40"), w.serve(t, w.router, "10.9.0.2")
		mustDial(t, w, w.exit, "10.9.0.2")
		receive(t, own, "router")
		mustDial(t, w, w.exit, "192.168.1.40")
		receive(t, lan, "LAN")
		apply(t, newNet(t, opts...), w.state())
		for _, target := range []string{"10.9.0.2", "192.168.1.40"} {
			w.in(t, w.exit, func() {
				if out, err := runCommand("", "curl", "-s", "-m", "0.3", "http://"+target+"/"); err == nil {
					t.Errorf("%s answered %q", target, out)
				}
			})
		}
		if len(lan)+len(own) > 0 {
			t.Errorf("%d connections to the LAN, %d to the router", len(lan), len(own))
		}
		w.in(t, w.exit, func() { run(t, "ping -c 1 -W 2 10.9.0.2") })
	})
}

func TestOwnConnectionsFollowTheirDestination(t *testing.T) {
	flavours(t, func(t *testing.T, opts []Option) {
		w := newWorld(t)
		d := w.state()
		d.Own = []OwnRoute{{Destination: "exchanges", ID: 5, Path: pathHome}}
		n := newNet(t, opts...)
		apply(t, n, d)
		targets(t, func(target, tunnelAddr string, headers int) {
			exit, inet := w.serve(t, w.exit, target), w.serve(t, w.inet, target)
			before := mustDial(t, w, w.router, target)
			receive(t, inet, "WAN")
			if err := n.AddOwn(t.Context(), 5, addrs(target)); err != nil {
				t.Fatal(err)
			}
			c := mustDial(t, w, w.router, target)
			a := receive(t, exit, "tunnel's end")
			if a.from.String() != tunnelAddr {
				t.Errorf("%s: came from %s, want %s", target, a.from, tunnelAddr)
			}
			if want := 1420 - headers; a.mss > want {
				t.Errorf("%s: segments of %d, want %d at the most", target, a.mss, want)
			}
			if err := errors.Join(echo(c), echo(before)); err != nil {
				t.Errorf("%s: connections do not keep their paths: %v", target, err)
			}
			// A connection keeps its path when its address is forgotten.
			if err := n.RemoveOwn(t.Context(), 5, addrs(target)); err != nil {
				t.Fatal(err)
			}
			if err := echo(c); err != nil {
				t.Errorf("%s: %v", target, err)
			}
			mustDial(t, w, w.router, target)
			receive(t, inet, "WAN")
		})
	})
}

func TestForeignMarkBitsAreKept(t *testing.T) {
	flavours(t, func(t *testing.T, opts []Option) {
		w := newWorld(t)
		d := w.state()
		d.Own = []OwnRoute{{Destination: "exchanges", ID: 5, Path: pathHome, Addresses: addrs(target4)}}
		input(t, `
table inet other {
	chain before { type route hook output priority -160; ip daddr 203.0.113.5 meta mark set 0x5500aa ct state new ct mark set 0x660011; }
	chain after { type filter hook postrouting priority 0; meta mark 0x35500aa ct mark 0x3660011 counter comment "kept"; }
}`, "nft", "-f", "-")
		apply(t, newNet(t, opts...), d)
		exit := w.serve(t, w.exit, target4)
		c := mustDial(t, w, w.router, target4)
		receive(t, exit, "tunnel's end")
		if err := echo(c); err != nil {
			t.Fatal(err)
		}
		if out := run(t, "nft list table inet other"); strings.Contains(out, "packets 0") {
			t.Errorf("bits of others were changed:\n%s", out)
		}
	})
}

// serveUDP echoes datagrams to the target in a namespace.
func (w *world) serveUDP(t *testing.T, ns netns.NsHandle, target string) {
	t.Helper()
	w.in(t, ns, func() {
		c, err := net.ListenPacket("udp", net.JoinHostPort(target, "53"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		go func() {
			b := make([]byte, 64)
			for {
				n, from, err := c.ReadFrom(b)
				if err != nil {
					return
				}
				if _, err := c.WriteTo(b[:n], from); err != nil {
					return
				}
			}
		}()
	})
}

func TestDatagramsBegunOnTheWANMoveToTheTunnel(t *testing.T) {
	flavours(t, func(t *testing.T, opts []Option) {
		w := newWorld(t)
		d := w.state()
		apply(t, newNet(t, opts...), d)
		told := false // of the first; both families share what is told a minute
		targets(t, func(target, _ string, _ int) {
			w.serveUDP(t, w.inet, target)
			w.serveUDP(t, w.exit, target)
			var c net.Conn
			var err error
			w.in(t, w.client, func() { c, err = dialHere("udp", netip.MustParseAddr(target), 53, limit) })
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := errors.Join(echo(c), echo(c)); err != nil {
				t.Fatal(err)
			}
			w.mark(t, d, int(pathHome))
			w.nothing(t, w.inet, "WAN", func() {
				for deadline := time.Now().Add(limit); ; {
					err := ask(c)
					told = told || errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.EACCES)
					if err == nil {
						break
					}
					if time.Now().After(deadline) {
						t.Fatalf("%s: the client is still cut off: %v", target, err)
					}
				}
			})
			w.unmark(t)
		})
		if !told {
			t.Error("no ICMP came")
		}
	})
}

// ask is echo for a datagram that may get lost.
func ask(c net.Conn) error {
	c.SetDeadline(time.Now().Add(100 * time.Millisecond))
	if _, err := c.Write([]byte("ping")); err != nil {
		return err
	}
	_, err := c.Read(make([]byte, 4))
	return err
}
