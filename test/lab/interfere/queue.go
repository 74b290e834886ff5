package interfere

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Messages and attributes of the kernel's packet queue
// (linux/netfilter/nfnetlink_queue.h).
const (
	queueSubsystem = 3
	queuePacket    = queueSubsystem << 8
	queueVerdict   = queueSubsystem<<8 | 1
	queueConfig    = queueSubsystem<<8 | 2

	configCommand   = 1
	configParams    = 2
	configMaxLength = 3

	attrPacketHeader  = 1
	attrVerdictHeader = 2
	attrMark          = 3
	attrPayload       = 10
)

// queueLength is how many packets may wait for their verdicts.
const queueLength = 16384

// queue gives packets of one number to a program, which says what becomes of
// them.
type queue struct {
	number uint16
	conn   *netlink.Conn
}

// held is one packet that waits.
type held struct {
	id uint32
	ip []byte // from the IP header on
}

// openQueue binds a queue of the network namespace that this process is in.
func openQueue(number uint16) (*queue, error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, fmt.Errorf("open packet queue: %w", err)
	}
	_ = conn.SetReadBuffer(8 << 20)
	q := &queue{number: number, conn: conn}
	const bind, copyPacket = 1, 2
	for _, attribute := range []netlink.Attribute{
		{Type: configCommand, Data: []byte{bind, 0, 0, 0}},
		{Type: configParams, Data: append(binary.BigEndian.AppendUint32(nil, 0xffff), copyPacket)},
		{Type: configMaxLength, Data: binary.BigEndian.AppendUint32(nil, queueLength)},
	} {
		data, err := q.message([]netlink.Attribute{attribute})
		if err == nil {
			_, err = conn.Execute(netlink.Message{
				Header: netlink.Header{Type: queueConfig, Flags: netlink.Request | netlink.Acknowledge}, Data: data,
			})
		}
		if err != nil {
			_ = conn.Close()
			return nil, fmt.Errorf("bind packet queue %d: %w", number, err)
		}
	}
	return q, nil
}

// message puts the header of netfilter's messages before attributes.
func (q *queue) message(attributes []netlink.Attribute) ([]byte, error) {
	raw, err := netlink.MarshalAttributes(attributes)
	if err != nil {
		return nil, fmt.Errorf("encode attributes: %w", err)
	}
	return append(binary.BigEndian.AppendUint16([]byte{unix.AF_UNSPEC, 0}, q.number), raw...), nil
}

// run hands packets to each until the queue is closed.
func (q *queue) run(each func(held)) {
	for {
		messages, err := q.conn.Receive()
		if goesOn(err) {
			continue
		}
		if err != nil {
			return
		}
		for _, m := range messages {
			if h, ok := heldIn(m); ok {
				each(h)
			}
		}
	}
}

// goesOn says whether an error is about packets and not about the queue: the
// kernel dropped what did not fit, or what a verdict came too late for, since a
// rule or a device had gone meanwhile.
func goesOn(err error) bool { return errors.Is(err, unix.ENOBUFS) || errors.Is(err, unix.ENOENT) }

func heldIn(m netlink.Message) (held, bool) {
	if m.Header.Type != queuePacket || len(m.Data) < 4 {
		return held{}, false
	}
	attributes, err := netlink.UnmarshalAttributes(m.Data[4:])
	if err != nil {
		return held{}, false
	}
	var h held
	known := false
	for _, a := range attributes {
		switch {
		case a.Type == attrPacketHeader && len(a.Data) >= 4:
			h.id, known = binary.BigEndian.Uint32(a.Data), true
		case a.Type == attrPayload:
			h.ip = a.Data
		}
	}
	return h, known
}

// pass sends a packet on, with a mark unless that is 0.
func (q *queue) pass(h held, mark uint32) { q.verdict(h, 1, mark) }

// drop forgets a packet.
func (q *queue) drop(h held) { q.verdict(h, 0, 0) }

// verdict tells the kernel; a queue that is being closed has no more to tell.
func (q *queue) verdict(h held, what, mark uint32) {
	attributes := []netlink.Attribute{{
		Type: attrVerdictHeader,
		Data: binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, what), h.id),
	}}
	if mark != 0 {
		attributes = append(attributes, netlink.Attribute{Type: attrMark, Data: binary.BigEndian.AppendUint32(nil, mark)})
	}
	data, err := q.message(attributes)
	if err != nil {
		return
	}
	_, _ = q.conn.Send(netlink.Message{Header: netlink.Header{Type: queueVerdict, Flags: netlink.Request}, Data: data})
}

// close ends run; what still waits is dropped.
func (q *queue) close() error {
	if err := q.conn.Close(); err != nil {
		return fmt.Errorf("close packet queue: %w", err)
	}
	return nil
}

// sendTo adds to the chain "look" of an interference's table the rule that nft
// cannot write on kernels without nft_queue: iptables' target NFQUEUE. Packets
// pass when nobody listens.
func (q *queue) sendTo(table string) error {
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("open nftables: %w", err)
	}
	const bypass = 1
	info := make([]byte, 8) // struct xt_NFQ_info_v3, aligned
	for i, v := range []uint16{q.number, 1, bypass} {
		binary.NativeEndian.PutUint16(info[2*i:], v)
	}
	unknown := xt.Unknown(info)
	t := &nftables.Table{Name: table, Family: nftables.TableFamilyINet}
	conn.AddRule(&nftables.Rule{
		Table: t, Chain: &nftables.Chain{Name: "look", Table: t},
		Exprs: []expr.Any{&expr.Target{Name: "NFQUEUE", Rev: 3, Info: &unknown}},
	})
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("add rule of packet queue: %w", err)
	}
	return nil
}

// rawSender sends whole IP packets in anybody's name.
type rawSender struct{ four, six int }

func openRawSender() (*rawSender, error) {
	r := &rawSender{four: -1, six: -1}
	for family, fd := range map[int]*int{unix.AF_INET: &r.four, unix.AF_INET6: &r.six} {
		s, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		if err != nil {
			return nil, fmt.Errorf("open raw socket: %w", err)
		}
		*fd = s
		if err := unix.SetsockoptInt(s, unix.SOL_SOCKET, unix.SO_MARK, sentMark); err != nil {
			return nil, fmt.Errorf("mark raw socket: %w", err)
		}
	}
	return r, nil
}

// send sends a packet as it stands.
func (r *rawSender) send(ip []byte, to netip.Addr) error {
	var err error
	if to.Is4() {
		err = unix.Sendto(r.four, ip, 0, &unix.SockaddrInet4{Addr: to.As4()})
	} else {
		err = unix.Sendto(r.six, ip, 0, &unix.SockaddrInet6{Addr: to.As16()})
	}
	if err != nil {
		return fmt.Errorf("send packet to %s: %w", to, err)
	}
	return nil
}
