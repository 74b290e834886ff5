package tunnel

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/tun"
)

// tunPath is the clone device of TUN.
const tunPath = "/dev/net/tun"

// errNoTUN names what a router lacks when there is no TUN.
var errNoTUN = errors.New(tunPath + " is missing, which WireGuard needs without its kernel module: install the package kmod-tun (or kmod-wireguard)")

// tunDevice is a TUN device of one packet a call and without offloads.
// wireguard-go's own takes frames of 64 KiB apart, for which it keeps several
// megabytes of tables, and wakes up every second.
type tunDevice struct {
	in, out *gate
	file    *os.File
	name    string
	index   int
	mtu     atomic.Int64
	events  chan tun.Event
	done    chan struct{}
	once    sync.Once
}

var _ tun.Device = (*tunDevice)(nil)

// openTUN makes the device and follows its link state. It vanishes with Close
// or with the process. A goroutine passes link changes on until Close.
func openTUN(name string, in, out *gate) (*tunDevice, error) {
	fd, err := unix.Open(tunPath, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) {
			return nil, errNoTUN
		}
		return nil, fmt.Errorf("open %s: %w", tunPath, err)
	}
	ifr, err := unix.NewIfreq(name)
	if err == nil {
		ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("create TUN device %s: %w", name, err)
	}
	t := &tunDevice{
		in: in, out: out, name: name,
		// Only now may Go's poller see the descriptor.
		file:   os.NewFile(uintptr(fd), tunPath),
		events: make(chan tun.Event, 4), done: make(chan struct{}),
	}
	if err := t.follow(); err != nil {
		_ = t.file.Close()
		return nil, err
	}
	return t, nil
}

// follow subscribes to the link and reports its present state.
func (t *tunDevice) follow() error {
	updates := make(chan netlink.LinkUpdate, 16)
	if err := netlink.LinkSubscribe(updates, t.done); err != nil {
		return fmt.Errorf("watch device %s: %w", t.name, err)
	}
	link, err := netlink.LinkByName(t.name)
	if err != nil {
		close(t.done)
		return fmt.Errorf("find device %s: %w", t.name, err)
	}
	t.index = link.Attrs().Index
	t.mtu.Store(int64(link.Attrs().MTU))
	// Nobody waits for it; Close ends it.
	go t.pass(updates, link.Attrs().RawFlags&unix.IFF_UP != 0)
	return nil
}

// pass turns link changes into events until Close, then closes events, as
// wireguard-go expects of the sender.
func (t *tunDevice) pass(updates <-chan netlink.LinkUpdate, up bool) {
	defer close(t.events)
	if up && !t.send(tun.EventUp) {
		return
	}
	for {
		select {
		case <-t.done:
			return
		case u, ok := <-updates:
			if !ok || !t.passOne(u) {
				return
			}
		}
	}
}

// passOne passes on one update, if it is of this device.
func (t *tunDevice) passOne(u netlink.LinkUpdate) bool {
	if int(u.Index) != t.index || u.Header.Type != unix.RTM_NEWLINK {
		return true
	}
	t.mtu.Store(int64(u.Attrs().MTU))
	event := tun.Event(tun.EventMTUUpdate | tun.EventDown)
	if u.Flags&unix.IFF_UP != 0 {
		event = tun.EventMTUUpdate | tun.EventUp
	}
	return t.send(event)
}

func (t *tunDevice) send(e tun.Event) bool {
	select {
	case t.events <- e:
		return true
	case <-t.done:
		return false
	}
}

// File is the descriptor of the device.
func (t *tunDevice) File() *os.File { return t.file }

// Read takes one packet that the router sends into the tunnel.
func (t *tunDevice) Read(bufs [][]byte, sizes []int, offset int) (int, error) {
	t.out.wait()
	n, err := t.file.Read(bufs[0][offset:])
	if err != nil {
		return 0, gone(err)
	}
	t.out.enter()
	sizes[0] = n
	return 1, nil
}

// Write gives packets that came through the tunnel to the router.
func (t *tunDevice) Write(bufs [][]byte, offset int) (int, error) {
	var errs error
	for i, buf := range bufs {
		t.in.leave()
		if _, err := t.file.Write(buf[offset:]); err != nil {
			if err = gone(err); errors.Is(err, os.ErrClosed) {
				return i, err
			}
			errs = errors.Join(errs, err)
		}
	}
	return len(bufs), errs
}

// gone is os.ErrClosed when the device was deleted.
func gone(err error) error {
	if errors.Is(err, syscall.EBADFD) {
		return os.ErrClosed
	}
	return err
}

// MTU is what the kernel said last.
func (t *tunDevice) MTU() (int, error) { return int(t.mtu.Load()), nil }

// Name is the device's name.
func (t *tunDevice) Name() (string, error) { return t.name, nil }

// Events are changes of the link.
func (t *tunDevice) Events() <-chan tun.Event { return t.events }

// BatchSize is one: see tunDevice.
func (t *tunDevice) BatchSize() int { return 1 }

// Close removes the device.
func (t *tunDevice) Close() (err error) {
	t.once.Do(func() {
		close(t.done)
		err = t.file.Close()
	})
	return err
}
