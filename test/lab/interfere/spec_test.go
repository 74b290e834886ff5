package interfere

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestEveryKindAcceptsItsExampleAndSaysWhatItTakes(t *testing.T) {
	seen := map[Kind]bool{}
	for _, info := range Kinds() {
		if seen[info.Kind] {
			t.Errorf("%s stands twice", info.Kind)
		}
		seen[info.Kind] = true
		if !strings.HasPrefix(info.Example, string(info.Kind)) || info.Short == "" || info.Long == "" || len(info.Takes) == 0 {
			t.Errorf("%s is not described: %+v", info.Kind, info)
		}
		x := exampleOf(info)
		if err := x.Complete(); err != nil {
			t.Errorf("%s: %v", info.Kind, err)
		}
		if err := x.Complete(); err != nil {
			t.Errorf("%s, completed before: %v", info.Kind, err)
		}
	}
}

// exampleOf has what a kind cannot do without.
func exampleOf(info Info) Interference {
	x := Interference{Kind: info.Kind}
	for _, f := range info.Needs {
		switch f {
		case Names:
			x.Names = []string{"okx.com"}
		case Percent:
			x.Percent = 12.5
		case Delay:
			x.Delay = time.Second
		case Status:
			x.Status = 451
		}
	}
	if info.Service {
		x.Names = []string{"okx.com"}
	}
	return x
}

func TestCompleteSaysWhatIsAllowed(t *testing.T) {
	for want, x := range map[string]Interference{
		`kind "tls": use one of dns-forge`:                            {Kind: "tls"},
		`name "no name": use letters`:                                 {Kind: DNSDrop, Names: []string{"no name"}},
		"tls-reset needs NAME":                                        {Kind: TLSReset},
		"loss needs PERCENT":                                          {Kind: Loss},
		"dns-drop does not take --port":                               {Kind: DNSDrop, Ports: []uint16{53}},
		"percent 101: use 0.01 to 100":                                {Kind: Loss, Percent: 101},
		"percent 0.001: use 0.01 to 100":                              {Kind: Loss, Percent: 0.001},
		"family 5: use 4 or 6":                                        {Kind: TCPDrop, Family: 5},
		"direction up: use out":                                       {Kind: TCPDrop, Direction: "up"},
		"protocol icmp: use tcp or udp":                               {Kind: Drop, Protocol: "icmp"},
		"on ack: use syn or data":                                     {Kind: TCPReset, On: "ack"},
		"delay 11s: use up to 10s":                                    {Kind: Delayed, Delay: 11 * time.Second},
		"status 404: use one of [403 429 451 500 503]":                {Kind: ServiceStatus, Names: []string{"a.b"}, Status: 404},
		"messages [cookie]: use initiation":                           {Kind: WGHandshake, Messages: []string{"cookie"}},
		`answer "none": use block-page, nxdomain, empty or addresses`: {Kind: DNSForge, Names: []string{"a.b"}, Answer: "none"},
		`answer "nxdomain": use redirect or page`:                     {Kind: HTTPBlockPage, Names: []string{"a.b"}, Answer: "nxdomain"},
		"service-reject needs a name or an address":                   {Kind: ServiceReject},
	} {
		if err := x.Complete(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %s", x, err, want)
		}
	}
}

func TestNamesCoverThoseBelow(t *testing.T) {
	names := []string{"okx.com", "api.example"}
	for name, want := range map[string]bool{
		"okx.com": true, "WWW.OKX.com.": true, "a.b.okx.com": true, "notokx.com": false,
		"com": false, "example": false, "x.api.example": true, "": false,
	} {
		if got := Covers(names, name); got != want {
			t.Errorf("%q is covered: %v", name, got)
		}
	}
}

func TestInterferenceReadsAsALine(t *testing.T) {
	x := Interference{
		Kind: Freeze, Names: []string{"okx.com"}, Addresses: []netip.Prefix{netip.MustParsePrefix("22.10.0.0/16")},
		Family: 4, Direction: In, Protocol: "udp", Ports: []uint16{443}, Bytes: 100,
	}
	const want = "freeze okx.com 22.10.0.0/16 family 4 in udp ports [443] after 100 bytes"
	if got := x.String(); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
