package device_test

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/routerd/routerd/internal/config"
	"github.com/routerd/routerd/test/device"
	"github.com/routerd/routerd/test/lab"
	"github.com/routerd/routerd/test/lab/labtest"
)

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "routerd-device-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Setenv("XDG_RUNTIME_DIR", dir); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// The scripts of hotplug do nothing without a daemon and reload one that runs.
func TestHotplugReloads(t *testing.T) {
	d := device.New(t, labtest.Up(t, lab.Options{}))
	d.InstallSources()
	d.Within("the daemon answers", func() bool { return isRunning(d) })
	reloads := func() int { return strings.Count(d.Call("events", "{}"), `"to":"applied"`) }
	for _, tc := range []struct {
		script, action string
		reloads        int
	}{
		{"iface/90-routerd", "ifup", 1},
		{"iface/90-routerd", "ifdown", 1},
		{"iface/90-routerd", "remove", 0},
		{"ntp/90-routerd", "stratum", 1},
		{"ntp/90-routerd", "stratum", 0}, // again
		{"ntp/90-routerd", "step", 1},
		{"ntp/90-routerd", "unsync", 0},
	} {
		before := reloads()
		d.Run("/bin/env", "ACTION="+tc.action, "INTERFACE=lan", "/bin/sh", "/etc/hotplug.d/"+tc.script)
		if got := reloads() - before; got != tc.reloads {
			t.Errorf("%s %s: %d reloads, want %d", tc.script, tc.action, got, tc.reloads)
		}
	}
	d.Run("/usr/share/routerd/package", "removing")
	d.Run("/bin/env", "ACTION=ifup", "/bin/sh", "/etc/hotplug.d/iface/90-routerd")
}

// Without settings the first ones are made, and they are those of the package.
func TestFirstSettingsOfADeviceWithoutAny(t *testing.T) {
	d := device.New(t, labtest.Up(t, lab.Options{}))
	d.InstallSources()
	packed, err := os.ReadFile("../../openwrt/routerd/files/etc/config/routerd")
	if err != nil {
		t.Fatal(err)
	}
	d.Write("etc/config/routerd", "")
	d.Copy("../../openwrt/routerd/files/etc/uci-defaults/60-routerd", "etc/uci-defaults/60-routerd", 0o755)
	d.Run("/bin/sh", "/etc/uci-defaults/60-routerd")
	env, err := config.DefaultEnv()
	if err != nil {
		t.Fatal(err)
	}
	want, _, err := config.Parse("packed", packed, env)
	if err != nil {
		t.Fatal(err)
	}
	got, _, err := config.Parse("made", []byte(d.Read("etc/config/routerd")), env)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the settings that are made are others than those that are packed (-packed +made):\n%s", diff)
	}
	before := d.Read("etc/config/routerd")
	d.Run("/bin/sh", "/etc/uci-defaults/60-routerd")
	if d.Read("etc/config/routerd") != before {
		t.Error("a second run changes the settings")
	}
	// Only fw3 has to be told of the include.
	if strings.Contains(d.Read("etc/config/firewall"), "routerd") {
		t.Error("the firewall's settings are changed, though fw4 is there")
	}
	d.Write("sbin/fw3", "#!/bin/sh\n")
	d.Run("chmod", "+x", "/sbin/fw3")
	d.Run("/bin/sh", "/etc/uci-defaults/60-routerd")
	if !strings.Contains(d.Read("etc/config/firewall"), "/usr/share/routerd/firewall.include") {
		t.Error("fw3 is not told of the include")
	}
	d.Run("/usr/share/routerd/package", "removing")
	if strings.Contains(d.Read("etc/config/firewall"), "routerd") {
		t.Error("the firewall's settings still name the include")
	}
}
