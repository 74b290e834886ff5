// Package web is as much of HTTP as the daemon speaks: a client and a server of
// HTTP/1.1 (RFC 9110, 9112) and a client of HTTP/2 (RFC 9113) for DNS over HTTPS.
//
// net/http does all of this and more; with what it brings along it was a tenth of
// the binary, beyond what a small router has room for (docs/footprint.md). Tests use
// it as the other side.
//
// Connections are the caller's: they dial, and shake hands. Whatever comes from the
// other side has a bound. There are no cookies, redirects, proxies or compression.
package web
