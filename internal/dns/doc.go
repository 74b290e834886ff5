// Package dns is routerd's own resolver, for listed names only: a server on the
// LAN side, a cache, and upstreams over DoH, DoT, TCP and UDP that are asked by
// a path the caller names. It knows nothing of policy, settings or eBPF: what
// a name's path is, what happens to its addresses and where a query was first
// sent are asked through function values (ServerOptions).
//
// Messages stay in wire form from end to end. What a client gets is what the
// upstream sent, octet by octet, but for the id, the case of the question, TTLs
// that age, the OPT record, which belongs to one hop (RFC 6891), and records
// taken away on purpose. Record types unknown here pass like any other.
//
// Order of files: wire, svcb, rewrite and answer read and change messages;
// query and reply are the client's side of them; upstream, dial, udp, stream and
// doh ask one server; link and race choose between servers; cache and resolver put
// it together; server, udpserver, tcpserver and relay serve it.
package dns
