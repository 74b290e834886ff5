// Package demo shows that routerd splits traffic, with real packets: it raises
// a lab, runs the daemon inside the lab's router with ordinary settings, drives
// ordinary clients, and sets beside each other the path that routerd names and
// the packets that the provider and the tunnel's exit counted. Those two know
// nothing of routerd.
package demo
