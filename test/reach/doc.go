// Package reach holds end-to-end tests of internal/reach: in a lab, with the
// real daemon's tunnels, against every kind of interference. The tests' own
// program is what checks, inside the router (probe_test.go).
package reach
