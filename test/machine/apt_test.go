package machine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestSourcesAreThoseOfThisMachinesDebian(t *testing.T) {
	got, err := sourcesFrom(`Packages main bookworm http://a.example/debian/
Packages main bookworm-updates http://a.example/debian/
DEP-11 main bookworm http://a.example/debian/
Packages contrib bookworm http://a.example/debian/
Packages main bookworm-security http://b.example/security/
Packages main bookworm http://a.example/debian/
Packages main nodistro http://c.example/node/
`)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, s := range []string{
		"http://a.example/debian/ bookworm", "http://a.example/debian/ bookworm-backports",
		"http://a.example/debian/ bookworm-updates", "http://b.example/security/ bookworm-security",
	} {
		want = append(want, "deb [signed-by="+keyring+"] "+s+" main\n")
	}
	if got != strings.Join(want, "") {
		t.Errorf("sources\n%s\nwant\n%s", got, strings.Join(want, ""))
	}
}

func TestWithoutDebian12ThereAreNoSources(t *testing.T) {
	_, err := sourcesFrom("Packages main trixie http://a.example/debian/\n")
	if err == nil || !strings.Contains(err.Error(), "no source of Debian 12") {
		t.Errorf("error %v", err)
	}
}

func TestNewestKernelOfASeriesAndFlavour(t *testing.T) {
	names := strings.Fields(`linux-image-6.1.0-9-arm64 linux-image-6.1.0-47-arm64 linux-image-6.1.0-50-arm64
		linux-image-6.1.0-50-arm64-unsigned linux-image-6.1.0-51-cloud-arm64 linux-image-6.1.0-51-rt-arm64
		linux-image-6.12.9+deb12-arm64 linux-image-6.12.90+deb12-arm64 linux-image-6.12.90+deb12.1-arm64
		linux-image-6.12.95+deb12-arm64-16k linux-image-6.12.94+deb12-armmp linux-image-arm64`)
	for _, tc := range []struct{ series, flavour, want string }{
		{"6.1", "arm64", "linux-image-6.1.0-50-arm64"},
		{"6.12", "arm64", "linux-image-6.12.90+deb12.1-arm64"},
		{"6.12", "armmp", "linux-image-6.12.94+deb12-armmp"},
		{"6.6", "arm64", ""},
		{"6.12", "arm", ""},
	} {
		if got := newestKernel(names, tc.series, tc.flavour); got != tc.want {
			t.Errorf("%s %s: %q, want %q", tc.series, tc.flavour, got, tc.want)
		}
	}
}

func TestAptsOwnLineIsWhatIsTold(t *testing.T) {
	err := errorText("apt-get for armhf: exit status 100\nW: something\nE: Failed to fetch one list\nE: Some index files failed")
	if got := firstError(err); got != "Failed to fetch one list" {
		t.Errorf("told %q", got)
	}
	if got := firstError(errorText("it broke")); got != "it broke" {
		t.Errorf("told %q", got)
	}
}

func TestWhatANetworkSpoilsIsTriedAgain(t *testing.T) {
	for _, tc := range []struct{ failures, tries int }{{0, 1}, {2, 3}, {fetchTries + 9, fetchTries}} {
		synctest.Test(t, func(t *testing.T) {
			told, tries := 0, 0
			a := apt{say: func(string, ...any) { told++ }}
			err := a.patiently(t.Context(), func() error {
				if tries++; tries <= tc.failures {
					return errorText("E: Failed to fetch")
				}
				return nil
			})
			if tries != tc.tries || told != tries-1 || (err != nil) != (tc.failures >= fetchTries) {
				t.Errorf("%d failures: %d tries, told %d times, %v", tc.failures, tries, told, err)
			}
		})
	}
}

func TestNobodyWaitsForANetworkThatIsNotWantedAnyMore(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	tries := 0
	err := apt{say: func(string, ...any) { stop() }}.patiently(ctx, func() error {
		tries++
		return errorText("E: Failed to fetch")
	})
	if err == nil || tries != 1 {
		t.Errorf("%d tries, %v", tries, err)
	}
}

func TestDownloadsAreToldWhileTheyGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []string
		p := progress{arch: "armhf", told: time.Now(), say: func(form string, args ...any) { told = append(told, fmt.Sprintf(form, args...)) }}
		for _, part := range []string{"Reading package lists...\nGet:1 a", " b\nGe", "t:2 c\n", "Get:3 d\n"} {
			_, err := p.Write([]byte(part))
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(telling / 2)
		}
		want := []string{"fetching from Debian for armhf, file 2"}
		if !slices.Equal(told, want) {
			t.Errorf("told %q, want %q", told, want)
		}
		if !strings.HasSuffix(p.String(), "Get:2 c\nGet:3 d\n") {
			t.Errorf("kept %q", p.String())
		}
	})
}

type errorText string

func (e errorText) Error() string { return string(e) }
