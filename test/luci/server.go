package luci

import (
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/routerd/routerd/openwrt/pack"
)

// Options say what to serve.
type Options struct {
	App  string // directory of luci-app-routerd
	LuCI string // checkout of LuCI; "": the stand-in
	Lang string // en or ru
	// Root is the root directory of the router whose settings are edited and
	// whose plugin is asked.
	Root string
	// Plugin runs the rpcd plugin: list, or call METHOD with the request on
	// standard input.
	Plugin func(stdin []byte, args ...string) ([]byte, error)
	// Applied is told when the pages have changed settings (config.change).
	Applied func() error
	// Hosts are what the router knows of its clients.
	Hosts map[string]Host
}

// Host is one client as luci-rpc's getHostHints names it.
type Host struct {
	Name string   `json:"name"`
	IPv4 []string `json:"ipaddrs"`
	IPv6 []string `json:"ip6addrs"`
}

// Server is an http.Handler with one session.
type Server struct {
	o       Options
	mux     *http.ServeMux
	shell   *template.Template
	acl     acl
	po      pack.Catalogue
	changes *staged
}

// New makes a server.
func New(o Options) (*Server, error) {
	page, err := template.New("shell").Funcs(template.FuncMap{"title": title}).Parse(shell)
	if err != nil {
		return nil, fmt.Errorf("read the page: %w", err)
	}
	s := &Server{o: o, mux: http.NewServeMux(), shell: page, changes: newStaged(filepath.Join(o.Root, "etc/config"))}
	if err := s.acl.load(filepath.Join(o.App, "root/usr/share/rpcd/acl.d/luci-app-routerd.json")); err != nil {
		return nil, err
	}
	if err := s.translate(); err != nil {
		return nil, err
	}
	s.mux.HandleFunc("GET /cgi-bin/luci/admin/services/routerd/{page}", s.page)
	s.mux.HandleFunc("GET /cgi-bin/luci/admin/translations/{lang}", s.translations)
	s.mux.HandleFunc("GET /cgi-bin/luci/admin/menu", s.menu)
	s.mux.HandleFunc("POST /ubus/", s.ubus)
	s.mux.HandleFunc("POST /cgi-bin/luci/admin/ubus", s.ubus)
	s.mux.HandleFunc("POST /cgi-bin/luci/admin/uci/{action}", s.apply)
	s.mux.HandleFunc("GET /cgi-bin/luci/admin/uci/{action}", s.apply)
	s.mux.HandleFunc("GET /luci-static/", s.static)
	// LuCI asks for a program's output after settings have been applied (fs.exec).
	s.mux.HandleFunc("POST /cgi-bin/cgi-exec", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	s.mux.HandleFunc("GET /favicon.ico", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	return s, nil
}

// translate reads the texts of the language.
func (s *Server) translate() error {
	if s.o.Lang == "en" {
		return nil
	}
	f, err := os.Open(filepath.Join(s.o.App, "po", s.o.Lang, "routerd.po"))
	if err != nil {
		return fmt.Errorf("open translation: %w", err)
	}
	defer f.Close()
	s.po, err = pack.ParsePO(f)
	return err
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	s.mux.ServeHTTP(w, r)
}

// static serves the pages' own files first, then LuCI's.
func (s *Server) static(w http.ResponseWriter, r *http.Request) {
	rel := strings.TrimPrefix(r.URL.Path, "/luci-static/")
	dirs := []string{filepath.Join(s.o.App, "htdocs/luci-static")}
	if s.o.LuCI == "" {
		dirs = append(dirs, filepath.Join(filepath.Dir(s.o.App), "../test/luci/standin"))
		rel = strings.TrimPrefix(rel, "bootstrap/")
	} else {
		dirs = append(dirs, filepath.Join(s.o.LuCI, "modules/luci-base/htdocs/luci-static"),
			filepath.Join(s.o.LuCI, "themes/luci-theme-bootstrap/htdocs/luci-static"))
	}
	for _, dir := range dirs {
		for _, name := range []string{rel, strings.TrimPrefix(rel, "resources/")} {
			path := filepath.Join(dir, filepath.FromSlash(filepath.Clean("/"+name)))
			if fi, err := os.Stat(path); err == nil && fi.Mode().IsRegular() {
				http.ServeFile(w, r, path)
				return
			}
		}
	}
	http.NotFound(w, r)
}

// translations are a script that LuCI's _() looks texts up in. The stand-in
// looks them up by their own text.
func (s *Server) translations(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/javascript; charset=utf-8")
	byHash := map[string]string{}
	for hash, text := range pack.Translations(s.po) {
		byHash[fmt.Sprintf("%08x", hash)] = text
	}
	byText := map[string]string{}
	for _, m := range s.po.Messages {
		key := m.ID
		if m.Context != "" {
			key = m.Context + "\x01" + m.ID
		}
		byText[key] = m.Strings[0]
	}
	if s.o.Lang != "en" {
		fmt.Fprintf(w, "window.TR = %s;\nwindow.TEXTS = %s;\n", encode(byHash), encode(byText))
	}
}

// menu is the part of LuCI's menu that the theme shows.
func (s *Server) menu(w http.ResponseWriter, _ *http.Request) {
	pages := map[string]any{}
	for i, name := range Pages() {
		pages[name] = map[string]any{
			"title": strings.ToUpper(name[:1]) + name[1:], "order": i, "satisfied": true,
			"action": map[string]any{"type": "view", "path": "routerd/" + name},
		}
	}
	node := func(title string, children map[string]any) map[string]any {
		return map[string]any{"title": title, "satisfied": true, "action": map[string]string{"type": "firstchild"}, "children": children}
	}
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprint(w, encode(map[string]any{"children": map[string]any{
		"admin": node("Administration", map[string]any{"services": node("Services", map[string]any{"routerd": node("routerd", pages)})}),
	}}))
}

// Pages are the names of all pages.
func Pages() []string { return []string{"overview", "destinations", "tunnels", "diagnostics"} }

// apply is what LuCI's dispatcher does with changed settings: they are put in
// force and services are told. There is no going back here.
func (s *Server) apply(w http.ResponseWriter, r *http.Request) {
	switch action := r.PathValue("action"); action {
	case "apply_rollback", "apply_unchecked":
		err := s.changes.commit()
		if err == nil {
			err = s.o.Applied()
		}
		if err != nil && !errors.Is(err, errNothing) {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"token":"00000000000000000000000000000000"}`)
	case "confirm":
		w.WriteHeader(http.StatusOK)
	case "revert":
		s.changes.revert()
		w.WriteHeader(http.StatusOK)
	default:
		http.NotFound(w, r)
	}
}

// encode writes JSON; what it is given has no value without JSON.
func encode(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		return "null"
	}
	return string(raw)
}
