// Package crowd makes the traffic of a household inside a client of a lab: short
// connections of several kinds to listed and unlisted names, connections that
// last, and probes. It judges nothing; it tells what came of each attempt.
package crowd
