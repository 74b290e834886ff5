package luci

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"

	"github.com/routerd/routerd/internal/config/uci"
)

// errNothing says that there is nothing to apply.
var errNothing = errors.New("nothing has changed")

// staged are changes of settings that are not in force yet.
type staged struct {
	dir string

	mu    sync.Mutex
	edits map[string][]edit // guarded by mu; by configuration
	next  int               // guarded by mu; number of the next anonymous section
}

// edit is one change; undo is what LuCI shows of it.
type edit struct {
	do   func(*uci.File) error
	told []string
}

func newStaged(dir string) *staged { return &staged{dir: dir, edits: map[string][]edit{}} }

// file is a configuration with its changes.
func (c *staged) file(config string) (*uci.File, error) {
	f, err := uci.Read(filepath.Join(c.dir, config))
	if err != nil {
		return nil, err
	}
	for _, e := range c.edits[config] {
		if err := e.do(f); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// commit writes the changes.
func (c *staged) commit() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.edits) == 0 {
		return errNothing
	}
	for config, edits := range c.edits {
		err := uci.Edit(filepath.Join(c.dir, config), func(f *uci.File) error {
			for _, e := range edits {
				if err := e.do(f); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	clear(c.edits)
	return nil
}

func (c *staged) revert() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.edits)
}

// uciRequest is the arguments of every method of the object uci.
type uciRequest struct {
	Config   string         `json:"config"`
	Type     string         `json:"type"`
	Name     string         `json:"name"`
	Section  string         `json:"section"`
	Values   map[string]any `json:"values"`
	Option   string         `json:"option"`
	Options  []string       `json:"options"`
	Sections []string       `json:"sections"`
}

// uci answers the object uci of rpcd.
func (s *Server) uci(method string, args json.RawMessage) (status int, data any) {
	var r uciRequest
	if err := json.Unmarshal(args, &r); err != nil {
		return ubusInvalid, nil
	}
	c := s.changes
	c.mu.Lock()
	defer c.mu.Unlock()
	if method == "changes" {
		return ubusOK, map[string]any{"changes": c.told()}
	}
	if !slices.Contains(s.acl.configs, r.Config) {
		return ubusPermission, nil
	}
	switch method {
	case "get":
		return c.get(r.Config)
	case "add":
		return c.add(r)
	case "set":
		return c.stage(r.Config, nil, sets(r.Section, r.Values)...)
	case "delete":
		return c.stage(r.Config, nil, deletes(r)...)
	case "order":
		return c.stage(r.Config, nil, order(r.Sections))
	}
	return ubusNoMethod, nil
}

func (c *staged) get(config string) (status int, data any) {
	f, err := c.file(config)
	if err != nil {
		return ubusNotFound, nil
	}
	return ubusOK, map[string]any{"values": values(f)}
}

func (c *staged) add(r uciRequest) (status int, data any) {
	name := r.Name
	if name == "" {
		c.next++
		name = fmt.Sprintf("cfg%06x", c.next)
	}
	edits := append([]edit{add(r.Type, name)}, sets(name, r.Values)...)
	return c.stage(r.Config, map[string]any{"section": name}, edits...)
}

// stage keeps changes that can be made.
func (c *staged) stage(config string, answer any, edits ...edit) (status int, data any) {
	before := slices.Clone(c.edits[config])
	c.edits[config] = append(c.edits[config], edits...)
	if _, err := c.file(config); err != nil {
		c.edits[config] = before
		return ubusInvalid, nil
	}
	return ubusOK, answer
}

// told are the changes as LuCI lists them.
func (c *staged) told() map[string][][]string {
	out := map[string][][]string{}
	for config, edits := range c.edits {
		for _, e := range edits {
			out[config] = append(out[config], e.told)
		}
	}
	return out
}

func add(kind, name string) edit {
	return edit{func(f *uci.File) error { _, err := f.AddSection(kind, name); return err }, []string{"add", name, kind}}
}

// sets makes an edit of each value; a list replaces the one before.
func sets(section string, values map[string]any) []edit {
	var out []edit
	for name, v := range values {
		if list, ok := v.([]any); ok {
			out = append(out, edit{func(f *uci.File) error {
				err := f.Delete(section, name)
				for _, item := range list {
					err = errors.Join(err, f.AddList(section, name, fmt.Sprint(item)))
				}
				return err
			}, []string{"set", section, name, encode(v)}})
			continue
		}
		out = append(out, edit{func(f *uci.File) error { return f.Set(section, name, fmt.Sprint(v)) }, []string{"set", section, name, fmt.Sprint(v)}})
	}
	return out
}

func deletes(r uciRequest) []edit {
	options := r.Options
	if r.Option != "" {
		options = append(options, r.Option)
	}
	if len(options) == 0 {
		return []edit{{func(f *uci.File) error { return f.DeleteSection(r.Section) }, []string{"remove", r.Section}}}
	}
	var out []edit
	for _, name := range options {
		out = append(out, edit{func(f *uci.File) error { return f.Delete(r.Section, name) }, []string{"remove", r.Section, name}})
	}
	return out
}

// order puts sections into an order, by writing each anew at the end.
func order(names []string) edit {
	return edit{func(f *uci.File) error {
		for _, name := range names {
			s, ok := f.Section(name)
			if !ok {
				return fmt.Errorf("no section %s", name)
			}
			if err := move(f, s); err != nil {
				return err
			}
		}
		return nil
	}, []string{"order", encode(names)}}
}

// move writes a section anew at the end of the file.
func move(f *uci.File, s *uci.Section) error {
	copied := *s
	if err := f.DeleteSection(s.Ref); err != nil {
		return err
	}
	if _, err := f.AddSection(copied.Type, copied.Name); err != nil {
		return err
	}
	var err error
	for _, o := range copied.Options {
		for _, v := range o.Values {
			if o.List {
				err = errors.Join(err, f.AddList(copied.Name, o.Name, v))
			} else {
				err = errors.Join(err, f.Set(copied.Name, o.Name, v))
			}
		}
	}
	return err
}

// values are all sections as rpcd gives them.
func values(f *uci.File) map[string]any {
	out := map[string]any{}
	for i, s := range f.Sections() {
		fields := map[string]any{".name": s.Ref, ".type": s.Type, ".anonymous": s.Name == "", ".index": i}
		for _, o := range s.Options {
			if o.List {
				fields[o.Name] = o.Values
			} else {
				fields[o.Name] = o.Values[0]
			}
		}
		out[s.Ref] = fields
	}
	return out
}
