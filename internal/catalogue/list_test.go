package catalogue

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"testing/iotest"
)

// formats are all that a list can be written in.
func formats() []Format {
	return []Format{FormatPlain, FormatHosts, FormatDnsmasq, FormatV2fly, FormatClash}
}

// sample is a list of one format with what it must give.
type sample struct {
	name   string
	format Format
	text   string
	want   []string
	wrong  map[int]string // by line: part of what is told
	counts string         // duplicates and unsupported kinds
}

func plainSamples() []sample {
	return []sample{
		{
			name: "plain", format: FormatPlain,
			text: "\ufeff# head\nExample.ORG # why\nfull:a.example.org\n203.0.113.0/24\nexample.org\ncom\n",
			want: []string{"example.org", "full:a.example.org", "203.0.113.0/24"}, wrong: map[int]string{6: "top-level domain"}, counts: "1 map[]",
		},
		{
			name: "hosts", format: FormatHosts,
			text: "127.0.0.1 localhost localhost.localdomain\n::1\tip6-localhost\n255.255.255.255 broadcasthost\n0.0.0.0 0.0.0.0\n" +
				"0.0.0.0 Ads.example.org # one\r\n127.0.0.1\ta.example.net b.example.net a.example.net\n:: c.example.net\n\n# end\n",
			want:   []string{"full:ads.example.org", "full:a.example.net", "full:b.example.net", "full:c.example.net"},
			counts: "1 map[]",
		},
		{
			name: "hosts, wrong lines", format: FormatHosts,
			text:  "0.0.0.0 a.example.org\nexample.org\n0.0.0.0\n0.0.0.0 com b.example.org *.example.org\n300.1.1.1 c.example.org\n0.0.0.0 d.example.org\n0.0.0.0 e.example.org\n",
			want:  []string{"full:a.example.org", "full:b.example.org", "full:d.example.org", "full:e.example.org"},
			wrong: map[int]string{2: "not an address", 3: "no name follows", 4: "top-level domain", 5: "not an address"}, counts: "0 map[]",
		},
	}
}

func dnsmasqSamples() []sample {
	return []sample{
		{
			name: "dnsmasq", format: FormatDnsmasq,
			text: "# head\nserver=/example.org/192.0.2.1#5353\nserver=/a.example.net/b.example.net/\nlocal=/local.example/\n" +
				"address=/ads.example.com/0.0.0.0 # why\nipset=/x.example.io/set1,set2\n  nftset=/y.example.io/4#inet#fw4#steer,6#inet#fw4#steer6\n" +
				"--server=/.dot.example/1.1.1.1\nserver = /*.star.example/1.1.1.1@eth0\nserver=/EXAMPLE.org/\n",
			want: []string{
				"example.org", "a.example.net", "b.example.net", "local.example", "ads.example.com", "x.example.io", "y.example.io",
				"dot.example", "star.example",
			},
			counts: "1 map[]",
		},
		{
			name: "dnsmasq, wrong and unsupported lines", format: FormatDnsmasq,
			text:  "server=/example.org/\nserver=192.0.2.1\nlog-queries\ncache-size=1000\nserver=/example.net\naddress=/#/0.0.0.0\nserver=//192.0.2.1\nserver=/com/b.example/\nipset=/bad_*.example/x\n",
			want:  []string{"example.org", "b.example"},
			wrong: map[int]string{5: "no / closes", 6: "every name", 7: "without a dot", 8: "top-level domain", 9: "wildcard"}, counts: "0 map[other option:2 server without a name:1]",
		},
	}
}

