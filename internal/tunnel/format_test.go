package tunnel

import (
	"fmt"
	"net/netip"
	"strings"
)

// formatQuick writes settings as a wg-quick file, keys and all.
func formatQuick(s Settings) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "[Interface]\nPrivateKey = %s\n", s.PrivateKey.String())
	fmt.Fprintf(&b, "Address = %s\n", joinPrefixes(s.Addresses))
	if s.MTU != 0 {
		fmt.Fprintf(&b, "MTU = %d\n", s.MTU)
	}
	if s.ListenPort != 0 {
		fmt.Fprintf(&b, "ListenPort = %d\n", s.ListenPort)
	}
	for _, p := range s.Peers {
		fmt.Fprintf(&b, "\n[Peer]\nPublicKey = %s\n", p.PublicKey.String())
		if p.PresharedKey != nil {
			fmt.Fprintf(&b, "PresharedKey = %s\n", p.PresharedKey.String())
		}
		fmt.Fprintf(&b, "AllowedIPs = %s\nEndpoint = %s\n", joinPrefixes(p.AllowedIPs), p.Endpoint)
		fmt.Fprintf(&b, "PersistentKeepalive = %d\n", int(p.Keepalive.Seconds()))
	}
	return []byte(b.String())
}

func joinPrefixes(ps []netip.Prefix) string {
	texts := make([]string, len(ps))
	for i, p := range ps {
		texts[i] = p.String()
	}
	return strings.Join(texts, ", ")
}
