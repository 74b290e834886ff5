package demo

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

var update = flag.Bool("update", false, "write the golden files")

// sample is a report with something of everything.
func sample(wrong bool) Report {
	a := netip.MustParseAddr
	r := Report{
		Lab: "demo", Seconds: 17.6,
		Rows: []Row{
			{
				Group: "Listed: through the tunnel", Client: "client", Method: HTTPS, Name: "www.binance.com", Family: 4,
				Address: a("22.10.134.135"), Path: "home", Expected: "home", Exit: 14, OK: true,
			},
			{
				Group: "Listed: through the tunnel", Client: "client2", Method: Asked, Name: "a.very.long.name.of.an.exchange.example",
				Family: 6, Address: a("2d00:10::1:8687"), Path: "home", Expected: "home", Exit: 1234567, OK: true,
			},
			{
				Group: "Not listed: by the WAN", Client: "client", Method: UDP, Name: "www.news.example", Family: 6,
				Address: a("2d00:10::1:51"), Path: "direct", Expected: "direct", ISP: 10, OK: true,
			},
		},
		Checks: []Check{
			{What: "kill -9 during a download", OK: true, Detail: "killed after 4.5 MiB, curl got 16777216 of 16777216 bytes, 0 packets by the WAN"},
			{What: "cleanup, rules", OK: true, Detail: "as before (5 lines)"},
		},
	}
	if wrong {
		r.Rows[1].OK, r.Rows[1].ISP = false, 3
		r.Rows[1].Wrong = []string{
			"packets out of the WAN: 3, expected none",
			"no answer: " + strings.Repeat("curl says a lot of words about what it has met ", 4),
		}
		r.Rows[2].OK, r.Rows[2].Address, r.Rows[2].Wrong = false, netip.Addr{}, []string{"no answer: could not resolve host"}
		r.Checks[1] = Check{What: "cleanup, rules", Detail: "1 lines left behind, such as: " + strings.Repeat("x", 150)}
	}
	r.finish()
	return r
}

func TestReportForPeople(t *testing.T) {
	for _, tc := range []struct {
		golden       string
		wrong, color bool
	}{
		{"ok.txt", false, false},
		{"wrong.txt", true, false},
		{"color.txt", true, true},
	} {
		t.Run(tc.golden, func(t *testing.T) {
			got := sample(tc.wrong).Text(tc.color)
			file := filepath.Join("testdata", tc.golden)
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

func TestReportFitsItsColumnsInPlainText(t *testing.T) {
	for _, wrong := range []bool{false, true} {
		for line := range strings.Lines(sample(wrong).Text(false)) {
			line = strings.TrimSuffix(line, "\n")
			if n := utf8.RuneCountInString(line); n > Width {
				t.Errorf("%d columns: %q", n, line)
			}
			if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r > '~' }) || strings.HasSuffix(line, " ") {
				t.Errorf("not plain text: %q", line)
			}
		}
	}
}

func TestColoursChangeNothingButColours(t *testing.T) {
	r := sample(true)
	plain := strings.NewReplacer(green, "", red, "", bold, "", reset, "").Replace(r.Text(true))
	if plain != r.Text(false) {
		t.Errorf("without colours:\n%s", plain)
	}
}

func TestHintsFitAndNameTheLab(t *testing.T) {
	hints := Hints(KeptLab, "build/demo/routerd")
	for line := range strings.Lines(hints) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > Width {
			t.Errorf("%d columns: %q", n, line)
		}
		if strings.Contains(line, "scripts/lab") && !strings.Contains(line, "--name "+KeptLab) {
			t.Errorf("names no lab: %q", line)
		}
	}
	for _, want := range []string{"status", "why", "flows", "events", "kill -9", "down"} {
		if !strings.Contains(hints, want) {
			t.Errorf("hints say nothing of %q", want)
		}
	}
}
