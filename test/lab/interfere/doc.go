// Package interfere is what the lab's provider does to its customer, and what a
// service does to its clients: a controller inside a host that switches each
// interference on and off. It needs a kernel with nftables, NFQUEUE and tproxy,
// and the programs nft and tc.
//
// Every interference owns what it makes: one nftables table named after it, its
// queue of packets, its classes of a queueing discipline, its files. Taking all
// of that away is undoing it; nothing else changes.
package interfere