func v2flySamples() []sample {
	return []sample{
		{
			name: "v2fly", format: FormatV2fly,
			text: "# Exchange\nexample.org @cn\ndomain:Example.NET @ads @!cn # both\nfull:api.example.com &other\nkeyword:binance\nregexp:^a.*\\.example\\.org$\nregex:x\ninclude:other\nexample.org\n",
			want: []string{"example.org", "example.net", "full:api.example.com"}, counts: "1 map[include:1 keyword:1 regexp:2]",
		},
		{
			name: "v2fly, wrong lines", format: FormatV2fly,
			text:  "example.org\ncn\nexample.com ads\nexample.com @\nexample.com @-cn\nfull:\ndomain:a..b\n",
			want:  []string{"example.org"},
			wrong: map[int]string{2: "top-level domain", 3: "not an attribute", 4: "not an attribute", 5: "behind include: only", 6: "no name", 7: "two dots"}, counts: "0 map[]",
		},
	}
}

func clashSamples() []sample {
	return []sample{
		{
			name: "clash, behaviour domain", format: FormatClash,
			text: "# NAME: x\npayload:\n  - '+.example.com'\n  - \"*.example.net\"\n  - '.example.io'\n  - plain.example.org   # only this\n\n  - '+.a.*.example'\n  - 'stun.*.*'\n  - '*'\n- \"+.Example.COM\"\n",
			want: []string{"example.com", "example.net", "example.io", "full:plain.example.org"}, counts: "1 map[wildcard:3]",
		},
		{
			name: "clash, behaviour classical", format: FormatClash,
			text: "payload: # rules\n  - DOMAIN,api.example.org\n  - DOMAIN-SUFFIX,example.com,Proxy\n  - 'IP-CIDR,22.1.2.3/24,no-resolve'\n  - IP-CIDR6,2d00:1::/32,no-resolve\n" +
				"  - DOMAIN-KEYWORD,google\n  - GEOIP,CN\n  - AND,((DOMAIN,a.example),(NETWORK,UDP))\n  - MATCH\n  - DOMAIN-KEYWORD,two\n",
			want: []string{"full:api.example.org", "example.com", "22.1.2.0/24", "2d00:1::/32"}, counts: "0 map[AND:1 DOMAIN-KEYWORD:2 GEOIP:1 MATCH:1]",
		},
		{
			name: "clash, behaviour ipcidr", format: FormatClash,
			text: "---\npayload:\n- '22.0.0.0/16'\n- 22.1.0.1\n- \"2d00:1::/32\"\n- 22.0.0.9/16\n",
			want: []string{"22.0.0.0/16", "22.1.0.1", "2d00:1::/32"}, counts: "1 map[]",
		},
		{
			name: "clash, as text", format: FormatClash,
			text: "# text\n+.example.com\nplain.example.org\nDOMAIN-SUFFIX,example.net\n", want: []string{"example.com", "full:plain.example.org", "example.net"}, counts: "0 map[]",
		},
		{
			name: "clash, YAML that is not read", format: FormatClash,
			text: "payload: ['a.example', 'b.example']\nrules:\n  - &x a.example\n  - 'a.example\n  - \"a\\x2e.example\"\n  - {domain: a.example}\n  - |\n  - key: value\n  - DOMAIN-THING,x\n  - 'a.example' b\n  - IP-CIDR,x\n  - ok.example\n",
			want: []string{"full:ok.example"},
			wrong: map[int]string{
				1: "on the line of payload", 2: "not an entry", 3: "form of YAML", 4: "no ' closes", 5: "escapes", 6: "form of YAML", 7: "form of YAML",
				8: "form of YAML", 9: "no kind of rule", 10: "behind the closing quote", 11: "network",
			},
			counts: "0 map[]",
		},
	}
}

func samples() []sample {
	return slices.Concat(plainSamples(), dnsmasqSamples(), v2flySamples(), clashSamples())
}

