package bench

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/routerd/routerd/test/lab"
)

// programRuns is how often a program runs over a packet in one turn.
const programRuns = 20_000

// noProgram is what a program is compared with: it leaves every packet alone.
const noProgram = "a program that does nothing"

// programCase is one packet for one of routerd's programs.
type programCase struct {
	what         string
	device, role string
	packet       []byte
}

// programCases are packets of each kind. Those that change something change it again
// with every run: a first packet carries an octet, after which the next one begins the
// flow anew.
func (s *subject) programCases() ([]programCase, error) {
	to := func(a netip.Addr, flags byte, size int) []byte {
		return datagram{
			to: s.router, from: clientMAC(), source: netip.AddrPortFrom(benchClient(), firstPort),
			target: netip.AddrPortFrom(a, webPort), flags: flags, payload: make([]byte, size),
		}.frame()
	}
	out := []programCase{
		{"to an address that is not listed", lab.LANDevice, "steer", to(firstUnlisted(), tcpACK, 1000)},
		{"to one that is, first packet", lab.LANDevice, "steer", to(firstListed(), tcpSYN, 1)},
		{"to one that is, another packet", lab.LANDevice, "steer", to(firstListed(), tcpACK, 0)},
		{"by the WAN, forwarded", lab.WANDevice, "guard", to(firstUnlisted(), tcpACK, 1000)},
		{"to a client, no answer", lab.LANDevice, "learn", s.reply(firstUnlisted())},
	}
	for _, a := range []struct {
		what, name string
		records    int
	}{
		{"answer, unlisted name", "www.shop.example", 1},
		{"answer, listed name, 1 record", listedName, 1},
		{"answer, listed name, 16 records", listedName, 16},
	} {
		addrs := make([]netip.Addr, a.records)
		for i := range addrs {
			addrs[i] = offset(firstListed(), i)
		}
		packet, err := s.answer(clientMAC(), a.name, addrs)
		if err != nil {
			return nil, err
		}
		out = append(out, programCase{a.what, lab.LANDevice, "learn", packet})
	}
	return out, nil
}

// reply is a packet of a server's to the client.
func (s *subject) reply(server netip.Addr) []byte {
	return datagram{
		to: clientMAC(), from: s.router, source: netip.AddrPortFrom(server, webPort),
		target: netip.AddrPortFrom(benchClient(), firstPort), flags: tcpACK, payload: make([]byte, 1000),
	}.frame()
}

// measurePrograms runs routerd's programs over packets, as they hang in a router with
// 1,000 rules and addresses.
func measurePrograms(ctx context.Context, r *run) (rows []Row, err error) {
	s, err := r.newSubject(ctx, "routerd")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.down(context.WithoutCancel(ctx))) }()
	if err := s.useRouterd(ctx, 1000); err != nil {
		return nil, err
	}
	cases, err := s.programCases()
	if err != nil {
		return nil, err
	}
	rows = make([]Row, len(cases))
	for turn := range r.Rounds * turnsPerRound {
		r.say("programs, turn %d of %d", turn+1, r.Rounds*turnsPerRound)
		for i, c := range cases {
			if err := s.programTurn(ctx, c, &rows[i], turn); err != nil {
				return nil, fmt.Errorf("%s, %s: %w", c.role, c.what, err)
			}
		}
	}
	return rows, nil
}

// programTurn runs both programs.
func (s *subject) programTurn(ctx context.Context, c programCase, row *Row, turn int) error {
	row.What, row.Base, row.Ours, row.Unit = c.what, noProgram, c.role, "ns"
	ours, packet, err := s.program(c.device, c.role)
	if err != nil {
		return err
	}
	defer ours.Close()
	idle, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "bench_idle", Type: ebpf.SchedCLS, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, -1), asm.Return()},
	})
	if err != nil {
		return fmt.Errorf("load a program: %w", err)
	}
	defer idle.Close()
	sides := [2]struct {
		p    *ebpf.Program
		into *[]float64
	}{{idle, &row.Theirs}, {ours, &row.Got}}
	for i := range sides {
		side := sides[(i+turn)%2]
		ns, err := s.timeOf(side.p, packet, c.packet)
		if err = errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		*side.into = append(*side.into, ns)
	}
	return nil
}

// timeOf is the processor time of one run, in nanoseconds.
func (s *subject) timeOf(p *ebpf.Program, about skb, packet []byte) (ns float64, err error) {
	err = s.lab.Inside(lab.Router, func() error {
		if err := pinHere(); err != nil {
			return err
		}
		before, err := threadTime()
		if err != nil {
			return err
		}
		if _, err := p.Run(&ebpf.RunOptions{Data: packet, Context: about, Repeat: programRuns}); err != nil {
			return err
		}
		after, err := threadTime()
		ns = float64((after - before).Nanoseconds()) / programRuns
		return err
	})
	return ns, err
}
