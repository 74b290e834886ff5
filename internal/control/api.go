// Package control is the daemon's JSON API over a Unix socket, and its client.
package control

import "time"

// Status answers GET /v1/status.
type Status struct {
	Version      string              `json:"version"`
	Running      bool                `json:"running"`
	UptimeS      int64               `json:"uptime_s"`
	Started      time.Time           `json:"started"` // tells one daemon from the next
	DataPlane    DataPlaneStatus     `json:"dataplane"`
	DNS          DNSStatus           `json:"dns"`
	Tunnels      []TunnelStatus      `json:"tunnels"`
	Destinations []DestinationStatus `json:"destinations"`
	// Problems are what is wrong now, in words, the gravest first.
	Problems []string `json:"problems"`
}

// DataPlaneStatus is the kernel part at a glance.
type DataPlaneStatus struct {
	Hook      string   `json:"hook"` // "tcx" or "clsact"
	Devices   []string `json:"devices"`
	Addresses int      `json:"addresses"`
	// MaxAddresses is what the address map holds at the most.
	MaxAddresses int  `json:"max_addresses"`
	Names        int  `json:"names"` // rules over names in the kernel
	Flows        int  `json:"flows"`
	Pinned       bool `json:"pinned"`
	// FlowOffload is OffloadOn where the kernel forwards established connections past
	// routing and rules, else why it does not.
	FlowOffload string `json:"flow_offload"`
}

// OffloadOn is DataPlaneStatus.FlowOffload where established connections pass
// routing and rules by.
const OffloadOn = "on"

// DNSStatus is what becomes of lookups. Counters are since the data plane was
// made, those of the resolver since the daemon started.
type DNSStatus struct {
	Mode    string `json:"mode"`
	Queries uint64 `json:"queries"` // answers parsed
	Learned uint64 `json:"learned"` // addresses learned
	// Turned are lookups of listed names that went to routerd's resolver, Failed
	// those that found it not running.
	Turned uint64 `json:"turned"`
	Failed uint64 `json:"failed"`
	// Cached and Asked are the resolver's answers from its cache and from its
	// upstreams, Stale those given beyond their time because upstreams fail.
	Cached uint64 `json:"cached"`
	Asked  uint64 `json:"asked"`
	Stale  uint64 `json:"stale"`
	// Hosts are listed names with fixed hosts, which are looked up without being
	// asked for; Pending of them have no addresses yet.
	Hosts     int              `json:"hosts"`
	Pending   int              `json:"pending"`
	Upstreams []UpstreamStatus `json:"upstreams"`
	Bypass    []Bypass         `json:"bypass"`
}

// UpstreamStatus is one upstream of the resolver by one path.
type UpstreamStatus struct {
	URL      string `json:"url"`
	Path     string `json:"path"`
	State    string `json:"state"` // "ok", "failing"
	Reason   string `json:"reason"`
	Failures int    `json:"failures"` // one after the other
}

// Bypass is a client that asked another resolver over an encrypted protocol.
type Bypass struct {
	Client   string    `json:"client"`   // address and hardware address, as far as known
	Resolver string    `json:"resolver"` // its name; "": unknown
	Address  string    `json:"address"`
	Protocol string    `json:"protocol"` // ProtocolDoT, ProtocolDoH
	Refused  bool      `json:"refused"`
	Last     time.Time `json:"last"`
}

// The protocols of a Bypass.
const (
	ProtocolDoT = "dot" // DNS over TLS or QUIC, port 853
	ProtocolDoH = "doh" // DNS over HTTPS
)

// TunnelStatus is one tunnel.
type TunnelStatus struct {
	Name    string `json:"name"`
	Device  string `json:"device"`
	Backend string `json:"backend"`
	State   string `json:"state"`
	Reason  string `json:"reason"`
	// Watched: the peer answers routerd's questions, so that its death is told
	// within two seconds of traffic; else it takes WireGuard's 15 s.
	Watched        bool   `json:"watched"`
	Cause          string `json:"cause"`            // the reason in a word, such as handshake_blocked; "" when up
	LastHandshakeS *int64 `json:"last_handshake_s"` // seconds ago; null: never
	RxBytes        uint64 `json:"rx_bytes"`
	TxBytes        uint64 `json:"tx_bytes"`
	// RTTMs is the shortest round trip of the latest checks that worked over it;
	// null: none did.
	RTTMs    *float64 `json:"rtt_ms"`
	Endpoint string   `json:"endpoint"`
}

