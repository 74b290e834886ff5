package ebpf

import "testing"

// TestMapsStayWithinTheirMemory is for what a machine with little memory has by
// default (internal/config).
func TestMapsStayWithinTheirMemory(t *testing.T) {
	const most = 4 << 20 // octets
	w := openWorld(t, func(o *Options) { o.MaxAddresses, o.MaxFlows = 8192, 0 })
	sum := uint64(0)
	for name, m := range w.maps {
		info, err := m.Info()
		if err != nil {
			t.Fatal(err)
		}
		octets, _ := info.Memlock() // 0 for an empty array of maps
		t.Logf("%-16s %6d entries, %8d octets", name, m.MaxEntries(), octets)
		sum += octets
	}
	t.Logf("%d octets in all", sum)
	if sum == 0 || sum > most {
		t.Errorf("the maps take %d octets, want %d at the most", sum, most)
	}
}
