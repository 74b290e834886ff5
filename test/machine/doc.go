// Package machine runs programs on real kernels of other architectures: it
// fetches Debian's kernels and tools into a cache outside the repository (the
// kernel for big-endian MIPS it builds from Debian's source), boots them under
// QEMU's software emulation, and runs one command in them with the repository
// in its place, read-only. docs/machines.md tells how to use it.
//
// A machine is: a kernel; an initial file system that holds one program of ours
// (cmd/init) and the modules it needs to find the rest; Debian's tools for that
// architecture over 9P, under a layer of memory; and a Job. The console carries
// what the command prints, and a line at the end that tells its exit status.
package machine