// DestinationStatus is one destination.
type DestinationStatus struct {
	Name      string `json:"name"`
	Label     string `json:"label"`
	Policy    string `json:"policy"`
	Path      string `json:"path"`
	State     string `json:"state"`
	Reason    string `json:"reason"`
	Addresses int    `json:"addresses"`
	Flows     int    `json:"flows"`
	RxBytes   uint64 `json:"rx_bytes"`
	TxBytes   uint64 `json:"tx_bytes"`
	// Verdict is what the checks of its targets together say, as in Check, and
	// VerdictReason that in a sentence. Both are "" where it is not checked.
	Verdict       string `json:"verdict"`
	VerdictReason string `json:"verdict_reason"`
}

// Why answers GET /v1/why?query=…&client=….
type Why struct {
	Query       string       `json:"query"`
	Client      string       `json:"client"`
	Destination string       `json:"destination"`
	Rule        string       `json:"rule"`
	Policy      string       `json:"policy"`
	Path        string       `json:"path"`
	Device      string       `json:"device"`
	Mark        string       `json:"mark"` // "0x03000000"
	Table       int          `json:"table"`
	Reason      string       `json:"reason"`
	Addresses   []WhyAddress `json:"addresses"`
	// Checks are those of the name or address that was asked for, or where there
	// are none of it those of its destination; LastCheck is when the last was made.
	Checks    []Check    `json:"checks"`
	LastCheck *time.Time `json:"last_check"`
}

// WhyAddress is one address that a name is known to have, or that was asked for.
type WhyAddress struct {
	Address     string `json:"address"`
	LearnedFrom string `json:"learned_from"`
	// Trusted: routerd's own resolver or a rule gave it. What clients were told
	// by other servers, or wrote into a TLS hello, is not.
	Trusted    bool     `json:"trusted"`
	Names      []string `json:"names"`
	Clients    []string `json:"clients"` // whose lookups made it known; empty: everyone's
	AgeS       int64    `json:"age_s"`
	ExpiresS   int64    `json:"expires_s"`
	SharedWith []string `json:"shared_with"`
}

// Flow is one steered connection of GET /v1/flows.
type Flow struct {
	Destination string   `json:"destination"`
	Path        string   `json:"path"`
	Protocol    string   `json:"protocol"`
	Source      string   `json:"source"`
	Target      string   `json:"target"`
	Name        string   `json:"name"`
	State       string   `json:"state"`
	AgeS        int64    `json:"age_s"`
	IdleS       int64    `json:"idle_s"`
	RxBytes     uint64   `json:"rx_bytes"`
	TxBytes     uint64   `json:"tx_bytes"`
	RTTMs       *float64 `json:"rtt_ms"`
}

// EventKind is the kind of an Event.
type EventKind string

// The values of EventKind.
const (
	EventPath    EventKind = "path"
	EventVerdict EventKind = "verdict"
	EventTunnel  EventKind = "tunnel"
	EventConfig  EventKind = "config"
	EventFault   EventKind = "fault"
)

// EventKinds lists all.
func EventKinds() []EventKind {
	return []EventKind{EventPath, EventVerdict, EventTunnel, EventConfig, EventFault}
}

// Event is one line of GET /v1/events.
type Event struct {
	// Seq counts events since the daemon's start, from 1; EventLog.Add sets it.
	Seq         uint64    `json:"seq"`
	Time        time.Time `json:"time"`
	Kind        EventKind `json:"kind"`
	Destination string    `json:"destination"`
	Tunnel      string    `json:"tunnel"`
	From        string    `json:"from"`
	To          string    `json:"to"`
	Reason      string    `json:"reason"`
}

// Finding is one line of doctor.
type Finding struct {
	Topic string `json:"topic"` // daemon, settings, tunnel, kernel, modules, firewall, offload, bypass, dns, clock, memory
	Level string `json:"level"` // ok, note, warning, error
	Text  string `json:"text"`
	Mend  string `json:"mend"` // what to do; "" when ok
}

// Service is one service of GET /v1/catalogue.
type Service struct {
	ID       string   `json:"id"`
	Name     string   `json:"name"`
	Category string   `json:"category"`
	Domains  []string `json:"domains"`
	Checks   []string `json:"checks"`
	Ports    []string `json:"ports"` // pools: host:port of Stratum servers
}

// Reloaded answers POST /v1/reload. With status 422 the settings were refused
// and the daemon goes on with the ones it had.
type Reloaded struct {
	Problems []Problem `json:"problems"`
	Error    string    `json:"error,omitempty"`
}

// The levels of a Finding.
const (
	LevelOK      = "ok"
	LevelNote    = "note"
	LevelWarning = "warning"
	LevelError   = "error"
)

// Problem is one fault or note about the settings. It never holds a key.
type Problem struct {
	Level   string `json:"level"` // error, note
	Section string `json:"section"`
	Option  string `json:"option"`
	Value   string `json:"value"`
	Text    string `json:"text"` // what is wrong and what is allowed
	Mend    string `json:"mend"` // what to do; "" where Text says it all
	Line    int    `json:"line"` // of the file; 0: none
}
