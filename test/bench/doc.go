// Package bench measures what routerd costs, in a lab of its own. A figure is
// never an absolute one alone: what is compared is measured in turns in one run,
// and the ratio of each turn is kept, so that its spread shows how far the
// machine can be trusted.
//
// A measurement is a function from a run to rows (dns.go); bench.go names them
// all, table.go prints them. scripts/bench calls it.
package bench
