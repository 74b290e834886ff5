package daemon

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/routerd/routerd/internal/catalogue"
	"github.com/routerd/routerd/internal/config"
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
	s, _, err := parseSettings("routerd", []byte(text), kept{"one": {rule("one.example")}, "two": {rule("two.example"), rule("own.example")}}.Rules)
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

// listed is a router whose settings have a list in a file.
type listed struct {
	*router
	source string
}

func newListed(t *testing.T, text string) listed {
	t.Helper()
	l := listed{newRouter(t), filepath.Join(t.TempDir(), "source")}
	l.write(text)
	l.set("", exchanges+"config list 'community'\n\toption url 'file://"+l.source+"'\n\toption destination 'exchanges'\n")
	l.start()
	return l
}

func (l listed) write(text string) {
	l.Helper()
	need(l.T, os.WriteFile(l.source, []byte(text), 0o600))
}

// goes names the destination of a name, "" for none.
func (l listed) goes(name string) string {
	l.Helper()
	why, err := l.client().Why(context.Background(), name, "")
	need(l.T, err)
	return why.Destination
}

// update fetches a list, or all, and gives the last that is told of it.
func (l listed) update(name string) (last control.ListProgress, err error) {
	for p, e := range l.client().UpdateList(context.Background(), name) {
		last, err = p, errors.Join(err, e)
	}
	return last, err
}

func TestListsAreFetchedAndUsed(t *testing.T) {
	if !isolated(t) {
		return
	}
	l := newListed(t, "listed.example\nnot a rule\n")
	l.wait("the list's names are steered", func() bool { return l.goes("www.listed.example") == "exchanges" })
	all, err := l.client().Lists(context.Background())
	need(t, err)
	expect(t, len(all) == 1 && all[0].Rules == 1 && all[0].Skipped == 1 && len(all[0].Problems) == 1, "lists: %+v", all)

	l.write("other.example\n")
	last, err := l.update("")
	need(t, err)
	expect(t, last.State == control.ListDone && last.Changed && last.Rules == 1, "update: %+v", last)
	l.wait("the list's new names are steered", func() bool {
		return l.goes("other.example") == "exchanges" && l.goes("www.listed.example") == ""
	})
	_, err = l.update("nobody")
	expect(t, err != nil, "a list that is not there was updated")
}

func TestListsOutliveTheirSourceAndTheDaemon(t *testing.T) {
	if !isolated(t) {
		return
	}
	l := newListed(t, "listed.example\n")
	l.wait("the list's names are steered", func() bool { return l.goes("www.listed.example") == "exchanges" })
	l.halt()
	need(t, os.Remove(l.source))
	l.start()
	expect(t, l.goes("listed.example") == "exchanges", "after a restart with no source the list's names are not steered")
	l.write("")
	last, _ := l.update("community")
	expect(t, last.State == control.ListFailed, "a list with nothing in it: %+v", last)
	expect(t, l.goes("listed.example") == "exchanges", "after a list with nothing in it the last good one is not used")
}

func TestListsThatFailedAreFetchedOncePathsAreBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := deciding(parsed(t, manyPolicies))
		d.keeper = newKeeper()
		var tries atomic.Int32
		dir := t.TempDir()
		d.lists = lists.New(lists.Options{
			Dir: filepath.Join(dir, "l"), StateDir: filepath.Join(dir, "s"), Now: time.Now, Log: slog.New(slog.DiscardHandler),
			Dial: func(string) lists.DialFunc {
				return func(context.Context, string, string) (net.Conn, error) {
					tries.Add(1)
					return nil, errors.New("no route to host")
				}
			},
		})
		ctx, stop := context.WithCancel(t.Context())
		ended := d.runLists(ctx)
		d.lists.Set([]config.List{{Name: "a", URL: "http://lists.example/a", Format: "plain", Interval: 24 * time.Hour}})
		time.Sleep(12 * time.Hour)
		synctest.Wait()
		before := tries.Load()
		d.turned = []string{"home"}
		d.tellPaths(1)
		synctest.Wait()
		if got := tries.Load() - before; got != 1 {
			t.Errorf("%d tries when a path is back", got)
		}
		stop()
		<-ended
	})
}