func TestParseListReadsEveryFormat(t *testing.T) {
	for _, s := range samples() {
		t.Run(s.name, func(t *testing.T) {
			for kind, r := range map[string]io.Reader{
				"whole": strings.NewReader(s.text), "bytewise": iotest.OneByteReader(strings.NewReader(s.text)),
				"CRLF": strings.NewReader(strings.ReplaceAll(strings.ReplaceAll(s.text, "\r", ""), "\n", "\r\n")),
			} {
				p, err := ParseList(r, s.format, ListOptions{})
				if err != nil || p.Format != s.format {
					t.Fatalf("%s: format %q, error %v", kind, p.Format, err)
				}
				if got := ruleStrings(p.Rules); !slices.Equal(got, s.want) {
					t.Errorf("%s: rules %q, want %q", kind, got, s.want)
				}
				if got := fmt.Sprint(p.Duplicates, " ", p.Unsupported); got != s.counts {
					t.Errorf("%s: counts %s, want %s", kind, got, s.counts)
				}
				s.checkWrong(t, p)
			}
		})
	}
}

// checkWrong compares the problems with those of the sample.
func (s sample) checkWrong(t *testing.T, p Parsed) {
	t.Helper()
	told := map[int]string{}
	for _, problem := range p.Problems {
		told[problem.Line] += problem.String() + "; "
	}
	for line, want := range s.wrong {
		if !strings.Contains(told[line], want) {
			t.Errorf("line %d is told as %q, want %q", line, told[line], want)
		}
	}
	if len(told) != len(s.wrong) || p.Skipped != len(p.Problems) {
		t.Errorf("problems %v, %d skipped; want those of lines %v", p.Problems, p.Skipped, s.wrong)
	}
}

func TestDetectKnowsEachFormatByItsText(t *testing.T) {
	for _, s := range samples() {
		want := s.format
		if got := Detect([]byte(s.text), ""); got != want {
			t.Errorf("%s is detected as %q", s.name, got)
		}
		p, err := ParseList(strings.NewReader(s.text), FormatAuto, ListOptions{})
		if err != nil || p.Format != want {
			t.Errorf("%s is read as %q, %v", s.name, p.Format, err)
		}
	}
}

func TestDetectGoesByTheMajorityAndTheFileName(t *testing.T) {
	for _, tc := range []struct {
		text, name string
		want       Format
	}{
		{"", "", FormatPlain},
		{"", "list.yaml", FormatClash},
		{"# only a comment\n", "x.yml", FormatClash},
		{"example.org\n", "list.yaml", FormatPlain},
		{"example.org\nexample.net\n0.0.0.0 example.com\n", "", FormatPlain},
		{"0.0.0.0 a.example\n0.0.0.0 b.example\nexample.com\n", "", FormatHosts},
		{"203.0.113.7 # a comment is no name\n", "", FormatPlain},
		{"203.0.113.7\n203.0.113.0/24\n", "", FormatPlain},
		{"domain:example.org\nfull:a.example.org\n", "", FormatPlain},
		{"example.org\nexample.net\nexample.io @cn\n", "", FormatV2fly},
		{"# include:x in a comment\nexample.org # mail a @b\n", "", FormatPlain},
		{"payload:\n", "", FormatClash},
		{"\ufeffpayload:\n", "", FormatClash},
		{"DOMAIN-SUFFIX,example.org\n", "", FormatClash},
		{"server=192.0.2.1\nserver=/example.org/\nserver=/example.net/\n", "", FormatDnsmasq},
		{"example.org\nx=/y\n", "", FormatPlain},
	} {
		if got := Detect([]byte(tc.text), tc.name); got != tc.want {
			t.Errorf("Detect(%q, %q) = %q, want %q", tc.text, tc.name, got, tc.want)
		}
	}
}

func TestParseListRefusesWhatIsNoList(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{"<!DOCTYPE html><html>blocked</html>", "a web page"},
		{"\n  <html>", "a web page"},
		{`{"version":1,"rules":[]}`, "JSON"},
		{"SRS\x00\x01", "binary"},
		{"\xff\xfee\x00", "UTF-16"},
	} {
		for _, f := range append(formats(), FormatAuto) {
			if _, err := ParseList(strings.NewReader(tc.text), f, ListOptions{}); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%q as %s: %v, want %q", tc.text, f, err, tc.want)
			}
		}
	}
	if _, err := ParseList(strings.NewReader("example.org"), "toml", ListOptions{}); err == nil || !strings.Contains(err.Error(), `"toml" is unknown; allowed: auto, plain`) {
		t.Errorf("an unknown format: %v", err)
	}
}

