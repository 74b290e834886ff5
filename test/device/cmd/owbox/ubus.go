package main

import "fmt"

// ubusMain is `ubus call network.interface.NAME status` on a router whose
// networks are the lab's.
func ubusMain(args []string) error {
	devices := map[string]string{"network.interface.lan": "br-lan", "network.interface.wan": "wan"}
	const words = 3 // call OBJECT METHOD
	if len(args) < words || args[0] != "call" || args[2] != "status" || devices[args[1]] == "" {
		return fmt.Errorf("command failed: not found: %v", args)
	}
	fmt.Printf("{\"up\":true,\"device\":%q,\"l3_device\":%q}\n", devices[args[1]], devices[args[1]])
	return nil
}
