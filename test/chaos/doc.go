// Package chaos does to a router what happens to routers, while clients of a lab
// use hundreds of names, and watches from outside of it that nothing listed leaves
// by the WAN, that nothing else enters a tunnel or is lost, and that listed names
// work again soon. What is done follows from a seed; the command is scripts/chaos.
package chaos
