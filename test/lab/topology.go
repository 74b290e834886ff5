package lab

import "net/netip"

// The hosts of a lab.
const (
	Client   = "client"   // LAN client, 192.168.1.10, 2d00:1:1::10
	Client2  = "client2"  // LAN client, 192.168.1.20, 2d00:1:1::20
	Router   = "router"   // br-lan, wan, dnsmasq, firewall
	ISP      = "isp"      // the provider: forwards and counts
	Net      = "net"      // the internet's servers
	Resolver = "resolver" // public resolver, 22.8.8.8, 2d00:8::8
	Exit     = "exit"     // WireGuard peer, 22.50.0.1, 2d00:50::1
	Exit2    = "exit2"    // WireGuard peer, 22.51.0.1, 2d00:51::1
)

// Addresses that tests and people name. The internet of a lab uses 22.0.0.0/8
// and 2d00::/16 because routerd rightly never learns private, documentation or
// reserved ranges; no packet of a lab can reach the real owners.
const (
	RouterLAN4   = "192.168.1.1"
	RouterLAN6   = "2d00:1:1::1"
	RouterWAN4   = "22.100.0.2"
	RouterWAN6   = "2d00:100::2"
	Resolver4    = "22.8.8.8"
	Resolver6    = "2d00:8::8"
	ResolverName = "dns.resolver.example" // in its certificate, with both addresses
	// ISPResolver4 and ISPResolver6 are the provider's own resolver, in isp.
	ISPResolver4 = "22.100.0.53"
	ISPResolver6 = "2d00:100::53"
	// BlockPage4 and BlockPage6 serve the provider's block page, in isp.
	BlockPage4    = "22.100.0.80"
	BlockPage6    = "2d00:100::80"
	BlockPageName = "blocked.provider.example"
	ExitAddress4  = "22.50.0.1" // WireGuard endpoint of exit
	ExitAddress6  = "2d00:50::1"
	Exit2Address  = "22.51.0.1" // WireGuard endpoint of exit2
	ExitSource4   = "22.60.0.2" // what servers see as the client behind exit
	ExitSource6   = "2d00:60::2"
	Exit2Source4  = "22.61.0.2"
	Exit2Source6  = "2d00:61::2"

	// ServerNet4 and ServerNet6 hold every server address of net.
	ServerNet4 = "22.10.0.0/15"
	ServerNet6 = "2d00:10::/32"

	// LANDevice and WANDevice are the router's devices.
	LANDevice = "br-lan"
	WANDevice = "wan"
	// TunnelDevice is the exits' WireGuard device.
	TunnelDevice = "wg0"
)

// Hosts lists every host, in the order in which they are raised.
func Hosts() []string {
	return []string{Client, Client2, Router, ISP, Net, Resolver, Exit, Exit2}
}

// link is one virtual cable between two hosts.
type link struct{ a, aDev, b, bDev string }

// device is what a host's device gets once its cable is in.
type device struct {
	host, name string
	addresses  []string // CIDR
}

// route is one route of a host; an empty via is an AnyIP route (RTN_LOCAL).
type route struct{ host, to, via string }

func links() []link {
	return []link{
		{Client, "eth0", Router, "lan1"},
		{Client2, "eth0", Router, "lan2"},
		{Router, WANDevice, ISP, "cust"},
		{ISP, "net", Net, "isp"},
		{ISP, "exit", Exit, "wan"},
		{ISP, "exit2", Exit2, "wan"},
		{Net, "resolver", Resolver, "eth0"},
		{Net, "exit", Exit, "net"},
		{Net, "exit2", Exit2, "net"},
	}
}

// bridgePorts are the router's devices that make up br-lan.
func bridgePorts() []string { return []string{"lan1", "lan2"} }

