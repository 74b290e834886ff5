// Package netcfg is a sample.
package netcfg

// Works since commit 0f3c2a9.
// The address 0123456789 and the mark 0x0f000000 are no hashes, nor is deadbeef.
// See 5c1d3a2b4f6e.
// TODO: name an owner.
// TODO(anna): has one.
// Stands in `/home/anna/routerd`.
/* 0f3c2a9d0f3c2a9d0f3c2a9d0f3c2a9d0f3c2a9d */
