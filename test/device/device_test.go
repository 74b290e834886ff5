package device_test

import (
	"os"
	"strings"
	"testing"

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

func TestSourcesInstalledAnswerThroughRPCD(t *testing.T) {
	d := device.New(t, labtest.Up(t, lab.Options{}))
	d.InstallSources()
	d.Write("etc/config/routerd", strings.Replace(d.Read("etc/config/routerd"), "list lan 'lan'", "list lan 'br-lan'", 1))
	d.Run("/etc/init.d/routerd", "reload")
	d.Within("the daemon answers", func() bool { return strings.Contains(d.Call("status", "{}"), `"running":true`) })
	t.Log(d.Call("status", "{}"))
	t.Log(d.Run("owbox", "procctl", "list"))
	d.Run("/usr/share/routerd/package", "removing")
}
