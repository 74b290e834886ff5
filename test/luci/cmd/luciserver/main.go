// Command luciserver serves LuCI's pages of routerd, inside the router of a lab or
// anywhere else.
//
//	luciserver --listen 192.168.1.1:80 --app openwrt/luci-app-routerd --root DIR [--luci DIR] [--lang ru]
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"time"

	"github.com/routerd/routerd/test/luci"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "`ADDRESS:PORT`")
	app := flag.String("app", "openwrt/luci-app-routerd", "`DIR` of the pages")
	real := flag.String("luci", "", "`DIR` of a checkout of LuCI; without it the stand-in")
	root := flag.String("root", "/", "`DIR` that is the router's root")
	lang := flag.String("lang", "en", "`LANGUAGE`: en or ru")
	hosts := flag.String("hosts", "{}", "`JSON` of the router's clients, as getHostHints gives them")
	flag.Parse()
	if err := serve(*listen, *hosts, luci.Options{App: *app, LuCI: *real, Lang: *lang, Root: *root}); err != nil {
		fmt.Fprintln(os.Stderr, "luciserver:", err)
		os.Exit(1)
	}
}

func serve(listen, hosts string, o luci.Options) error {
	if err := json.Unmarshal([]byte(hosts), &o.Hosts); err != nil {
		return err
	}
	run := func(stdin []byte, args ...string) ([]byte, error) {
		cmd := exec.Command("chroot", append([]string{o.Root}, args...)...)
		cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
		cmd.Stdin = bytes.NewReader(stdin)
		out, err := cmd.Output()
		if err != nil {
			fmt.Fprintln(os.Stderr, args, err)
		}
		return out, err
	}
	o.Plugin = func(stdin []byte, args ...string) ([]byte, error) {
		return run(stdin, append([]string{"/usr/libexec/rpcd/routerd"}, args...)...)
	}
	o.Applied = func() error {
		_, err := run(nil, "owbox", "procctl", "event", "config.change", "routerd")
		return err
	}
	s, err := luci.New(o)
	if err != nil {
		return err
	}
	const headers = 10 * time.Second
	srv := &http.Server{Addr: listen, Handler: s, ReadHeaderTimeout: headers}
	return srv.ListenAndServe()
}
