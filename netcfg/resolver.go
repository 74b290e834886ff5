package netcfg

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"github.com/routerd/routerd/internal/owned"
)

const (
	loopback = "lo"
	// resolverRule begins the names of the rules about the resolver's port.
	resolverRule = "resolver: "
)

// transports are those that the resolver listens on.
func transports() []struct {
	name  string
	proto byte
} {
	return []struct {
		name  string
		proto byte
	}{{"udp", unix.IPPROTO_UDP}, {"tcp", unix.IPPROTO_TCP}}
}

// toPort matches packets of a transport to a port.
func toPort(proto byte, port uint16) []expr.Any {
	return append(l4proto(proto),
		&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		eq([]byte{byte(port >> 8), byte(port)}))
}

// resolver shuts the resolver's port off from everywhere but the LAN and lo: its
// sockets take any address, so that an answer leaves from the one that was asked.
func (rs *nftRules) resolver(d Desired) {
	if d.ResolverPort == 0 {
		return
	}
	for _, t := range transports() {
		for _, dev := range append([]string{loopback}, d.LAN...) {
			rs.add(chainInput, resolverRule+t.name+" from "+dev, iif(dev), toPort(t.proto, d.ResolverPort), accept())
		}
		rs.add(chainInput, resolverRule+t.name+" from elsewhere", toPort(t.proto, d.ResolverPort), drop())
	}
}

// fw4Head is what stands at the head of one of fw4's chains.
type fw4Head struct {
	chain string
	rules []nftRule
}

func fw4Heads(d Desired) ([]fw4Head, error) {
	forward, err := forwardRules(d)
	if err != nil {
		return nil, err
	}
	rs := &nftRules{}
	if d.ResolverPort != 0 {
		for _, dev := range d.LAN {
			for _, t := range transports() {
				rs.add(fw4Input, fmt.Sprintf("%s %s%s from %s", owned.Comment, resolverRule, t.name, dev),
					iif(dev), toPort(t.proto, d.ResolverPort), accept())
			}
		}
	}
	return []fw4Head{{fw4Forward, forward}, {fw4Input, rs.list}}, rs.err
}

// iptResolver is what nftRules.resolver makes, and accepts: our chain is the
// first of INPUT.
func iptResolver(d Desired) []string {
	var out []string
	if d.ResolverPort == 0 {
		return out
	}
	for _, t := range transports() {
		to := fmt.Sprintf("-p %s -m %s --dport %d", t.name, t.name, d.ResolverPort)
		for _, dev := range d.LAN {
			out = append(out, fmt.Sprintf("-i %s %s -j ACCEPT", dev, to))
		}
		out = append(out, fmt.Sprintf("! -i %s %s -j DROP", loopback, to))
	}
	return out
}

// acceptLocal lets packets with a source of the router's own come in by lo again
// after they were about to leave elsewhere: so the data plane turns the router's
// own queries to the resolver.
func acceptLocal() (report, error) {
	return setLocal("0", "1")
}

// refuseLocal takes it back, where it is the default not to accept them.
func refuseLocal() (report, error) {
	if !isSysctl("0", "ipv4/conf/default/accept_local") {
		return report{}, nil
	}
	return setLocal("1", "0")
}

func setLocal(from, to string) (report, error) {
	var rep report
	if !isSysctl(from, "ipv4/conf", loopback, "accept_local") {
		return rep, nil
	}
	err := writeSysctl(to, "ipv4/conf", loopback, "accept_local")
	if errors.Is(err, fs.ErrNotExist) {
		return rep, nil
	}
	if err != nil {
		return rep, fmt.Errorf("set accept_local of %s: %w", loopback, err)
	}
	rep.note("set net.ipv4.conf.%s.accept_local=%s", loopback, to)
	return rep, nil
}
