package client

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// A lookup asks up to lookupTries times and waits lookupWait each time, like a
// libc resolver in a hurry.
const (
	lookupTries = 3
	lookupWait  = 2 * time.Second
)

// Lookup asks a DNS server (address:port) for a name's addresses of one family
// (4 or 6): one query with a socket of its own, nothing cached, over UDP and,
// when the answer is cut, over TCP.
func Lookup(ctx context.Context, server, name string, family int) ([]netip.Addr, error) {
	kind := dnsmessage.TypeA
	if family == 6 {
		kind = dnsmessage.TypeAAAA
	}
	query, id, err := question(name, kind)
	if err != nil {
		return nil, err
	}
	answer, err := askUDP(ctx, server, query, id)
	if err != nil {
		return nil, err
	}
	addresses, cut, err := parseAnswer(answer)
	if err == nil && cut {
		if answer, err = exchangeTCP(ctx, server, query); err == nil {
			addresses, _, err = parseAnswer(answer)
		}
	}
	if err == nil && len(addresses) == 0 {
		err = fmt.Errorf("look up %s: no address of family %d", name, family)
	}
	return addresses, err
}

// askUDP sends the query until an answer comes.
func askUDP(ctx context.Context, server string, query []byte, id uint16) (answer []byte, err error) {
	for range lookupTries {
		answer, err = exchangeUDP(ctx, server, query, id)
		if err == nil || ctx.Err() != nil {
			break
		}
	}
	return answer, err
}

// SystemServer is the first name server of /etc/resolv.conf.
func SystemServer() (string, error) {
	f, err := os.Open("/etc/resolv.conf")
	if err != nil {
		return "", fmt.Errorf("find name server: %w", err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if fields := strings.Fields(lines.Text()); len(fields) > 1 && fields[0] == "nameserver" {
			return net.JoinHostPort(fields[1], "53"), nil
		}
	}
	return "", errors.New("find name server: /etc/resolv.conf names none")
}

// question builds a query with EDNS for answers of up to 4,096 bytes.
func question(name string, kind dnsmessage.Type) (query []byte, id uint16, err error) {
	id = uint16(rand.Uint32())
	owner, err := dnsmessage.NewName(strings.TrimSuffix(name, ".") + ".")
	if err != nil {
		return nil, 0, fmt.Errorf("look up %q: %w", name, err)
	}
	var edns dnsmessage.ResourceHeader
	if err := edns.SetEDNS0(4096, dnsmessage.RCodeSuccess, false); err != nil {
		return nil, 0, fmt.Errorf("build query: %w", err)
	}
	m := dnsmessage.Message{
		Header:      dnsmessage.Header{ID: id, RecursionDesired: true},
		Questions:   []dnsmessage.Question{{Name: owner, Type: kind, Class: dnsmessage.ClassINET}},
		Additionals: []dnsmessage.Resource{{Header: edns, Body: &dnsmessage.OPTResource{}}},
	}
	query, err = m.Pack()
	if err != nil {
		return nil, 0, fmt.Errorf("build query: %w", err)
	}
	return query, id, nil
}

func exchangeUDP(ctx context.Context, server string, query []byte, id uint16) ([]byte, error) {
	ctx, stop := context.WithTimeout(ctx, lookupWait)
	defer stop()
	return askOnce(ctx, server, query, id)
}

// askOnce sends a query and waits for its answer until ctx ends, which must have a
// deadline.
func askOnce(ctx context.Context, server string, query []byte, id uint16) ([]byte, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, "udp", server)
	if err != nil {
		return nil, fmt.Errorf("reach name server: %w", err)
	}
	defer c.Close()
	end, _ := ctx.Deadline()
	_ = c.SetDeadline(end)
	if _, err := c.Write(query); err != nil {
		return nil, fmt.Errorf("ask name server: %w", err)
	}
	answer := make([]byte, 4096)
	for {
		n, err := c.Read(answer)
		if err != nil {
			return nil, fmt.Errorf("read answer of name server: %w", err)
		}
		if n >= 12 && binary.BigEndian.Uint16(answer) == id {
			return answer[:n], nil
		}
	}
}

func exchangeTCP(ctx context.Context, server string, query []byte) ([]byte, error) {
	ctx, stop := context.WithTimeout(ctx, lookupWait)
	defer stop()
	return askStream(ctx, server, query)
}

// askStream is askOnce over TCP.
func askStream(ctx context.Context, server string, query []byte) ([]byte, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", server)
	if err != nil {
		return nil, fmt.Errorf("reach name server: %w", err)
	}
	defer c.Close()
	end, _ := ctx.Deadline()
	_ = c.SetDeadline(end)
	if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(query))), query...)); err != nil {
		return nil, fmt.Errorf("ask name server: %w", err)
	}
	var size [2]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return nil, fmt.Errorf("read answer of name server: %w", err)
	}
	answer := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(c, answer); err != nil {
		return nil, fmt.Errorf("read answer of name server: %w", err)
	}
	return answer, nil
}

// parseAnswer collects the addresses; cut tells that the answer is truncated.
func parseAnswer(raw []byte) (addresses []netip.Addr, cut bool, err error) {
	var m dnsmessage.Message
	if err := m.Unpack(raw); err != nil {
		return nil, false, fmt.Errorf("parse answer of name server: %w", err)
	}
	if m.RCode != dnsmessage.RCodeSuccess {
		return nil, false, fmt.Errorf("name server answers %s", strings.TrimPrefix(m.RCode.String(), "RCode"))
	}
	for _, r := range m.Answers {
		switch body := r.Body.(type) {
		case *dnsmessage.AResource:
			addresses = append(addresses, netip.AddrFrom4(body.A))
		case *dnsmessage.AAAAResource:
			addresses = append(addresses, netip.AddrFrom16(body.AAAA))
		}
	}
	return addresses, m.Truncated, nil
}

// deadline is that of ctx, or wait from now if that is sooner.
func deadline(ctx context.Context, wait time.Duration) time.Time {
	at := time.Now().Add(wait)
	if d, ok := ctx.Deadline(); ok && d.Before(at) {
		return d
	}
	return at
}