func devices() []device {
	return []device{
		{Client, "eth0", []string{"192.168.1.10/24", "2d00:1:1::10/64"}},
		{Client2, "eth0", []string{"192.168.1.20/24", "2d00:1:1::20/64"}},
		{Router, LANDevice, []string{RouterLAN4 + "/24", RouterLAN6 + "/64"}},
		{Router, "lan1", nil},
		{Router, "lan2", nil},
		{Router, WANDevice, []string{RouterWAN4 + "/24", RouterWAN6 + "/64"}},
		{ISP, "cust", []string{
			"22.100.0.1/24", "2d00:100::1/64",
			ISPResolver4 + "/24", ISPResolver6 + "/64", BlockPage4 + "/24", BlockPage6 + "/64",
		}},
		{ISP, "net", []string{"22.101.0.1/24", "2d00:101::1/64"}},
		{ISP, "exit", []string{"22.50.0.254/24", "2d00:50::254/64"}},
		{ISP, "exit2", []string{"22.51.0.254/24", "2d00:51::254/64"}},
		{Net, "isp", []string{"22.101.0.2/24", "2d00:101::2/64"}},
		{Net, "resolver", []string{"22.8.8.1/24", "2d00:8::1/64"}},
		{Net, "exit", []string{"22.60.0.1/24", "2d00:60::1/64"}},
		{Net, "exit2", []string{"22.61.0.1/24", "2d00:61::1/64"}},
		{Resolver, "eth0", []string{Resolver4 + "/24", Resolver6 + "/64"}},
		{Exit, "wan", []string{ExitAddress4 + "/24", ExitAddress6 + "/64"}},
		{Exit, "net", []string{ExitSource4 + "/24", ExitSource6 + "/64"}},
		{Exit2, "wan", []string{Exit2Address + "/24", "2d00:51::1/64"}},
		{Exit2, "net", []string{Exit2Source4 + "/24", Exit2Source6 + "/64"}},
	}
}

// routes gives every host its way to the others. An exit answers the router
// over the provider and sends what it decapsulates over its own link to net,
// so that a tunnel's inner packets never cross the provider.
func routes() []route {
	const default4, default6 = "0.0.0.0/0", "::/0"
	out := []route{
		{Client, default4, RouterLAN4},
		{Client, default6, RouterLAN6},
		{Client2, default4, RouterLAN4},
		{Client2, default6, RouterLAN6},
		{Router, default4, "22.100.0.1"},
		{Router, default6, "2d00:100::1"},
		{ISP, default4, "22.101.0.2"},
		{ISP, default6, "2d00:101::2"},
		{ISP, "2d00:1:1::/64", RouterWAN6},
		{Resolver, default4, "22.8.8.1"},
		{Resolver, default6, "2d00:8::1"},
		{Exit, default4, "22.60.0.1"},
		{Exit, default6, "2d00:60::1"},
		{Exit2, default4, "22.61.0.1"},
		{Exit2, default6, "2d00:61::1"},
		{Net, ServerNet4, ""},
		{Net, ServerNet6, ""},
	}
	for _, to := range []string{"22.100.0.0/24", "22.50.0.0/24", "22.51.0.0/24"} {
		out = append(out, route{Net, to, "22.101.0.1"})
	}
	for _, to := range []string{"2d00:100::/64", "2d00:1:1::/64", "2d00:50::/64", "2d00:51::/64"} {
		out = append(out, route{Net, to, "2d00:101::1"})
	}
	for _, x := range []struct{ host, via4, via6 string }{
		{Exit, "22.50.0.254", "2d00:50::254"},
		{Exit2, "22.51.0.254", "2d00:51::254"},
	} {
		out = append(out, route{x.host, "22.100.0.0/24", x.via4},
			route{x.host, "2d00:100::/64", x.via6}, route{x.host, "2d00:1:1::/64", x.via6})
	}
	return out
}

// forwards says whether a host forwards packets.
func forwards(host string) bool {
	switch host {
	case Router, ISP, Net, Exit, Exit2:
		return true
	}
	return false
}

// nameserver is what a host's resolv.conf says.
func nameserver(host string) string {
	switch host {
	case Client, Client2:
		return RouterLAN4
	case Router:
		return "127.0.0.1"
	}
	return Resolver4
}

// addressOf is the first address of a device, without its prefix length.
func addressOf(cidr string) string { return netip.MustParsePrefix(cidr).Addr().String() }
