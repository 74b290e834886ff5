package netcfg

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/routerd/routerd/internal/owned"
)

// coalesce is how long Watch waits for further changes before it reports:
// a device that comes up, or a reload of the firewall, makes dozens.
const coalesce = 100 * time.Millisecond

// watchBuffer holds the notifications of a firewall reload.
const watchBuffer = 1 << 20

// Watch reports that somebody else changed what Apply depends on: devices,
// addresses, default routes of the main table, policy rules, our routes, or
// nftables rules. One value stands for any number of changes. Changes that
// this Net makes are not reported, nor are elements that others add to sets of
// theirs. The channel is closed when ctx ends. iptables-legacy tells nobody
// what it does: with it the daemon has to apply after a reload of the firewall.
func (n *Net) Watch(ctx context.Context) (<-chan struct{}, error) {
	routes, err := nl.Subscribe(unix.NETLINK_ROUTE,
		unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV6_IFADDR,
		unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE, unix.RTNLGRP_IPV4_RULE, unix.RTNLGRP_IPV6_RULE)
	if err != nil {
		return nil, fmt.Errorf("subscribe to routes: %w", err)
	}
	w := &watcher{net: n, hit: make(chan struct{}, 1)}
	w.follow(ctx, routes, newRouteFilter(n.expected).relevant)
	nft, err := nl.Subscribe(unix.NETLINK_NETFILTER, unix.NFNLGRP_NFTABLES)
	if err == nil {
		w.follow(ctx, nft, n.nftRelevant)
	} else {
		n.log.Debug("nftables changes are not watched", "error", err)
	}
	n.expected.watch(1)
	out := make(chan struct{}, 1)
	// report ends with ctx, after it has waited for the readers; who reads out
	// waits for it by the channel's end.
	go w.report(ctx, out)
	return out, nil
}

// watcher joins the sockets' notifications.
type watcher struct {
	net *Net
	// hit holds one value when something changed since the last report.
	hit chan struct{}
	// readers are the goroutines of follow.
	readers sync.WaitGroup
}

// follow reads a socket in a goroutine of its own, which ends with ctx.
func (w *watcher) follow(ctx context.Context, s *nl.NetlinkSocket, relevant func(syscall.NetlinkMessage) bool) {
	if err := s.SetReceiveBufferSize(watchBuffer, true); err != nil {
		w.net.log.Debug("notifications may get lost", "error", err)
	}
	stop := context.AfterFunc(ctx, s.Close)
	w.readers.Go(func() {
		defer s.Close()
		defer stop()
		for ctx.Err() == nil {
			msgs, _, err := s.Receive()
			if err != nil && !errors.Is(err, syscall.ENOBUFS) {
				if ctx.Err() == nil {
					w.net.log.Error("changes of the network are no longer watched", "error", err)
				}
				return
			}
			changed := err != nil // some were lost: whatever they said
			for _, m := range msgs {
				changed = relevant(m) || changed
			}
			if changed {
				signal(w.hit)
			}
		}
	})
}

// signal leaves one value in a channel of capacity one.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// report passes hits on, after a pause that lets more of them come.
func (w *watcher) report(ctx context.Context, out chan<- struct{}) {
	defer close(out)
	defer w.net.expected.watch(-1)
	defer w.readers.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.hit:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(coalesce):
		}
		select {
		case <-w.hit:
		default:
		}
		signal(out)
	}
}

// nftRelevant tells changes of nftables that concern us.
func (n *Net) nftRelevant(m syscall.NetlinkMessage) bool {
	if n.ports.has(m.Header.Pid) || m.Header.Type>>8 != unix.NFNL_SUBSYS_NFTABLES ||
		len(m.Data) < nl.SizeofNfgenmsg {
		return false
	}
	switch m.Header.Type & 0xff {
	case unix.NFT_MSG_NEWGEN:
		return false // says no more than the messages before it
	case unix.NFT_MSG_NEWSETELEM, unix.NFT_MSG_DELSETELEM:
		// The table is the first attribute of every object's messages.
		for _, a := range attrs(m.Data[nl.SizeofNfgenmsg:]) {
			if a.kind == unix.NFTA_SET_ELEM_LIST_TABLE {
				return cString(a.value) == owned.NFTable
			}
		}
		return false
	}
	return true
}

