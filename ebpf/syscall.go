package ebpf

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"syscall"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// Programs, maps and links are made by bpf(2) itself: what cilium/ebpf would do
// beyond that, types, relocations and probes of features, none of which a router
// needs, is 0.7 MiB of code. Its own maps and programs are used from then on.

// logSize is room for the verifier's words about the largest program that it
// refuses at its end.
const logSize = 1 << 20

// loadTries bounds how often a load is tried that a signal has interrupted.
const loadTries = 30

// mapAttr is what BPF_MAP_CREATE reads of union bpf_attr.
type mapAttr struct {
	kind, keySize, valueSize, maxEntries uint32
	flags, innerFD, _                    uint32
	name                                 [unix.BPF_OBJ_NAME_LEN]byte
}

// programAttr is what BPF_PROG_LOAD reads. Pointers have 64 bits.
type programAttr struct {
	kind, count    uint32
	code, license  uint64
	level, logSize uint32
	log            uint64
	_, flags       uint32
	name           [unix.BPF_OBJ_NAME_LEN]byte
}

// linkAttr is what BPF_LINK_CREATE reads for a link of kind tcx.
type linkAttr struct {
	program, ifindex, attach, flags uint32
	_                               [2]uint64 // beside whom, at which revision
}

// linkInfo is what BPF_OBJ_GET_INFO_BY_FD writes about one; ifindex holds for
// kind BPF_LINK_TYPE_TCX only.
type linkInfo struct {
	kind, _, program, _ uint32
	ifindex, _          uint32
}

// bpf is the system call; attr must hold everything that the command reads.
func bpf[T any](cmd uintptr, attr *T) (fd int, err error) {
	for range loadTries {
		r, _, errno := unix.Syscall(unix.SYS_BPF, cmd, uintptr(unsafe.Pointer(attr)), unsafe.Sizeof(*attr))
		if errno == 0 {
			return int(r), nil
		}
		err = errno
		if errno != unix.EINTR && (errno != unix.EAGAIN || cmd != unix.BPF_PROG_LOAD) {
			break
		}
	}
	return -1, err
}

// pointerTo is where b begins, for the kernel; b stays there until p is unpinned.
func pointerTo(p *runtime.Pinner, b []byte) uint64 {
	p.Pin(&b[0])
	return uint64(uintptr(unsafe.Pointer(&b[0])))
}

// nameOfObject is a name as the kernel keeps it, cut off where it has no room.
func nameOfObject(name string) (out [unix.BPF_OBJ_NAME_LEN]byte) {
	copy(out[:len(out)-1], name)
	return out
}

// makeMap makes a map, and for a map of maps one to show what its maps are like.
func makeMap(spec *mapSpec) (*ebpf.Map, error) {
	attr := mapAttr{
		kind: uint32(spec.Type), keySize: spec.KeySize, valueSize: spec.ValueSize, maxEntries: spec.MaxEntries,
		flags: spec.Flags, name: nameOfObject(spec.Name),
	}
	if spec.Inner != nil {
		inner, err := makeMap(spec.Inner)
		if err != nil {
			return nil, err
		}
		defer inner.Close()
		attr.innerFD = uint32(inner.FD())
	}
	fd, err := bpf(unix.BPF_MAP_CREATE, &attr)
	if err != nil {
		return nil, err
	}
	return ebpf.NewMapFromFD(fd)
}

// loadProgram loads code under a spec's name, kind and flags. A refusal is an
// *ebpf.VerifierError.
func loadProgram(spec *programSpec, code []byte, license string) (*ebpf.Program, error) {
	var pins runtime.Pinner
	defer pins.Unpin()
	attr := programAttr{
		kind: uint32(spec.kind), count: uint32(len(code) / insnSize), code: pointerTo(&pins, code),
		license: pointerTo(&pins, append([]byte(license), 0)), flags: spec.flags, name: nameOfObject(spec.name),
	}
	fd, err := bpf(unix.BPF_PROG_LOAD, &attr)
	if err == nil {
		return ebpf.NewProgramFromFD(fd)
	}
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSYS) {
		return nil, err
	}
	log := make([]byte, logSize)
	attr.level, attr.logSize, attr.log = 1, logSize, pointerTo(&pins, log)
	if fd, again := bpf(unix.BPF_PROG_LOAD, &attr); again == nil {
		return ebpf.NewProgramFromFD(fd)
	}
	return nil, refusal(err, log)
}

