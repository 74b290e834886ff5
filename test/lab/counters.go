package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// counterSize is how many pairs of address and protocol a host counts, each
// family for itself.
const counterSize = 65536

// countingRules count, before anything else sees them, the packets that come
// in by a device, by destination and protocol, up to size pairs a family. A rule whose set is full ends
// early in the kernel; its packets then reach the counter "uncounted".
func countingRules(device string, size int, rest string) string {
	return fmt.Sprintf(`table inet lab
delete table inet lab
table inet lab {
	set to4 { type ipv4_addr . inet_proto; size %[2]d; flags dynamic; counter; }
	set to6 { type ipv6_addr . inet_proto; size %[2]d; flags dynamic; counter; }
	counter uncounted { }
	chain count {
		type filter hook prerouting priority -310; policy accept;
		iifname "%[1]s" jump counted
	}
	chain counted {
		meta nfproto ipv4 add @to4 { ip daddr . meta l4proto } return
		meta nfproto ipv6 add @to6 { ip6 daddr . meta l4proto } return
		counter name uncounted
	}
%[3]s}
`, device, size, rest)
}

// exitNAT is how an exit's tunnel reaches net, both families.
const exitNAT = `	chain srcnat {
		type nat hook postrouting priority srcnat; policy accept;
		oifname "net" masquerade
	}
	chain mss {
		type filter hook forward priority mangle; policy accept;
		tcp flags & (fin | syn | rst) == syn tcp option maxseg size set rt mtu
	}
`

// ErrNoCounters tells that a host does not count.
var ErrNoCounters = errors.New("only isp, exit and exit2 count packets")

// Count is what a host counted to one address with one protocol.
type Count struct {
	Address  netip.Addr `json:"address"`
	Protocol string     `json:"protocol"` // tcp, udp, icmp, ipv6-icmp or a number
	Packets  uint64     `json:"packets"`
	Bytes    uint64     `json:"bytes"` // of IP packets
}

// Counts says how many packets a host saw to each address: isp those that came
// out of the router's WAN, exit and exit2 those that came out of their tunnel.
// It fails when there were more addresses than it can count.
func (l *Lab) Counts(host string) (map[netip.Addr]uint64, error) {
	all, err := l.CountsByProtocol(host)
	if err != nil {
		return nil, err
	}
	out := make(map[netip.Addr]uint64, len(all))
	for _, c := range all {
		out[c.Address] += c.Packets
	}
	return out, nil
}

// CountsByProtocol is Counts with protocols told apart, in no order.
func (l *Lab) CountsByProtocol(host string) ([]Count, error) {
	if !counts(host) {
		return nil, fmt.Errorf("count packets of %s: %w", host, ErrNoCounters)
	}
	raw, err := l.nft(host, "-j", "list", "table", "inet", "lab")
	if err != nil {
		return nil, err
	}
	found, lost, err := parseCounts(raw)
	if err != nil {
		return nil, fmt.Errorf("read counters of %s: %w", host, err)
	}
	if lost > 0 {
		return nil, fmt.Errorf("read counters of %s: %d packets went to more than %d addresses and were not counted; reset the counters before", host, lost, counterSize)
	}
	return found, nil
}

// ResetCounts sets the counters of every host that counts to nothing.
func (l *Lab) ResetCounts() error {
	for _, host := range Hosts() {
		if !counts(host) {
			continue
		}
		if _, err := l.nft(host, "flush set inet lab to4; flush set inet lab to6; reset counter inet lab uncounted"); err != nil {
			return err
		}
	}
	return nil
}

// LimitCounters makes a host count no more than size pairs of address and
// protocol a family, from nothing, to try what happens beyond.
func (l *Lab) LimitCounters(ctx context.Context, host string, size int) error {
	rules, ok := countingRulesOf(host, size)
	if !ok {
		return fmt.Errorf("limit counters of %s: %w", host, ErrNoCounters)
	}
	return l.load(ctx, host, "nft", []byte(rules), "-f")
}

// countingRulesOf are a host's rules, if it counts.
func countingRulesOf(host string, size int) (rules string, ok bool) {
	switch host {
	case ISP:
		return countingRules("cust", size, ""), true
	case Exit, Exit2:
		return countingRules(TunnelDevice, size, exitNAT), true
	}
	return "", false
}

func counts(host string) bool {
	_, ok := countingRulesOf(host, counterSize)
	return ok
}

func (l *Lab) nft(host string, args ...string) ([]byte, error) {
	program, err := lookPath("nft")
	if err != nil {
		return nil, err
	}
	return l.Run(context.Background(), host, program, args...)
}

// nftTable is what `nft -j list table` prints, in so far as it is read here.
type nftTable struct {
	Objects []struct {
		Set *struct {
			Elements []struct {
				Element struct {
					Value struct {
						Concat []json.RawMessage `json:"concat"`
					} `json:"val"`
					Counter struct{ Packets, Bytes uint64 } `json:"counter"`
				} `json:"elem"`
			} `json:"elem"`
		} `json:"set"`
		Counter *struct{ Packets uint64 } `json:"counter"`
	} `json:"nftables"`
}

// parseCounts reads the counted elements and the number of uncounted packets.
func parseCounts(raw []byte) (found []Count, lost uint64, err error) {
	var t nftTable
	if err := json.Unmarshal(raw, &t); err != nil {
		return nil, 0, fmt.Errorf("parse nft output: %w", err)
	}
	for _, o := range t.Objects {
		if o.Counter != nil {
			lost += o.Counter.Packets
		}
		if o.Set == nil {
			continue
		}
		for _, e := range o.Set.Elements {
			parts := e.Element.Value.Concat
			if len(parts) != 2 {
				return nil, 0, fmt.Errorf("parse nft output: element of %d parts", len(parts))
			}
			a, err := netip.ParseAddr(plainText(parts[0]))
			if err != nil {
				return nil, 0, fmt.Errorf("parse nft output: %w", err)
			}
			c := e.Element.Counter
			found = append(found, Count{Address: a, Protocol: plainText(parts[1]), Packets: c.Packets, Bytes: c.Bytes})
		}
	}
	return found, lost, nil
}

// plainText is a JSON string without its quotes, or a number as it stands.
func plainText(raw json.RawMessage) string { return strings.Trim(string(raw), `"`) }
