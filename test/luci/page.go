package luci

import (
	"net/http"
	"slices"
	"strings"
)

// shell is the page that LuCI's dispatcher and theme make around a view.
const shell = `<!DOCTYPE html>
<html lang="{{.Lang}}">
<head>
<meta charset="utf-8">
<title>router | {{.Title}}</title>
<script>
	var mediaQuery = window.matchMedia('(prefers-color-scheme: dark)');
	document.documentElement.setAttribute('data-darkmode', mediaQuery.matches);
</script>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="/luci-static/bootstrap/cascade.css">
{{if .Real}}<link rel="stylesheet" media="only screen and (max-device-width: 854px)" href="/luci-static/bootstrap/mobile.css">{{end}}
<script src="/cgi-bin/luci/admin/translations/{{.Lang}}"></script>
<script src="/luci-static/resources/cbi.js"></script>
</head>
<body class="lang_{{.Lang}}" data-page="admin-services-routerd-{{.Page}}">
<header>
	<a class="brand" href="/cgi-bin/luci/admin/services/routerd/overview">router</a>
	<ul class="nav" id="topmenu" style="display:none"></ul>
	<div id="indicators" class="pull-right"></div>
</header>
<div id="maincontent" class="container">
<div id="tabmenu">{{if not .Real}}<ul class="tabs">{{range .Pages}}<li><a href="/cgi-bin/luci/admin/services/routerd/{{.}}"><script>document.write(_({{title .}}))</script></a></li>{{end}}</ul>{{end}}</div>
<script src="/luci-static/resources/luci.js"></script>
<script>
	L = new LuCI({{.Env}});
</script>
<div id="view">
	<div class="spinning">…</div>
	<script>
		L.require('ui').then(function(ui) { ui.instantiateView('routerd/{{.Page}}'); });
	</script>
</div>
</div>
{{if .Real}}<footer><ul class="breadcrumb pull-right" id="modemenu" style="display:none"></ul></footer>
<script>L.require('menu-bootstrap')</script>{{end}}
</body>
</html>
`

func (s *Server) page(w http.ResponseWriter, r *http.Request) {
	page := r.PathValue("page")
	if !slices.Contains(Pages(), page) {
		http.NotFound(w, r)
		return
	}
	path := []string{"admin", "services", "routerd", page}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	err := s.shell.Execute(w, map[string]any{
		"Lang": s.o.Lang, "Page": page, "Pages": Pages(), "Real": s.o.LuCI != "", "Title": title(page),
		"Env": map[string]any{
			"media": "/luci-static/bootstrap", "resource": "/luci-static/resources",
			"scriptname": "/cgi-bin/luci", "pathinfo": "/" + strings.Join(path, "/"), "documentroot": "/www",
			"requestpath": path, "dispatchpath": path, "pollinterval": 5, "ubuspath": "/ubus/",
			"sessionid": session, "token": session, "nodespec": map[string]any{"satisfied": true, "readonly": false},
			"apply_rollback": 90, "apply_holdoff": 1, "apply_timeout": 5, "apply_display": 1,
		},
	})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

// title is what the menu calls a page.
func title(page string) string { return strings.ToUpper(page[:1]) + page[1:] }
