package tunnel

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxFaults ends the reading of a file that is not a wg-quick file at all.
const maxFaults = 20

// ParseQuick reads a wg-quick file. It reads up to 64 KiB and reports every
// fault it finds, as Faults; nothing in a fault is a key. Options that would
// run commands are refused, those that routerd replaces by its own doing (DNS,
// Table, FwMark) are accepted and leave a Note.
func ParseQuick(r io.Reader) (Settings, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxFileSize+1))
	if err != nil {
		return Settings{}, fmt.Errorf("read wg-quick file: %w", err)
	}
	if len(data) > maxFileSize {
		return Settings{}, Faults{{Text: fmt.Sprintf("longer than %d KiB: this is not a wg-quick file", maxFileSize>>10)}}
	}
	// Windows' editors put a byte order mark in front.
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	if bytes.IndexByte(data, 0) >= 0 || !utf8.Valid(data) {
		return Settings{}, Faults{{Text: "is not text: save the file as plain text (UTF-8)"}}
	}
	p := quickParser{seen: map[string]int{}}
	p.read(data)
	if len(p.faults) == 0 {
		p.faults = p.finish()
	}
	if len(p.faults) > 0 {
		return Settings{}, p.faults.err()
	}
	return p.settings, nil
}

// section is where in a file a line stands.
type section uint8

const (
	sectionNone section = iota
	sectionInterface
	sectionPeer
	sectionUnknown // its lines are not looked at, the header is the fault
)

// quickParser holds what is known after some lines.
type quickParser struct {
	settings  Settings
	faults    Faults
	section   section
	line      int
	seen      map[string]int // line of each option of the section
	iface     int            // line of [Interface]
	peers     []int          // lines of [Peer], one for each of settings.Peers
	keepalive []bool         // whether the peer names one
}

// quickOption decodes one value into the settings.
type quickOption struct {
	name   string // as wg-quick spells it
	list   bool   // may come more than once, values separated by commas
	secret bool   // the value is never shown
	decode func(p *quickParser, value string) error
}

// interfaceOptions are those of [Interface] that count, by name in lower case.
func interfaceOptions() map[string]quickOption {
	return map[string]quickOption{
		"privatekey": {name: "PrivateKey", secret: true, decode: (*quickParser).privateKey},
		"address":    {name: "Address", list: true, decode: (*quickParser).address},
		"mtu":        {name: "MTU", decode: (*quickParser).mtu},
		"listenport": {name: "ListenPort", decode: (*quickParser).listenPort},
		"dns":        {name: "DNS", list: true, decode: (*quickParser).dns},
		"table":      {name: "Table", decode: ignored("Table", "routerd keeps tables of its own and sends only what you list into the tunnel")},
		"fwmark":     {name: "FwMark", decode: ignored("FwMark", "routerd sets its own mark, so that the tunnel's packets go direct")},
		"preup":      {name: "PreUp", secret: true, decode: (*quickParser).hook},
		"postup":     {name: "PostUp", secret: true, decode: (*quickParser).hook},
		"predown":    {name: "PreDown", secret: true, decode: (*quickParser).hook},
		"postdown":   {name: "PostDown", secret: true, decode: (*quickParser).hook},
		"saveconfig": {name: "SaveConfig", decode: (*quickParser).saveConfig},
	}
}

// peerOptions are those of [Peer], by name in lower case.
func peerOptions() map[string]quickOption {
	return map[string]quickOption{
		"publickey":           {name: "PublicKey", secret: true, decode: (*quickParser).publicKey},
		"presharedkey":        {name: "PresharedKey", secret: true, decode: (*quickParser).presharedKey},
		"allowedips":          {name: "AllowedIPs", list: true, decode: (*quickParser).allowedIPs},
		"endpoint":            {name: "Endpoint", decode: (*quickParser).endpoint},
		"persistentkeepalive": {name: "PersistentKeepalive", decode: (*quickParser).persistentKeepalive},
	}
}

// amneziaOptions disguise WireGuard's packets; neither the kernel nor
// wireguard-go knows them.
func amneziaOptions() []string {
	return []string{
		"jc", "jmin", "jmax", "s1", "s2", "s3", "s4", "h1", "h2", "h3", "h4",
		"i1", "i2", "i3", "i4", "i5", "j1", "j2", "j3", "itime",
	}
}

