package tunnel

// Settings are the decoded settings of a WireGuard tunnel.
type Settings struct{}
