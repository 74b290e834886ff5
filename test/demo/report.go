package demo

import (
	"fmt"
	"net/netip"
	"time"
)

// Report is what the demo showed.
type Report struct {
	OK      bool    `json:"ok"` // every row and every check is as it must be
	Lab     string  `json:"lab"`
	Kept    bool    `json:"kept"` // lab and routerd still run
	Seconds float64 `json:"seconds"`
	Rows    []Row   `json:"rows"`
	Totals  Totals  `json:"totals"`
	Checks  []Check `json:"checks"`
}

// Row is one use of one name by one client.
type Row struct {
	Group    string     `json:"group"`
	Client   string     `json:"client"`
	Method   Method     `json:"method"`
	Name     string     `json:"name"`
	Family   int        `json:"family"` // 4 or 6
	Address  netip.Addr `json:"address"`
	Path     string     `json:"path"` // as routerd tells it: home, direct or block
	Expected string     `json:"expected"`
	ISP      uint64     `json:"isp_packets"`  // to the address, out of the router's WAN
	Exit     uint64     `json:"exit_packets"` // to the address, out of the tunnel
	SeenAs   string     `json:"seen_as"`      // the client as the server sees it; "" where it does not say
	OK       bool       `json:"ok"`
	Wrong    []string   `json:"wrong"` // what is not as it must be
}

// Totals are the counters over everything that the rows did.
type Totals struct {
	ListedISP    uint64 `json:"listed_isp"`    // packets of rows for the tunnel that the provider saw
	ListedExit   uint64 `json:"listed_exit"`   // and the exit
	UnlistedISP  uint64 `json:"unlisted_isp"`  // packets of rows for the WAN that the provider saw
	UnlistedExit uint64 `json:"unlisted_exit"` // and the exit
}

// Check is one thing that the demo shows after the rows.
type Check struct {
	What   string `json:"what"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
}

// observed is what came of a case.
type observed struct {
	outcome
	path      string
	isp, exit uint64
}

// outcome is how a case went for the client.
type outcome struct {
	address  netip.Addr
	answered bool
	seenAs   netip.Addr // invalid where the server does not say it
	detail   string     // why it was not answered, or not well
	took     time.Duration
}

// refusedWithin is how soon a client must learn that it is blocked.
const refusedWithin = 2 * time.Second

// judge sets what happened beside what must happen. source is the client's
// address as the server must see it.
func judge(c Case, o observed, source netip.Addr) Row {
	r := Row{
		Group: c.Group, Client: c.Client, Method: c.Method, Name: c.Name, Family: c.Family, Expected: c.Path,
		Address: o.address, Path: o.path, ISP: o.isp, Exit: o.exit, Wrong: []string{},
	}
	if o.seenAs.IsValid() {
		r.SeenAs = o.seenAs.String()
	}
	wrong := func(is bool, format string, args ...any) {
		if is {
			r.Wrong = append(r.Wrong, fmt.Sprintf(format, args...))
		}
	}
	wrong(o.path != c.Path, "routerd names path %s, expected %s", o.path, c.Path)
	wrong(c.Path != pathDirect && o.isp > 0, "packets out of the WAN: %d, expected none", o.isp)
	wrong(c.Path != pathTunnel && o.exit > 0, "packets out of the tunnel: %d, expected none", o.exit)
	wrong(c.Path == pathDirect && o.isp == 0, "packets out of the WAN: none")
	wrong(c.Path == pathTunnel && o.exit == 0, "packets out of the tunnel: none")
	if c.Path == pathBlock {
		wrong(o.answered, "was answered, expected a refusal")
		wrong(o.took > refusedWithin, "the client waited %.1f s for its refusal", o.took.Seconds())
	} else {
		wrong(!o.answered, "no answer: %s", o.detail)
		wrong(o.seenAs.IsValid() && o.seenAs != source, "the server saw the client as %s, expected %s", o.seenAs, source)
	}
	r.OK = len(r.Wrong) == 0
	return r
}

// finish fills in what follows from the rows and checks.
func (r *Report) finish() {
	r.OK, r.Totals = len(r.Rows) > 0, Totals{}
	for _, row := range r.Rows {
		r.OK = r.OK && row.OK
		switch row.Expected {
		case pathTunnel:
			r.Totals.ListedISP += row.ISP
			r.Totals.ListedExit += row.Exit
		case pathDirect:
			r.Totals.UnlistedISP += row.ISP
			r.Totals.UnlistedExit += row.Exit
		}
	}
	for _, c := range r.Checks {
		r.OK = r.OK && c.OK
	}
}
