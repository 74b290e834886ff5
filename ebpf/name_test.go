package ebpf

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

func TestHashName(t *testing.T) {
	long := strings.Repeat("a.", 126) + "a" // 253 characters
	for _, c := range []struct {
		name string
		ok   bool
	}{
		{"example.com", true},
		{"a", true},
		{"_sip._tcp.example.com", true},
		{"xn--e1afmkfd.xn--p1ai", true},
		{strings.Repeat("x", 63) + ".example", true},
		{long, true},
		{"", false},
		{".", false},
		{"example.com.", false},
		{".example.com", false},
		{"a..b", false},
		{strings.Repeat("x", 64) + ".example", false},
		{long + "b", false},
	} {
		h, err := HashName(42, c.name)
		if (err == nil) != c.ok || (err != nil && !errors.Is(err, errName)) {
			t.Errorf("%q: %v, want accepted: %t", c.name, err, c.ok)
		}
		if upper, _ := HashName(42, strings.ToUpper(c.name)); upper != h {
			t.Errorf("%q: upper case has another hash", c.name)
		}
		if other, _ := HashName(43, c.name); c.ok && other == h {
			t.Errorf("%q: the seed does not matter", c.name)
		}
	}
}

func TestTextName(t *testing.T) {
	for _, c := range []struct {
		wire []byte
		want string
	}{
		{labels("WWW", "Example"), "www.example"},
		{[]byte{0}, ""},
		{nil, ""},
		{[]byte{3, 'a'}, ""},
		{append([]byte{255}, make([]byte, 255)...), strings.Repeat(`\000`, 255)}, // no label, but no fault either
		{labels("a.b", "c\\d", "\x00\xff "), `a\046b.c\092d.\000\255\032`},
	} {
		if got := textName(c.wire); got != c.want {
			t.Errorf("%q: %q, want %q", c.wire, got, c.want)
		}
	}
}

// reference finds the rule of a name as DESIGN.md says it: a full: rule, then
// the longest suffix.
func reference(rules []NameRule, name string) (rule string, full bool) {
	for _, r := range rules {
		switch {
		case r.Full != nil && r.Name == name:
			return r.Name, true
		case r.Suffix != nil && len(r.Name) > len(rule) && (r.Name == name || strings.HasSuffix(name, "."+r.Name)):
			rule = r.Name
		}
	}
	return rule, false
}

// randomName is one of few enough names that they often are related.
func randomName(r *rand.Rand) string {
	list := make([]string, 1+r.IntN(6))
	for i := range list {
		list[i] = []string{"a", "b", "ab", "com", "example", "x-y"}[r.IntN(6)]
	}
	return strings.Join(list, ".")
}

func TestKernelMatchesNamesAsTheReferenceDoes(t *testing.T) {
	w := newWorld(t)
	events := openEvents(t, w.DataPlane)
	r := rand.New(rand.NewPCG(1, 2))
	matched := 0
	for range 5 {
		rules := randomRules(r, w.all("open"))
		w.tables.Names = rules
		mustSet(t, w.DataPlane, w.tables)
		for range 100 {
			name := randomName(r)
			rule, full := reference(rules, name)
			w.forgetTold(t)
			w.run(t, bpfProgRouterdLearn, carry(plain(mixedCase(name), "198.51.100.1")).build(), via{out: w.lan})
			got := pending(t, events)
			if rule == "" && len(got) == 0 {
				continue
			}
			if !w.saysRule(got, name, rule, full) {
				t.Fatalf("%s: events %+v, want rule %s, full %t", name, got, rule, full)
			}
			matched++
		}
	}
	if matched < 100 {
		t.Errorf("only %d names matched: the test says little", matched)
	}
}

// saysRule says whether there is one event, about a name and its rule.
func (w *world) saysRule(got []Event, name, rule string, full bool) bool {
	want, err := HashName(w.seed, rule)
	return err == nil && len(got) == 1 && got[0].Rule == want && got[0].Full == full && got[0].Name == name
}

func randomRules(r *rand.Rand, c Chain) []NameRule {
	seen := map[string]bool{}
	var out []NameRule
	for range 60 {
		rule := NameRule{Name: randomName(r)}
		switch r.IntN(3) {
		case 0:
			rule.Full = c
		case 1:
			rule.Suffix = c
		default:
			rule.Full, rule.Suffix = c, c
		}
		if !seen[rule.Name] {
			seen[rule.Name] = true
			out = append(out, rule)
		}
	}
	return out
}

// Names of every length and with every octet hash alike on both sides.
func TestKernelHashesNamesAsHashNameDoes(t *testing.T) {
	w := newWorld(t)
	events := openEvents(t, w.DataPlane)
	r := rand.New(rand.NewPCG(3, 4))
	for n := 1; n <= 253; n += 7 {
		name := nameOfLength(r, n)
		w.tables.Names = []NameRule{{Name: name, Full: w.all("open")}}
		mustSet(t, w.DataPlane, w.tables)
		wireName, err := wireName(name)
		if err != nil {
			t.Fatal(err)
		}
		message := append(question(append(wireName, 0), dns.TypeA, 1), raw(dns.TypeA, 60, 4, 198, 51, 100, 1)...)
		w.run(t, bpfProgRouterdLearn, carry(message).build(), via{out: w.lan})
		want, err := HashName(w.seed, name)
		if got := pending(t, events); err != nil || len(got) != 1 || got[0].Rule != want {
			t.Errorf("%q: events %+v, want rule %x", name, got, want)
		}
	}
}

// nameOfLength is a name of n characters, any octet but dots and capitals.
func nameOfLength(r *rand.Rand, n int) string {
	b := make([]byte, n)
	for i := range b {
		for b[i] = '.'; b[i] == '.' || b[i] >= 'A' && b[i] <= 'Z'; {
			b[i] = byte(r.IntN(256))
		}
		if i%40 == 39 && i < n-1 {
			b[i] = '.'
		}
	}
	return string(b)
}

func FuzzName(f *testing.F) {
	for _, s := range []string{"", "a", "example.com", "A.b", "a..b", "\x00.\xff", strings.Repeat("a.", 130)} {
		f.Add(s, []byte(s))
	}
	f.Fuzz(func(t *testing.T, name string, octets []byte) {
		textName(octets)
		wire, err := wireName(name)
		if err != nil {
			return
		}
		if len(wire) > 254 || len(wire) != len(name)+1 {
			t.Fatalf("wire form of %q has %d octets", name, len(wire))
		}
		if strings.ContainsAny(name, "\\") {
			return
		}
		again, err := wireName(textName(append(wire, 0)))
		if printable(name) && (err != nil || !bytes.Equal(again, wire)) {
			t.Fatalf("%q: wire form %x, there and back %x, %v", name, wire, again, err)
		}
	})
}

func printable(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return true
}

func TestCollidingNamesAreNamed(t *testing.T) {
	d := newPlane(t)
	err := d.SetTables(&Tables{Names: []NameRule{{Name: "a.example"}, {Name: "b.example"}, {Name: "A.example"}}})
	if err == nil || !strings.Contains(err.Error(), "a.example and A.example") {
		t.Errorf("error %v, want one that names both", err)
	}
	if err := d.SetTables(&Tables{Names: []NameRule{{Name: "a..example"}}}); !errors.Is(err, errName) {
		t.Errorf("error %v, want errName", err)
	}
}

// thousands is n rules of 4 labels.
func thousands(n int, c Chain) []NameRule {
	out := make([]NameRule, n)
	for i := range out {
		out[i] = NameRule{Name: fmt.Sprintf("host%d.zone%d.listed.example", i, i%97), Suffix: c}
	}
	return out
}
