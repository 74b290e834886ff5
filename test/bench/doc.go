// Package bench measures what routerd costs, in labs of its own. A figure is never an
// absolute one alone: what is compared is measured in turns in one run, and the ratio
// of each turn is kept, so that its spread shows how far the machine can be trusted.
//
// A measurement is a function from a run to rows: dns.go, forward.go (datagrams; bulk.go
// has downloads), programs.go, reload.go (failover.go) and wireguard.go. bench.go names
// them all, table.go prints them and record.go puts them into a document. A subject
// (subject.go) is a router in a lab of its own; packets for it are made by the kernel
// (source.go). scripts/bench calls it.
package bench
