// Package serve holds the servers of a lab's hosts that are not programs of
// their own: the exits' WireGuard peer, and Stratum and UDP echo on net.
package serve