func (p *quickParser) read(data []byte) {
	sc := bufio.NewScanner(bytes.NewReader(data))
	sc.Buffer(nil, maxFileSize+1)
	for sc.Scan() && len(p.faults) < maxFaults {
		p.line++
		text, _, _ := strings.Cut(sc.Text(), "#")
		text = strings.TrimSpace(text)
		switch {
		case text == "":
		case text[0] == '[':
			p.header(text)
		default:
			p.setting(text)
		}
	}
}

func (p *quickParser) fault(option, value, text string) {
	p.faults = append(p.faults, &Fault{Line: p.line, Option: option, Value: value, Text: text})
}

func (p *quickParser) header(text string) {
	clear(p.seen)
	switch strings.ToLower(text) {
	case "[interface]":
		p.section = sectionInterface
		if p.iface != 0 {
			p.fault("", "", fmt.Sprintf("a second [Interface]; the first is on line %d: one file is one tunnel", p.iface))
			return
		}
		p.iface = p.line
	case "[peer]":
		p.section = sectionPeer
		if len(p.peers) == maxPeers {
			p.fault("", "", fmt.Sprintf("more than %d peers", maxPeers))
		}
		p.settings.Peers = append(p.settings.Peers, Peer{})
		p.peers = append(p.peers, p.line)
		p.keepalive = append(p.keepalive, false)
	default:
		p.section = sectionUnknown
		p.fault("", "", fmt.Sprintf("unknown section '%s': allowed are [Interface] and [Peer]", shown(text)))
	}
}

func (p *quickParser) setting(text string) {
	name, value, ok := strings.Cut(text, "=")
	name, value = strings.TrimSpace(name), strings.TrimSpace(value)
	switch {
	case !ok || name == "":
		p.fault("", "", "not a setting: a line is OPTION = VALUE, a [section] or a # comment")
	case p.section == sectionNone:
		p.fault(shown(name), "", "stands before the first section: put [Interface] above it")
	case p.section != sectionUnknown:
		p.option(name, value)
	}
}

func (p *quickParser) option(name, value string) {
	lower := strings.ToLower(name)
	if slices.Contains(amneziaOptions(), lower) {
		p.fault(shown(name), "", "is an option of AmneziaWG, which routerd does not speak: create the interface "+
			"with AmneziaWG's own tools and use it with option type 'interface' and option device")
		return
	}
	options, where := interfaceOptions(), "[Interface]"
	if p.section == sectionPeer {
		options, where = peerOptions(), "[Peer]"
	}
	o, ok := options[lower]
	if !ok {
		p.fault(shown(name), "", fmt.Sprintf("unknown in %s: allowed are %s", where, optionNames(options)))
		return
	}
	if first := p.seen[lower]; first != 0 && !o.list && !o.secret {
		p.fault(o.name, "", fmt.Sprintf("stands twice, on line %d too: keep one", first))
		return
	}
	p.seen[lower] = p.line
	p.decode(o, value)
}

func (p *quickParser) decode(o quickOption, value string) {
	values := []string{value}
	if o.list {
		values = strings.Split(value, ",")
	}
	for _, v := range values {
		v = strings.TrimSpace(v)
		if v == "" && o.list && len(values) > 1 {
			continue // a comma too many does no harm
		}
		if err := o.decode(p, v); err != nil {
			if o.secret {
				v = ""
			}
			p.fault(o.name, shown(v), err.Error())
			return
		}
	}
}

// optionNames lists options for a message, those that only get refused left out.
func optionNames(options map[string]quickOption) string {
	var names []string
	for lower, o := range options {
		if !strings.HasPrefix(lower, "pre") && !strings.HasPrefix(lower, "post") || lower == "presharedkey" {
			names = append(names, o.name)
		}
	}
	slices.Sort(names)
	return strings.Join(slices.DeleteFunc(names, func(n string) bool { return n == "SaveConfig" }), ", ")
}

// note remembers a remark, once a line.
func (p *quickParser) note(option, text string) {
	if n := len(p.settings.Notes); n > 0 && p.settings.Notes[n-1].Line == p.line {
		return
	}
	p.settings.Notes = append(p.settings.Notes, Note{Line: p.line, Option: option, Text: text})
}

func (p *quickParser) peer() *Peer { return &p.settings.Peers[len(p.settings.Peers)-1] }
