// Package client holds what a LAN client does in tests: bursts of fresh lookups
// and connections, Stratum sessions, downloads, UDP flows. Everything is an
// ordinary client's traffic: the system's resolver, the system's authorities.
package client
