package interfere

import (
	"fmt"
	"strconv"
)

// shapedDevices are those over which isp sends the customer's packets on.
func shapedDevices() []string { return []string{"cust", "net", "exit", "exit2"} }

// classID is the class of an interference with a number, on every device. A
// packet whose priority is a class's number goes there, with no tc filter.
func classID(number int) string { return fmt.Sprintf("1:%x", number) }

// rateCommands are the tc commands that make the classes of a rate limit.
// Packets of no class pass by. The token bucket inside takes large packets of
// virtual cables apart, which HTB would let through whole.
func rateCommands(number int, kbit uint64, first bool) [][]string {
	var out [][]string
	for _, device := range shapedDevices() {
		if first {
			out = append(out, []string{"qdisc", "add", "dev", device, "root", "handle", "1:", "htb"})
		}
		class := []string{"class", "add", "dev", device, "parent", "1:", "classid", classID(number)}
		out = append(out,
			append(class, "htb", "rate", "10gbit", "quantum", "60000"),
			[]string{
				"qdisc", "add", "dev", device, "parent", classID(number), "handle", fmt.Sprintf("%x:", 0x1000+number),
				"tbf", "rate", fmt.Sprintf("%dkbit", kbit), "burst", strconv.FormatUint(max(3200, kbit*5/4), 10), "limit", strconv.FormatUint(max(65536, kbit*125), 10),
			})
	}
	return out
}

// unrateCommands take away what rateCommands made.
func unrateCommands(number int, last bool) [][]string {
	var out [][]string
	for _, device := range shapedDevices() {
		if last {
			out = append(out, []string{"qdisc", "del", "dev", device, "root"})
			continue
		}
		out = append(out, []string{"class", "del", "dev", device, "classid", classID(number)})
	}
	return out
}