// routeFilter tells notifications that change something from those that only
// repeat or refresh it. It belongs to the goroutine that reads the socket.
type routeFilter struct {
	expected *eventSet
	links    map[int32]linkSeen
	addrs    map[string]bool
}

// linkSeen is what counts of a device.
type linkSeen struct {
	name  string
	mtu   uint32
	flags uint32
}

func newRouteFilter(e *eventSet) *routeFilter {
	return &routeFilter{expected: e, links: map[int32]linkSeen{}, addrs: map[string]bool{}}
}

func (f *routeFilter) relevant(m syscall.NetlinkMessage) bool {
	switch m.Header.Type {
	case unix.RTM_NEWLINK, unix.RTM_DELLINK:
		return f.link(m)
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		return f.addr(m)
	case unix.RTM_NEWROUTE, unix.RTM_DELROUTE:
		return f.route(m)
	case unix.RTM_NEWRULE, unix.RTM_DELRULE:
		return f.rule(m)
	}
	return false
}

// link reads struct ifinfomsg.
func (f *routeFilter) link(m syscall.NetlinkMessage) bool {
	if len(m.Data) < unix.SizeofIfInfomsg || m.Data[0] != unix.AF_UNSPEC {
		return false // a bridge tells of its ports under its own family
	}
	index := int32(binary.NativeEndian.Uint32(m.Data[4:]))
	if m.Header.Type == unix.RTM_DELLINK {
		delete(f.links, index)
		return true
	}
	seen := linkSeen{flags: binary.NativeEndian.Uint32(m.Data[8:]) & (unix.IFF_UP | unix.IFF_RUNNING)}
	for _, a := range attrs(m.Data[unix.SizeofIfInfomsg:]) {
		switch a.kind {
		case unix.IFLA_IFNAME:
			seen.name = cString(a.value)
		case unix.IFLA_MTU:
			seen.mtu = nativeUint32(a.value)
		}
	}
	old, ok := f.links[index]
	f.links[index] = seen
	return !ok || old != seen
}

// addr reads struct ifaddrmsg. A router advertisement repeats addresses every
// few minutes.
func (f *routeFilter) addr(m syscall.NetlinkMessage) bool {
	if len(m.Data) < unix.SizeofIfAddrmsg {
		return false
	}
	key := string(m.Data[4:8])
	for _, a := range attrs(m.Data[unix.SizeofIfAddrmsg:]) {
		if a.kind == unix.IFA_ADDRESS || a.kind == unix.IFA_LOCAL {
			key += string(a.value)
		}
	}
	known := f.addrs[key]
	if m.Header.Type == unix.RTM_DELADDR {
		delete(f.addrs, key)
		return true
	}
	f.addrs[key] = true
	return !known
}

// route reads struct rtmsg.
func (f *routeFilter) route(m syscall.NetlinkMessage) bool {
	if len(m.Data) < unix.SizeofRtMsg || nativeUint32(m.Data[8:])&unix.RTM_F_CLONED != 0 {
		return false
	}
	e := event{kind: m.Header.Type, family: Family(m.Data[0]), table: int(m.Data[4])}
	for _, a := range attrs(m.Data[unix.SizeofRtMsg:]) {
		switch a.kind {
		case unix.RTA_TABLE:
			e.table = int(nativeUint32(a.value))
		case unix.RTA_OIF:
			e.link = int(nativeUint32(a.value))
		}
	}
	if e.table == unix.RT_TABLE_MAIN {
		return m.Data[1] == 0 // dst_len: a default route
	}
	if m.Data[7] != unix.RTN_UNICAST {
		e.link = 0
	}
	return ourTable(e.table) && !f.expected.take(e)
}

// rule reads struct fib_rule_hdr.
func (f *routeFilter) rule(m syscall.NetlinkMessage) bool {
	if len(m.Data) < unix.SizeofRtMsg {
		return false
	}
	e := event{kind: m.Header.Type, family: Family(m.Data[0]), table: int(m.Data[4])}
	for _, a := range attrs(m.Data[unix.SizeofRtMsg:]) {
		switch a.kind {
		case nl.FRA_TABLE:
			e.table = int(nativeUint32(a.value))
		case nl.FRA_FWMARK:
			e.mark = owned.Mark(nativeUint32(a.value))
		}
	}
	return !f.expected.take(e)
}

func nativeUint32(b []byte) uint32 {
	if len(b) < 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(b)
}
