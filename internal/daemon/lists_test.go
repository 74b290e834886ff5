package daemon

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/routerd/routerd/internal/catalogue"
	"github.com/routerd/routerd/internal/control"
	"github.com/routerd/routerd/internal/lists"
)

// kept are lists' rules by name; what is not there was never fetched.
type kept map[string][]catalogue.Rule

func (k kept) Rules(name string) ([]catalogue.Rule, error) {
	if name == "damaged" {
		return nil, errors.New("line 3 was cut off")
	}
	rules, ok := k[name]
	if !ok {
		return nil, lists.ErrNoCopy
	}
	return rules, nil
}

func TestSettingsTakeTheRulesOfLists(t *testing.T) {
	text := "config destination 'a'\n\tlist domain 'own.example'\n"
	for _, name := range []string{"one", "two", "never", "damaged"} {
		text += "config list '" + name + "'\n\toption url 'https://lists.example/" + name + "'\n\toption destination 'a'\n"
	}
	rule := func(name string) catalogue.Rule { return catalogue.Rule{Kind: catalogue.RuleSuffix, Name: name} }
	s, _, err := parseSettings("routerd", []byte(text), kept{"one": {rule("one.example")}, "two": {rule("two.example"), rule("own.example")}})
	if err != nil {
		t.Fatal(err)
	}
	if len(s.plan.Names) != 3 || s.lists != nil {
		t.Errorf("names %v, lists beside the plan: %v", s.plan.Names, s.lists)
	}
	if err := s.unreadable(); err == nil || !strings.Contains(err.Error(), "list damaged: line 3 was cut off") {
		t.Errorf("a damaged copy: %v", err)
	}
}

// TestListsAreFetchedAndUsed drives a list as a user does: settings, a file, the
// commands of the control socket.
func TestListsAreFetchedAndUsed(t *testing.T) {
	if !isolated(t) {
		return
	}
	r := newRouter(t)
	source := filepath.Join(t.TempDir(), "source")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(source, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("listed.example\nnot a rule\n")
	list := "config list 'community'\n\toption url 'file://" + source + "'\n\toption destination 'exchanges'\n"
	r.set("", exchanges+list)
	r.start()
	goes := func(name string) string {
		why, err := r.client().Why(context.Background(), name, "")
		if err != nil {
			t.Fatal(err)
		}
		return why.Destination
	}
	r.wait("the list's names are steered", func() bool { return goes("www.listed.example") == "exchanges" })
	all, err := r.client().Lists(context.Background())
	if err != nil || len(all) != 1 || all[0].Rules != 1 || all[0].Skipped != 1 || len(all[0].Problems) != 1 {
		t.Errorf("lists: %+v, %v", all, err)
	}

	write("other.example\n")
	update := func(name string) (last control.ListProgress, err error) {
		for p, e := range r.client().UpdateList(context.Background(), name) {
			last, err = p, errors.Join(err, e)
		}
		return last, err
	}
	last, err := update("")
	if err != nil || last.State != control.ListDone || !last.Changed || last.Rules != 1 {
		t.Errorf("update: %+v, %v", last, err)
	}
	r.wait("the list's new names are steered", func() bool {
		return goes("other.example") == "exchanges" && goes("www.listed.example") == ""
	})
	if _, err := update("nobody"); err == nil {
		t.Error("a list that is not there was updated")
	}

	r.halt()
	if err := os.Remove(source); err != nil {
		t.Fatal(err)
	}
	r.start()
	if got := goes("other.example"); got != "exchanges" {
		t.Errorf("after a restart with no source: destination %q", got)
	}
	write("")
	last, _ = update("community")
	if last.State != control.ListFailed || goes("other.example") != "exchanges" {
		t.Errorf("a list with nothing in it: %+v, other.example goes to %q", last, goes("other.example"))
	}
}
