package chaos

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// Kind is something that happens to the router.
type Kind string

// The values of Kind.
const (
	Kill         Kind = "kill"         // kill -9, and procd starts the daemon again
	Restart      Kind = "restart"      // /etc/init.d/routerd restart
	Upgrade      Kind = "upgrade"      // another build of the daemon
	Reload       Kind = "reload"       // other settings
	Corrupt      Kind = "corrupt"      // a settings file that cannot be read
	Device       Kind = "device"       // a tunnel's device is deleted
	Peer         Kind = "peer"         // a tunnel's peer falls silent, and is back
	WAN          Kind = "wan"          // the WAN goes down and comes back with another address
	DNSMasq      Kind = "dnsmasq"      // dnsmasq is restarted
	Flush        Kind = "flush"        // nft flush ruleset, then the firewall is loaded
	Firewall     Kind = "firewall"     // the firewall is reloaded
	Routes       Kind = "routes"       // somebody deletes our rules and routes
	LAN          Kind = "lan"          // br-lan is deleted and made again
	Map          Kind = "map"          // the map of addresses is too small for a while
	Disk         Kind = "disk"         // the state directory is full for a while
	Memory       Kind = "memory"       // the daemon's memory is short for a while
	Interference Kind = "interference" // the provider interferes with listed names
	Clock        Kind = "clock"        // the clock jumps by years; in a machine only
)

// Kinds lists what can happen on any machine; Clock is left out.
func Kinds() []Kind {
	return []Kind{
		Kill, Restart, Upgrade, Reload, Corrupt, Device, Peer, WAN, DNSMasq, Flush, Firewall, Routes, LAN, Map, Disk, Memory,
		Interference,
	}
}

// KindOf finds a kind by its name.
func KindOf(name string) (Kind, error) {
	if k := Kind(name); k == Clock || slices.Contains(Kinds(), k) {
		return k, nil
	}
	return "", fmt.Errorf("no event is called %q: %v %s", name, Kinds(), Clock)
}

// Event is one entry of a schedule.
type Event struct {
	Number  int           `json:"number"` // from 1
	Kind    Kind          `json:"kind"`
	Variant int           `json:"variant"` // what of its kind; each kind takes it modulo what it has
	Hold    time.Duration `json:"hold"`    // how long what lasts a while lasts
	Gap     time.Duration `json:"gap"`     // quiet before it
}

// String names the event as reports do.
func (e Event) String() string { return fmt.Sprintf("%d %s/%d", e.Number, e.Kind, e.Variant) }

// How events are spread.
const (
	gapLeast  = 500 * time.Millisecond
	gapMore   = 2 * time.Second
	holdLeast = time.Second
	holdMore  = 3 * time.Second
	variants  = 12 // divisible by the number of variants of every kind
)

// Schedule is an endless row of events that follows from a seed alone. Every kind
// comes once before any comes again.
type Schedule struct {
	random *rand.Rand
	kinds  []Kind
	bag    []Kind // what is left of this round
	number int
	turns  map[Kind]int // how often a kind has come, from a random beginning
}

// NewSchedule begins the schedule of a seed; kinds are what may happen.
func NewSchedule(seed uint64, kinds []Kind) *Schedule {
	s := &Schedule{random: rand.New(rand.NewPCG(seed, seed)), kinds: slices.Clone(kinds), turns: map[Kind]int{}}
	for _, k := range kinds {
		s.turns[k] = s.random.IntN(variants)
	}
	return s
}

// Next is the next event. A kind's variants come in turn.
func (s *Schedule) Next() Event {
	if len(s.bag) == 0 {
		s.bag = slices.Clone(s.kinds)
		s.random.Shuffle(len(s.bag), func(i, j int) { s.bag[i], s.bag[j] = s.bag[j], s.bag[i] })
	}
	k := s.bag[0]
	s.bag = s.bag[1:]
	s.number++
	e := Event{
		Number: s.number, Kind: k, Variant: s.turns[k] % variants,
		Hold: holdLeast + time.Duration(s.random.Int64N(int64(holdMore))),
		Gap:  gapLeast + time.Duration(s.random.Int64N(int64(gapMore))),
	}
	s.turns[k]++
	return e
}
