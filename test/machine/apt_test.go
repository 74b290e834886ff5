package machine

import (
	"strings"
	"testing"
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

type errorText string

func (e errorText) Error() string { return string(e) }