// refusal is an error with what the verifier said.
func refusal(err error, log []byte) error {
	text, _, _ := bytes.Cut(log, []byte{0})
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if lines[0] == "" {
		return err
	}
	return &ebpf.VerifierError{Cause: err, Log: lines}
}

// tcxLink is a link of a program to a device, by tcx (Linux 6.6).
type tcxLink struct{ fd int }

// linkTCX links a program to a device, ahead of all others there: one that ends
// the chain would let packets past.
func linkTCX(ifindex int, p *ebpf.Program, at ebpf.AttachType) (tcxLink, error) {
	fd, err := bpf(unix.BPF_LINK_CREATE, &linkAttr{
		program: uint32(p.FD()), ifindex: uint32(ifindex), attach: uint32(at), flags: unix.BPF_F_BEFORE,
	})
	runtime.KeepAlive(p)
	return tcxLink{fd}, err
}

// pinAttr is what BPF_OBJ_PIN and BPF_OBJ_GET read.
type pinAttr struct {
	path  uint64
	fd, _ uint32
}

// pinned opens what is pinned at a path as a link.
func pinned(path string) (tcxLink, error) {
	var pins runtime.Pinner
	defer pins.Unpin()
	fd, err := bpf(unix.BPF_OBJ_GET, &pinAttr{path: pointerTo(&pins, append([]byte(path), 0))})
	return tcxLink{fd}, err
}

func (l tcxLink) pin(path string) error {
	var pins runtime.Pinner
	defer pins.Unpin()
	_, err := bpf(unix.BPF_OBJ_PIN, &pinAttr{path: pointerTo(&pins, append([]byte(path), 0)), fd: uint32(l.fd)})
	if err != nil {
		return fmt.Errorf("pin link: %w", err)
	}
	return nil
}

// info is what the kernel tells of a link of kind tcx.
func (l tcxLink) info() (out linkInfo, ok bool) {
	raw, err := objectInfo(l.fd, linkInfo{})
	return raw, err == nil && raw.kind == unix.BPF_LINK_TYPE_TCX
}

// onDevice says whether l is a link of kind tcx to a device.
func (l tcxLink) onDevice(ifindex int) bool {
	info, ok := l.info()
	return ok && int(info.ifindex) == ifindex
}

// objectInfo has the kernel write what it tells of an object over ask, which may
// name memory for more. T holds no Go pointers.
func objectInfo[T any](fd int, ask T) (T, error) {
	var pins runtime.Pinner
	defer pins.Unpin()
	info := &ask
	pins.Pin(info)
	_, err := bpf(unix.BPF_OBJ_GET_INFO_BY_FD, &struct {
		fd, length uint32
		info       uint64
	}{uint32(fd), uint32(unsafe.Sizeof(ask)), uint64(uintptr(unsafe.Pointer(info)))})
	return *info, err
}

// update swaps the program in place.
func (l tcxLink) update(p *ebpf.Program) error {
	_, err := bpf(unix.BPF_LINK_UPDATE, &struct{ link, program, flags, old uint32 }{uint32(l.fd), uint32(p.FD()), 0, 0})
	runtime.KeepAlive(p)
	return err
}

// detach ends the link, whoever holds it.
func (l tcxLink) detach() error {
	_, err := bpf(unix.BPF_LINK_DETACH, &struct{ link uint32 }{uint32(l.fd)})
	return err
}

func (l tcxLink) close() error { return syscall.Close(l.fd) }
