package doctor

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// bpf(2) is called here without package ebpf: only its bare presence is asked,
// and the library's own probes need the client commands to load all of it.

// mapAttr begins union bpf_attr for BPF_MAP_CREATE (linux/bpf.h).
type mapAttr struct {
	kind, keySize, valueSize, maxEntries, flags uint32
}

// progAttr begins union bpf_attr for BPF_PROG_LOAD.
type progAttr struct {
	kind, insnCount uint32
	insns, license  uint64
	logLevel, size  uint32
	log             uint64
}

// linkAttr begins union bpf_attr for BPF_LINK_CREATE.
type linkAttr struct {
	progFD, ifindex, attachType, flags uint32
	relative, _                        uint32
	revision                           uint64
}

// tryMap makes a map of one kind and drops it.
func tryMap(kind, keySize, flags uint32) error {
	attr := mapAttr{kind, keySize, 8, 16, flags}
	fd, err := bpf(unix.BPF_MAP_CREATE, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	if err != nil {
		return fmt.Errorf("make a BPF map of kind %d: %w", kind, err)
	}
	return unix.Close(fd)
}

// tryMaps makes each kind of map that the data plane uses.
func tryMaps() error {
	return errors.Join(
		tryMap(unix.BPF_MAP_TYPE_HASH, 8, 0),
		tryMap(unix.BPF_MAP_TYPE_LRU_HASH, 8, 0),
		tryMap(unix.BPF_MAP_TYPE_PERCPU_ARRAY, 4, 0),
		tryMap(unix.BPF_MAP_TYPE_LPM_TRIE, 8, unix.BPF_F_NO_PREALLOC),
	)
}

// loadNothing loads a tc program that leaves every packet as it is
// (r0 = TC_ACT_UNSPEC; exit). The caller closes it.
func loadNothing() (int, error) {
	var insns [16]byte
	insns[0] = unix.BPF_ALU64 | unix.BPF_MOV | unix.BPF_K
	binary.NativeEndian.PutUint32(insns[4:], ^uint32(0))
	insns[8] = unix.BPF_JMP | unix.BPF_EXIT
	license := []byte("GPL\x00")
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(&insns)
	pin.Pin(&license[0])
	attr := progAttr{
		kind:      unix.BPF_PROG_TYPE_SCHED_CLS,
		insnCount: uint32(len(insns) / 8),
		insns:     uint64(uintptr(unsafe.Pointer(&insns))),
		license:   uint64(uintptr(unsafe.Pointer(&license[0]))),
	}
	fd, err := bpf(unix.BPF_PROG_LOAD, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	if err != nil {
		return -1, fmt.Errorf("load a BPF program: %w", err)
	}
	return fd, nil
}

// tryTCX attaches a program with a tcx link (6.6 and newer) and drops it.
func tryTCX(prog, ifindex int) error {
	attr := linkAttr{progFD: uint32(prog), ifindex: uint32(ifindex), attachType: unix.BPF_TCX_INGRESS}
	fd, err := bpf(unix.BPF_LINK_CREATE, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	if err != nil {
		return fmt.Errorf("attach a program with tcx: %w", err)
	}
	return unix.Close(fd)
}

func bpf(cmd int, attr unsafe.Pointer, size uintptr) (int, error) {
	fd, _, errno := unix.Syscall(unix.SYS_BPF, uintptr(cmd), uintptr(attr), size)
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}
