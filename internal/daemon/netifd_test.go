package daemon

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestNetifdDevice(t *testing.T) {
	tests := []struct {
		name, answer, want, fails string
	}{
		{"a bridge", `{"up":true,"l3_device":"br-lan","device":"br-lan"}`, "br-lan", ""},
		{"PPPoE: the device packets leave by", `{"up":true,"l3_device":"pppoe-wan","device":"wan"}`, "pppoe-wan", ""},
		{"only the lower device", `{"up":false,"device":"eth1"}`, "eth1", ""},
		{"none", `{"up":false,"pending":true}`, "", "network lan has no device (up: false)"},
		{"another type", `{"l3_device":7}`, "", "read status of network lan"},
		{"cut off", `{"up":tr`, "", "read status of network lan"},
		{"nothing", ``, "", "read status of network lan"},
		{"a name no device can have", `{"l3_device":"a/../b"}`, "", "names no device"},
		{"a name that is too long", `{"l3_device":"` + strings.Repeat("x", 16) + `"}`, "", "names no device"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := netifdDevice("lan", []byte(tt.answer))
			if got != tt.want || (err == nil) != (tt.fails == "") || err != nil && !strings.Contains(err.Error(), tt.fails) {
				t.Errorf("got %q, %v; want %q, %q", got, err, tt.want, tt.fails)
			}
		})
	}
}

func FuzzNetifdDevice(f *testing.F) {
	f.Add([]byte(`{"up":true,"l3_device":"br-lan","device":"br-lan"}`))
	f.Add([]byte(`{"device":"eth1.2@x"}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, answer []byte) {
		dev, err := netifdDevice("lan", answer)
		if (err == nil) != (dev != "") || len(dev) > 15 || strings.ContainsAny(dev, "/ \n\x00") {
			t.Errorf("%q: device %q, %v", answer, dev, err)
		}
	})
}

// ubus puts a ubus on the path that knows the networks of a folder, one file a
// network, as netifd would answer.
func ubus(t *testing.T, networks map[string]string) {
	t.Helper()
	dir := t.TempDir()
	for name, answer := range networks {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(answer), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	script := "#!/bin/sh\n[ \"$1\" = call ] && [ \"$3\" = status ] || exit 2\nf=" + dir + "/${2#network.interface.}\n[ -f \"$f\" ] || exit 4\ncat \"$f\"\n"
	if err := os.WriteFile(filepath.Join(dir, "ubus"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

func TestDevicesOfNetworksAndOfTheMachine(t *testing.T) {
	// A network may be called as a device is: a switch port, here lo.
	ubus(t, map[string]string{
		"lan": `{"up":true,"l3_device":"br-lan"}`, "guest": `{"up":true,"l3_device":"br-lan"}`,
		"lo": `{"up":true,"l3_device":"pppoe-wan"}`, "down": `{"up":false}`,
	})
	found, problems, _ := networks{}.devices(context.Background(), "lan", []string{"lan", "guest", "lo", "down", "nothing"})
	if want := []string{"br-lan", "pppoe-wan"}; !slices.Equal(found, want) {
		t.Errorf("devices %v, want %v", found, want)
	}
	want := []string{
		"option lan: network down has no device (up: false)",
		"option lan: nothing is neither a netifd network nor a device",
	}
	if !slices.Equal(problems, want) {
		t.Errorf("problems %q, want %q", problems, want)
	}
}

func TestDevicesWithoutNetifd(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	found, problems, _ := networks{}.devices(context.Background(), "wan", []string{"lo", "nothing", "lo"})
	if !slices.Equal(found, []string{"lo"}) || len(problems) != 1 {
		t.Errorf("devices %v, problems %q", found, problems)
	}
}

func TestANetworkThatNetifdNoLongerTellsKeepsItsDevice(t *testing.T) {
	ctx, n := context.Background(), networks{}
	ubus(t, map[string]string{"lan": `{"up":true,"l3_device":"lo"}`, "gone": `{"up":true,"l3_device":"no-such-device"}`})
	if found, problems, silent := n.devices(ctx, "lan", []string{"lan", "gone"}); !slices.Equal(found, []string{"lo", "no-such-device"}) || problems != nil || silent {
		t.Fatalf("devices %v, problems %q, silent %t", found, problems, silent)
	}
	ubus(t, nil) // netifd is started again
	found, problems, silent := n.devices(ctx, "lan", []string{"lan", "gone"})
	if !slices.Equal(found, []string{"lo"}) || len(problems) != 2 || silent {
		t.Errorf("devices %v, problems %q, silent %t; want the one that is still there, and both told", found, problems, silent)
	}
}

func TestANetifdThatDoesNotAnswerIsSilentWhereNothingIsKnown(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "ubus"), []byte("#!/bin/sh\nexec sleep 60\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	for _, known := range []networks{{}, {"lan": "lo"}} {
		found, problems, silent := known.devices(context.Background(), "lan", []string{"lan"})
		if len(problems) != 1 || silent != (len(known) == 0) || len(found) != len(known) {
			t.Errorf("of %v: devices %v, problems %q, silent %t", known, found, problems, silent)
		}
	}
}
