package tunnel

import (
	"net/netip"
	"slices"
	"time"

	"github.com/routerd/routerd/internal/sorting"
)

// candidates orders the addresses of an endpoint so that trying one after the
// other alternates between the families. The first address says which family
// comes first; within one the order is fixed, because servers shuffle theirs.
func candidates(addrs []netip.Addr, port uint16) []netip.AddrPort {
	if len(addrs) == 0 {
		return nil
	}
	first := addrs[0].Unmap().Is4()
	var families [2][]netip.Addr
	for _, a := range addrs {
		a = a.Unmap()
		i := 0
		if a.Is4() != first {
			i = 1
		}
		families[i] = append(families[i], a)
	}
	for i := range families {
		sorting.By(families[i], netip.Addr.Compare)
		families[i] = slices.Compact(families[i])
	}
	var out []netip.AddrPort
	for i := range max(len(families[0]), len(families[1])) {
		for _, f := range families {
			if i < len(f) {
				out = append(out, netip.AddrPortFrom(f[i], port))
			}
		}
	}
	return out
}

// endpointView is what the choice of an endpoint depends on.
type endpointView struct {
	current    netip.AddrPort // as the device has it; not valid: none
	candidates []netip.AddrPort
	fresh      bool          // the settings may have changed since it was set
	answers    bool          // the peer is fine where it is
	tried      time.Duration // how long current has been in use
	patience   time.Duration // how long one candidate gets
}

// chooseEndpoint says where a peer shall be sought from now on, if not where it
// is sought already. A peer that answers is left alone: it may have roamed.
func chooseEndpoint(v endpointView) (netip.AddrPort, bool) {
	if len(v.candidates) == 0 {
		return netip.AddrPort{}, false
	}
	at := slices.Index(v.candidates, v.current)
	switch {
	case at < 0 && (v.fresh || !v.answers):
		return v.candidates[0], true
	case at < 0 || v.answers || v.tried < v.patience || len(v.candidates) == 1:
		return netip.AddrPort{}, false
	}
	return v.candidates[(at+1)%len(v.candidates)], true
}
