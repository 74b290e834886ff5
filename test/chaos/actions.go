package chaos

import "context"

// action is what a kind of event does.
type action struct {
	// before waits until the event can begin; nil: it always can.
	before func(context.Context, *run, Event) error
	// do does it and says in a few words what it was. When it returns, what was
	// taken away has been given back.
	do func(context.Context, *run, Event) (string, error)
	// gentle says whether listed connections must outlive it; nil: they need not.
	gentle func(Event) bool
}

// actions are what all kinds do.
func actions() map[Kind]action {
	always := func(Event) bool { return true }
	return map[Kind]action{
		Kill:         {do: kill, gentle: always},
		Restart:      {do: restart, gentle: always},
		Upgrade:      {do: upgrade, gentle: always},
		Reload:       {do: reload, gentle: always},
		Corrupt:      {do: corrupt, gentle: always},
		Device:       {do: deleteDevice},
		Peer:         {before: whenWatched, do: silencePeer},
		WAN:          {do: changeWAN},
		DNSMasq:      {do: restartDNSMasq, gentle: always},
		Flush:        {do: flushFirewall},
		Firewall:     {do: reloadFirewall, gentle: always},
		Routes:       {do: deleteRoutes},
		LAN:          {do: remakeLAN},
		Map:          {do: fillMap},
		Disk:         {do: fillDisk, gentle: always},
		Memory:       {do: shortMemory},
		Interference: {do: interfereListed, gentle: always},
		Clock:        {do: jumpClock},
	}
}
