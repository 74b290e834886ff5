// Package e2e tests routerd as its users meet it: the real binary on the router
// of a lab, settings in a UCI file, the commands, and real clients. Which way a
// packet took is told by counters outside the router. It holds tests only.
package e2e
