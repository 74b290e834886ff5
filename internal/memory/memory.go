// Package memory knows how much the machine has, and lets go of what only a start has
// used of the program.
package memory

import "golang.org/x/sys/unix"

// Total is the machine's memory in octets (sysinfo(2)); 0 where the kernel does
// not tell.
func Total() uint64 {
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) != nil {
		return 0
	}
	return uint64(info.Totalram) * uint64(info.Unit)
}