func TestAListWithNothingValidIsAnError(t *testing.T) {
	for _, f := range formats() {
		for text, want := range map[string]string{
			"":                    "nothing in the list is a rule",
			"# nothing\n\n":       "nothing in the list is a rule",
			"!!!\n||a.example^\n": "the first of 2 that are wrong: line 1",
		} {
			p, err := ParseList(strings.NewReader(text), f, ListOptions{})
			if f == FormatDnsmasq && strings.HasPrefix(text, "!") {
				want = "2 entries are of kinds that are not supported"
			}
			if !errors.Is(err, ErrNoRules) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), string(f)) || len(p.Rules) > 0 {
				t.Errorf("%q as %s: %v, want ErrNoRules with %q", text, f, err, want)
			}
		}
	}
}

func TestParseListAsksWhetherARuleIsTaken(t *testing.T) {
	refuse := func(r Rule) error {
		if strings.HasSuffix(r.Name, "example.net") {
			return errors.New("not these")
		}
		return nil
	}
	text := "0.0.0.0 a.example.net b.example.org\n0.0.0.0 c.example.net\n"
	p, err := ParseList(strings.NewReader(text), FormatHosts, ListOptions{Refuse: refuse})
	if err != nil || p.Skipped != 2 || !slices.Equal(ruleStrings(p.Rules), []string{"full:b.example.org"}) {
		t.Fatalf("%+v, %v", p, err)
	}
	if s := p.Problems[0].String(); s != `line 1: rule "full:a.example.net" is refused: not these` {
		t.Errorf("told as %q", s)
	}
}

func TestParseListIsBounded(t *testing.T) {
	for _, tc := range []struct {
		name string
		r    io.Reader
		opts ListOptions
		want string
	}{
		{"endless rules", &counting{}, ListOptions{}, "at most 131072 rules"},
		{"endless line", endless("x"), ListOptions{}, "at most 8388608 bytes"},
		{"endless repetition", endless("example.org\n"), ListOptions{MaxSize: 1 << 20}, "at most 1048576 bytes"},
		{"few rules", strings.NewReader("a.example\nb.example\nc.example\n"), ListOptions{MaxRules: 2}, "line 3: list is too large: at most 2 rules"},
	} {
		_, err := ParseList(tc.r, FormatPlain, tc.opts)
		if !errors.Is(err, ErrListTooLarge) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want ErrListTooLarge with %q", tc.name, err, tc.want)
		}
	}
}

func TestParseListBoundsWhatIsWrong(t *testing.T) {
	p, err := ParseList(strings.NewReader("ok.example\n"+strings.Repeat("!\n", 3*MaxListProblems)), FormatPlain, ListOptions{})
	if err != nil || len(p.Problems) != MaxListProblems+1 || p.Skipped != 3*MaxListProblems {
		t.Errorf("%d problems of %d wrong lines, %v", len(p.Problems), p.Skipped, err)
	}
	if _, err = ParseList(endless("!\n"), FormatPlain, ListOptions{MaxSize: 64 << 20}); err == nil || !strings.Contains(err.Error(), "line 65537: more than 65536 entries are wrong") {
		t.Errorf("endless wrong lines: %v", err)
	}
}

func TestParseListGivesTheReadersError(t *testing.T) {
	broken := errors.New("disk on fire")
	for _, size := range []int{10, 3 * detectSize} {
		r := io.MultiReader(strings.NewReader(strings.Repeat("a.example\n", size/10)), iotest.TimeoutReader(iotest.OneByteReader(strings.NewReader("b.example\n"))))
		if _, err := ParseList(r, FormatAuto, ListOptions{}); !errors.Is(err, iotest.ErrTimeout) {
			t.Errorf("a reader that fails once, after %d bytes, and ends: %v", size, err)
		}
		r = io.MultiReader(strings.NewReader(strings.Repeat("a.example\n", size/10)), iotest.ErrReader(broken))
		if _, err := ParseList(r, FormatAuto, ListOptions{}); !errors.Is(err, broken) {
			t.Errorf("a reader that fails after %d bytes: %v", size, err)
		}
	}
}

