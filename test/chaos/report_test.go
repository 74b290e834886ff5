package chaos

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/routerd/routerd/test/chaos/crowd"
)

func sample() Report {
	return Report{
		Seed: 7, Minutes: 2.5,
		Events:   []KindReport{{Kill, 3, 1400 * time.Millisecond}, {Interference, 12, 90 * time.Millisecond}},
		Listed:   map[crowd.Kind]Tally{crowd.Probe: {1408, 33, 33}, crowd.HTTP: {331, 7, 7}},
		Unlisted: map[crowd.Kind]Tally{crowd.Lasting: {8, 1, 1}},
		Packets:  Packets{ListedTunnel: 30785, UnlistedWAN: 10425},
	}
}

const sampleText = `seed 7, 2.5 minutes

EVENT         TIMES  CONVERGED AFTER, AT MOST
kill              3   1.40 s
interference     12   0.09 s
all              15

CONNECTIONS         MADE  FAILED  EXCUSED
listed   http        331       7        7
listed   probe      1408      33       33
unlisted lasting       8       1        1

PACKETS            WAN  TUNNELS
listed               0    30785
unlisted         10425        0

`

func TestReport(t *testing.T) {
	if diff := cmp.Diff(sampleText+"no violation\n", sample().Text()); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
}

func TestReportTellsTheFirstViolationsOfEachSort(t *testing.T) {
	r := sample()
	for i := range shownViolations + 2 {
		r.Violations = append(r.Violations, Violation{time.Duration(i) * time.Second, "2 lan/1", "listed packets behind the WAN", fmt.Sprint("packet ", i)})
	}
	r.Violations = append(r.Violations, Violation{time.Minute, "", "unlisted connection lost", "http of client"})
	want := "11 VIOLATIONS; the same again: scripts/chaos --seed 7\nlisted packets behind the WAN, 10 times:\n"
	for i := range shownViolations {
		want += fmt.Sprintf("  %7.1f s, after 2 lan/1: packet %d\n", float64(i), i)
	}
	want += "  …\nunlisted connection lost, 1 times:\n     60.0 s, after no event: http of client\n"
	if diff := cmp.Diff(sampleText+want, r.Text()); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
}

func TestElementsOfASetAreListed(t *testing.T) {
	const listing = `table inet chaos {
	set wrong4 {
		type ipv4_addr . ipv4_addr . inet_proto . inet_service
		elements = { 22.100.0.2 . 22.10.1.7 . udp . 443 counter packets 1 bytes 149,
			     22.100.0.2 . 22.10.1.6 . tcp . 80 counter packets 2 bytes 98 }
	}
}`
	want := "22.100.0.2 . 22.10.1.6 . tcp . 80 counter packets 2 bytes 98; 22.100.0.2 . 22.10.1.7 . udp . 443 counter packets 1 bytes 149"
	if got := strings.Join(elements(listing), "; "); got != want {
		t.Errorf("got %q", got)
	}
	if got := elements("table inet chaos {\n}"); len(got) != 0 {
		t.Errorf("an empty set has %q", got)
	}
}
