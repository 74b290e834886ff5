package bench

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/routerd/routerd/test/lab"
)

// The targets are those of the project: what is not steered is forwarded as fast as
// without routerd, what is steered as fast as by the way of others, and neither
// depends on how much is listed.
const (
	leastUnsteered = 0.98
	leastSteered   = 1.00
	leastFlat      = 0.97
)

// How much is listed: rules, and addresses that are known.
const (
	few  = 10
	most = 100_000
)

// Sizes of frames: the smallest that Ethernet knows and the largest, both without
// their checksum of four octets.
const (
	smallFrame = 60
	fullFrame  = 1514
)

// trafficAddresses is how many addresses many flows go to: a device without ARP keeps
// a neighbour for each, of which the kernel has few.
const (
	trafficAddresses = 250
	manyFlows        = 1000
)

// passage is one comparison of two subjects, which forward the same packets.
type passage struct {
	row         Row
	base, ours  string // subjects
	listed      bool
	addresses   int
	flows, size int
}

// Subjects of the forwarding measurement.
const (
	plainRouter = "no routerd"
	fewSet      = "nftables set of 10"
	mostSet     = "nftables set of 100,000"
	fewRules    = "routerd with 10"
	mostRules   = "routerd with 100,000"
)

// passages are the comparisons of datagrams.
func passages() []passage {
	var out []passage
	add := func(kind string, listed bool, base, ours string, target float64, flows, size int) {
		what := fmt.Sprintf("%s, %s octets, %s", kind, thousands(size+4), plural(flows, "flow"))
		row := Row{What: what, Base: base, Ours: ours, Unit: "kpps", More: true, Target: target}
		if size == fullFrame {
			row.Unit = "Gbit/s"
		}
		addresses := trafficAddresses
		if listed && (base == fewRules || ours == fewRules) {
			addresses = few
		}
		out = append(out, passage{row, base, ours, listed, addresses, flows, size})
	}
	for _, scale := range []struct{ ours, set string }{{fewRules, fewSet}, {mostRules, mostSet}} {
		for _, load := range []struct{ flows, size int }{{1, smallFrame}, {manyFlows, smallFrame}, {1, fullFrame}, {manyFlows, fullFrame}} {
			add("unsteered", false, plainRouter, scale.ours, leastUnsteered, load.flows, load.size)
			add("steered", true, scale.set, scale.ours, leastSteered, load.flows, load.size)
		}
	}
	// What policy routing costs by itself, whoever uses it.
	add("unsteered", false, plainRouter, mostSet, 0, manyFlows, smallFrame)
	add("unsteered", false, mostSet, mostRules, 0, manyFlows, smallFrame)
	add("unsteered", false, fewRules, mostRules, leastFlat, manyFlows, smallFrame)
	add("steered", true, fewRules, mostRules, leastFlat, manyFlows, smallFrame)
	return out
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return thousands(n) + " " + what + "s"
}

// measureForwarding compares what routers forward.
func measureForwarding(ctx context.Context, r *run) (rows []Row, err error) {
	subjects, err := r.raiseSubjects(ctx)
	defer func() {
		for _, s := range subjects {
			err = errors.Join(err, s.down(context.WithoutCancel(ctx)))
		}
	}()
	if err != nil {
		return nil, err
	}
	rows, err = r.passages(ctx, subjects)
	if err != nil {
		return nil, err
	}
	more, err := r.bulks(ctx, subjects)
	return append(rows, more...), err
}

// raiseSubjects raises those that are compared. Where it fails, some are up.
func (r *run) raiseSubjects(ctx context.Context) (map[string]*subject, error) {
	out := map[string]*subject{}
	for _, want := range []struct {
		name  string
		setUp func(*subject, context.Context, int) error
		n     int
	}{
		{plainRouter, nil, 0},
		{fewSet, (*subject).useSet, few},
		{mostSet, (*subject).useSet, most},
		{fewRules, (*subject).useRouterd, few},
		{mostRules, (*subject).useRouterd, most},
	} {
		s, err := r.newSubject(ctx, want.name)
		if err != nil {
			return out, err
		}
		out[want.name] = s
		if want.setUp == nil {
			continue
		}
		if err := want.setUp(s, ctx, want.n); err != nil {
			return out, fmt.Errorf("set up %s: %w", want.name, err)
		}
	}
	return out, nil
}

