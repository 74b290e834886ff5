package lab

// Status is a lab at a glance.
type Status struct {
	Name     string       `json:"name"`
	Firewall Firewall     `json:"firewall"`
	Attached bool         `json:"attached"` // ends with the process that raised it
	Hosts    []HostStatus `json:"hosts"`
}

// HostStatus is one host of a Status.
type HostStatus struct {
	Name      string   `json:"name"`
	PID       int      `json:"pid"` // of its first process, as the machine sees it
	Running   bool     `json:"running"`
	Addresses []string `json:"addresses"`
}

// Status says what the lab is and whether its hosts run.
func (l *Lab) Status() Status {
	s := Status{Name: l.Name(), Firewall: l.state.Options.Firewall, Attached: l.state.Attached}
	for _, name := range Hosts() {
		p := l.state.Hosts[name]
		h := HostStatus{Name: name, PID: p.PID, Running: p.alive(), Addresses: []string{}}
		for _, d := range devices() {
			if d.host != name {
				continue
			}
			for _, a := range d.addresses {
				h.Addresses = append(h.Addresses, addressOf(a))
			}
		}
		s.Hosts = append(s.Hosts, h)
	}
	return s
}