// counting is an endless list of different names.
type counting struct {
	n    int
	rest string
}

func (c *counting) Read(p []byte) (int, error) {
	if c.rest == "" {
		c.n++
		c.rest = fmt.Sprintf("n%d.example\n", c.n)
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// folder is a directory whose files can be included.
func folder(files map[string]string) func(string) (io.ReadCloser, error) {
	dir := fstest.MapFS{}
	for name, text := range files {
		dir[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return func(name string) (io.ReadCloser, error) { return dir.Open(name) }
}

func TestIncludeTakesTheFilesOfTheSameFolder(t *testing.T) {
	include := folder(map[string]string{
		"one":       "one.example\ninclude:two\none-cn.example @cn\n",
		"two":       "two.example @cn @ads\ntwo-ads.example @ads\nkeyword:x @ads\n",
		"g-!cn.txt": "three.example\ncom\n",
		"self":      "self.example\ninclude:self\n",
		"loop-a":    "include:loop-b\n",
		"loop-b":    "loop.example\ninclude:loop-a\n",
	})
	for _, tc := range []struct {
		name, text string
		want       []string
		problem    string
		counts     string
	}{
		{"a chain", "a.example\ninclude:one\nz.example\n", []string{"a.example", "one.example", "two.example", "two-ads.example", "one-cn.example", "z.example"}, "", "map[keyword:1]"},
		{"twice", "include:two\ninclude:two\n", []string{"two.example", "two-ads.example"}, "", "map[keyword:2]"},
		{"with an attribute", "a.example\ninclude:one @cn\n", []string{"a.example", "two.example", "one-cn.example"}, "", "map[]"},
		{"without an attribute", "include:one @-CN\n", []string{"one.example", "two-ads.example"}, "", "map[keyword:1]"},
		{"with and without", "a.example\ninclude:two @ads @-cn\n", []string{"a.example", "two-ads.example"}, "", "map[keyword:1]"},
		{"problems name the file", "include:g-!cn.txt\n", []string{"three.example"}, "line 2: in the included file g-!cn.txt: rule \"com\"", "map[]"},
		{"a file that includes itself", "include:self\n", []string{"self.example"}, "must not include themselves", "map[]"},
		{"files that include each other", "include:loop-a\n", []string{"loop.example"}, "must not include themselves", "map[]"},
		{"no such file", "a.example\ninclude:nothing\n", []string{"a.example"}, "include nothing: open nothing", "map[]"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p, err := ParseList(strings.NewReader(tc.text), FormatV2fly, ListOptions{Include: include})
			if err != nil || !slices.Equal(ruleStrings(p.Rules), tc.want) {
				t.Fatalf("rules %q, %v; want %q", ruleStrings(p.Rules), err, tc.want)
			}
			if got := fmt.Sprint(p.Unsupported); got != tc.counts {
				t.Errorf("unsupported %s, want %s", got, tc.counts)
			}
			switch {
			case tc.problem == "" && p.Skipped > 0, tc.problem != "" && (p.Skipped != 1 || !strings.Contains(p.Problems[0].String(), tc.problem)):
				t.Errorf("problems %v, want %q", p.Problems, tc.problem)
			}
		})
	}
}

func TestIncludeRefusesPaths(t *testing.T) {
	opened := false
	include := func(string) (io.ReadCloser, error) { opened = true; return nil, fs.ErrNotExist }
	for _, name := range []string{"../x", "/etc/shadow", "a/b", "..", ".hidden", "", `a\b`, "a%2fb", "x\x00", strings.Repeat("x", 64)} {
		p, err := ParseList(strings.NewReader("a.example\ninclude:"+name+"\n"), FormatV2fly, ListOptions{Include: include})
		if err != nil && !strings.Contains(err.Error(), "binary") {
			t.Errorf("%q: %v", name, err)
		}
		if opened || err == nil && (p.Skipped != 1 || !strings.Contains(p.Problems[0].String(), "same folder")) {
			t.Errorf("%q: opened %v, problems %v", name, opened, p.Problems)
		}
	}
}

func TestIncludesAreBounded(t *testing.T) {
	deep := func(name string) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(name + ".example\ninclude:" + name + "x\n")), nil
	}
	p, err := ParseList(strings.NewReader("include:a\n"), FormatV2fly, ListOptions{Include: deep})
	if err != nil || len(p.Rules) != maxIncludeDepth || !strings.Contains(p.Problems[0].String(), "more than 8 deep") {
		t.Errorf("a deep chain: %d rules, %v, %v", len(p.Rules), p.Problems, err)
	}
	tree := func(name string) (io.ReadCloser, error) {
		text := "a.example\n"
		for i := range 40 * (3 - len(name)) {
			text += fmt.Sprintf("include:%s%c\n", name, 'A'+i%26)
		}
		return io.NopCloser(strings.NewReader(text)), nil
	}
	p, err = ParseList(strings.NewReader("include:a\n"), FormatV2fly, ListOptions{Include: tree})
	if err != nil || p.Duplicates != maxIncludes-1 || !strings.Contains(fmt.Sprint(p.Problems), "too many files") {
		t.Errorf("a wide tree: %d duplicates, %v, %v", p.Duplicates, p.Problems, err)
	}
	big := func(string) (io.ReadCloser, error) { return io.NopCloser(endless("a.example\n")), nil }
	if _, err = ParseList(strings.NewReader("include:a\n"), FormatV2fly, ListOptions{Include: big, MaxSize: 4096}); !errors.Is(err, ErrListTooLarge) {
		t.Errorf("an endless file: %v", err)
	}
	small := func(string) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(strings.Repeat("a.example\n", 100))), nil
	}
	if _, err = ParseList(strings.NewReader(strings.Repeat("include:a\n", 100)), FormatV2fly, ListOptions{Include: small, MaxSize: 4096}); !errors.Is(err, ErrListTooLarge) {
		t.Errorf("many files of 1,000 bytes within 4,096: %v", err)
	}
}