// How many addresses routerd has room for: by default, and for most of them.
const (
	usualAddresses = 16_384
	mostAddresses  = 131_072
)

// steering are settings that send listed names by the second way out, with room for a
// number of addresses.
const steering = `config routerd 'main'
	option dns 'secure'
	list resolver 'udp://22.8.8.8'
	list lan 'br-lan'
	option max_addresses '%d'

config tunnel 'second'
	option type 'interface'
	option device '` + secondDevice + `'

config destination 'listed'
	list domain '` + listedName + `'
	list file '` + listFile + `'
	option policy 'tunnel'
	option fallback 'block'
`

// listFile holds a subject's rules.
const listFile = "/etc/routerd/bench.list"

// names are n names with nothing in common but their end.
func names(n int) []byte {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "host%d.zone%d.listed.example\n", i, i%100)
	}
	return []byte(b.String())
}

// useRouterd starts routerd with n rules and has it learn n addresses.
func (s *subject) useRouterd(ctx context.Context, n int) error {
	if err := s.lab.WriteFile(lab.Router, listFile, names(n-1), 0o600); err != nil {
		return err
	}
	var err error
	if s.daemon, err = s.start(ctx, fmt.Sprintf(steering, mostAddresses), tunnelUp); err != nil {
		return err
	}
	addrs := make([]netip.Addr, n)
	for i := range addrs {
		addrs[i] = offset(firstListed(), i)
	}
	if err := s.learn(clientMAC(), addrs); err != nil {
		return err
	}
	mac, err := s.hardware(lab.Client, "eth0")
	if err != nil {
		return err
	}
	return s.learn(mac, []netip.Addr{bulkServer(true)})
}

// passages measures datagrams. A value is what a second of processor time forwards,
// which bears other work on the machine.
func (r *run) passages(ctx context.Context, subjects map[string]*subject) ([]Row, error) {
	for _, s := range subjects {
		if err := s.prime(ctx); err != nil {
			return nil, err
		}
	}
	all := passages()
	for turn := range r.Rounds * turnsPerRound {
		r.say("forwarding, turn %d of %d", turn+1, r.Rounds*turnsPerRound)
		for i := range all {
			if err := all[i].turn(ctx, subjects, turn, r.packets()); err != nil {
				return nil, err
			}
		}
	}
	rows := make([]Row, len(all))
	for i, p := range all {
		rows[i] = p.row
	}
	return rows, nil
}

// A turn of this measurement is short: what else goes on in the machine then meets
// both sides alike.
const (
	turnsPerRound = 5
	shorter       = 40
	packetCost    = 4 * time.Microsecond // about
)

// packets is how many a turn takes for each side.
func (r *run) packets() int { return max(1000, int(r.Each/shorter/packetCost)) }

// turn measures both sides once.
func (p *passage) turn(ctx context.Context, subjects map[string]*subject, turn, packets int) error {
	sides := [2]struct {
		subject string
		into    *[]float64
	}{{p.base, &p.row.Theirs}, {p.ours, &p.row.Got}}
	for i := range sides {
		side := sides[(i+turn)%2]
		if err := ctx.Err(); err != nil {
			return err
		}
		took, err := p.once(subjects[side.subject], packets)
		if err != nil {
			return err
		}
		value := float64(packets) / took.Seconds() / 1e3
		if p.size == fullFrame {
			value *= (fullFrame + 4) * 8 / 1e6
		}
		*side.into = append(*side.into, value)
	}
	return nil
}

func (p *passage) once(s *subject, packets int) (time.Duration, error) {
	st, by := p.traffic()
	src, err := s.open(st)
	if err != nil {
		return 0, err
	}
	took, err := s.pass(src, packets, by)
	return took, errors.Join(err, src.close())
}

// traffic is what is sent, and the device that it must leave by.
func (p *passage) traffic() (st stream, by string) {
	st = stream{to: firstUnlisted(), addresses: p.addresses, flows: p.flows, size: p.size}
	if !p.listed {
		return st, lab.WANDevice
	}
	st.to = firstListed()
	return st, secondDevice
}
