package tunnel

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"
	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/ipc"

	"github.com/routerd/routerd/internal/memory"
	"github.com/routerd/routerd/internal/owned"
)

// UserspaceOptions are those of the process that carries one tunnel.
type UserspaceOptions struct {
	Device string       // name of the device to create
	Log    *slog.Logger // nil: standard error
	Memory int64        // bytes the machine has; 0: ask it
}

// RunUserspace creates a TUN device and carries WireGuard over it until ctx
// ends or the device is deleted. It is configured over the UAPI socket
// /var/run/wireguard/DEVICE.sock, by the daemon as by wg(8). It is meant for a
// process of its own: it sets that process's memory limit and makes it survive
// the end of the terminal and of the daemon.
func RunUserspace(ctx context.Context, o UserspaceOptions) error {
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	if o.Device == "" || len(o.Device) >= unix.IFNAMSIZ || strings.ContainsAny(o.Device, "/ ") {
		return fmt.Errorf("run userspace WireGuard: '%s' is not a device name of 1 to %d characters", o.Device, unix.IFNAMSIZ-1)
	}
	signal.Ignore(unix.SIGHUP, unix.SIGPIPE)
	size := sizeFor(o.Memory)
	debug.SetMemoryLimit(size.limit)
	debug.SetGCPercent(50)

	in, out := newGate(size.window), newGate(size.window)
	tunDev, err := openTUN(o.Device, in, out)
	if err != nil {
		return err
	}
	dev := device.NewDevice(tunDev, newBind(in, out), wireguardLog(o.Log))
	defer dev.Close()
	uapi, err := listenUAPI(o.Device)
	if err != nil {
		return err
	}
	defer uapi.Close()
	failed := make(chan error, 1)
	// Nobody waits for it; closing or deleting the socket ends it.
	go serveUAPI(uapi, dev, failed)
	select {
	case <-ctx.Done():
		return nil
	case <-dev.Wait():
		o.Log.Info("device is gone, so is its process", "device", o.Device)
		return nil
	case err := <-failed:
		return fmt.Errorf("serve UAPI socket of %s: %w", o.Device, err)
	}
}

// serveUAPI answers clients until the socket is closed or deleted.
func serveUAPI(l net.Listener, dev *device.Device, failed chan<- error) {
	for {
		c, err := l.Accept()
		if err != nil {
			failed <- err
			return
		}
		// Nobody waits for it; the client ends it, or the process.
		go dev.IpcHandle(c)
	}
}

// listenUAPI opens the socket. One that a dead process left is replaced.
func listenUAPI(name string) (net.Listener, error) {
	file, err := ipc.UAPIOpen(name)
	if err != nil {
		return nil, fmt.Errorf("open UAPI socket of %s: %w", name, err)
	}
	defer file.Close()
	l, err := ipc.UAPIListen(name, file)
	if err != nil {
		return nil, fmt.Errorf("listen on UAPI socket of %s: %w", name, err)
	}
	return l, nil
}

// sizing is what a process allows itself.
type sizing struct {
	limit  int64 // soft limit of Go's memory, bytes
	window int   // packets inside wireguard-go in each direction
}

// sizeFor derives the sizing from the machine's memory in bytes; 0 means ask.
// A packet holds 64 KiB, of which the kernel maps what was written to: 4 KiB
// fresh, all of it once reused.
func sizeFor(size int64) sizing {
	if size == 0 {
		size = int64(cmp.Or(memory.Total(), 256<<20))
	}
	return sizing{
		limit:  min(max(size/8, 16<<20), 128<<20),
		window: int(min(max(size>>21, 32), 256)),
	}
}

// wireguardLog passes on wireguard-go's errors, at most one in ten seconds on
// average: an unreachable network gives one for every packet.
func wireguardLog(log *slog.Logger) *device.Logger {
	limiter := rate.NewLimiter(rate.Every(10*time.Second), 10)
	return &device.Logger{
		Verbosef: device.DiscardLogf,
		Errorf: func(format string, args ...any) {
			if limiter.Allow() {
				log.Warn(fmt.Sprintf(format, args...))
			}
		},
	}
}

// socketPath is the UAPI socket of a device, where wg(8) looks for it.
func socketPath(name string) string { return socketDir + "/" + name + ".sock" }

const socketDir = "/var/run/wireguard"

var errForeignSocket = errors.New("socket belongs to another network namespace")

// socketOwner is the process that listens on a device's UAPI socket. The error
// is one of os.ErrNotExist, ECONNREFUSED (a dead process left the socket),
// errForeignSocket, or another.
func socketOwner(name string) (pid int, err error) {
	c, err := net.DialTimeout("unix", socketPath(name), time.Second)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	raw, err := c.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var serr error
	if err := raw.Control(func(fd uintptr) {
		cred, serr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return 0, err
	}
	if serr != nil {
		return 0, serr
	}
	// Not /proc/self: that is the main thread, which may be elsewhere.
	ours, err := os.Stat("/proc/thread-self/ns/net")
	if err != nil {
		return 0, err
	}
	theirs, err := os.Stat("/proc/" + strconv.Itoa(int(cred.Pid)) + "/ns/net")
	if err != nil {
		return 0, err
	}
	if !os.SameFile(ours, theirs) {
		return int(cred.Pid), errForeignSocket
	}
	return int(cred.Pid), nil
}

// ownSockets lists the devices of ours that have a UAPI socket, live or not.
func ownSockets() []string {
	entries, err := os.ReadDir(socketDir)
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".sock")
		if ok && e.Type()&os.ModeSocket != 0 && owned.IsDevice(name) {
			names = append(names, name)
		}
	}
	return names
}