// FuzzParseList: rules are valid, stand once, and read back from a plain list
// of themselves as the same rules; everything told is bounded.
func FuzzParseList(f *testing.F) {
	for i, format := range formats() {
		for _, s := range samples() {
			if s.format == format {
				f.Add(uint8(i), s.text)
			}
		}
	}
	f.Add(uint8(9), "payload:\n- '")
	include := folder(map[string]string{"a": "in.example @cn\ninclude:b @-cn\n", "b": "include:a\nb.example\n"})
	f.Fuzz(func(t *testing.T, n uint8, text string) {
		format := append(formats(), FormatAuto)[int(n)%6]
		p, err := ParseList(strings.NewReader(text), format, ListOptions{Include: include})
		if p.Format == FormatAuto && err == nil || len(p.Problems) > MaxListProblems+1 || len(p.Unsupported) > 40 {
			t.Fatalf("format %q, %d problems, unsupported %v", p.Format, len(p.Problems), p.Unsupported)
		}
		if err == nil {
			readsBack(t, p.Rules)
		}
	})
}

// readsBack says that rules are read from a plain list of themselves.
func readsBack(t *testing.T, rules []Rule) {
	t.Helper()
	again, err := ParseList(strings.NewReader(strings.Join(ruleStrings(rules), "\n")), FormatPlain, ListOptions{})
	if err != nil || again.Duplicates > 0 || again.Skipped > 0 || !slices.Equal(again.Rules, rules) {
		t.Fatalf("rules %v read back as %+v, %v", rules, again, err)
	}
}
