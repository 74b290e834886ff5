// Package router tests the daemon as it is shipped in a machine's own kernel:
// routerd runs in a router of network namespaces, with the kernel's WireGuard,
// between a client and a small internet. It is the lab reduced to what 64 MiB
// hold and no foreign program is needed for: everything else is in the test's
// own process.
//
//	client ── br-lan router wan ── net ── exit
//	                     rd-home ═══════ wg0
//
// Nothing is translated: the address that a server sees tells the path.
package router
