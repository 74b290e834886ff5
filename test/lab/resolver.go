package lab

import (
	"fmt"
	"strings"
)

// unboundConfig is a resolver that answers from the lab's root zone; listen is
// more lines of its section "server".
func unboundConfig(listen string) string {
	return fmt.Sprintf(`server:
	username: ""
	chroot: ""
	directory: "%[2]s"
	pidfile: "%[2]s/unbound.pid"
	use-syslog: no
	logfile: ""
	do-daemonize: no
	num-threads: 1
%[1]s	access-control: 0.0.0.0/0 allow
	access-control: ::/0 allow
	module-config: "iterator"
	edns-buffer-size: 4096
	max-udp-size: 4096
	incoming-num-tcp: 200
	outgoing-range: 128
	num-queries-per-thread: 4096
	so-reuseport: no
	do-not-query-localhost: no
	hide-identity: yes
	hide-version: yes
	rrset-roundrobin: no
	minimal-responses: yes
remote-control:
	control-enable: no
auth-zone:
	name: "."
	zonefile: "%[2]s/root.zone"
	for-downstream: no
	for-upstream: yes
	fallback-enabled: no
`, listen, runDir)
}

// publicListen has the public resolver serve UDP, TCP, DoT and DoH over both
// families.
func publicListen() string {
	return fmt.Sprintf(`	interface: %[1]s@53
	interface: %[2]s@53
	interface: %[1]s@853
	interface: %[2]s@853
	interface: %[1]s@443
	interface: %[2]s@443
	tls-port: 853
	https-port: 443
	http-endpoint: "/dns-query"
	tls-service-key: "%[3]s/key.pem"
	tls-service-pem: "%[3]s/resolver.crt"
`, Resolver4, Resolver6, runDir)
}

// providerListen has the provider's resolver serve UDP and TCP.
func providerListen() string {
	return fmt.Sprintf("\tinterface: %s@53\n\tinterface: %s@53\n\tinterface: %s\n",
		ISPResolver4, ISPResolver6, strings.Replace(providerResolver, ":", "@", 1))
}

// providerResolver is where the provider's own programs ask its resolver.
const providerResolver = "127.0.0.1:53"

// dnsmasqConfig is what OpenWrt's init script writes, less DHCP. The bound of
// forwarded queries is raised: a burst test asks more at once than a household.
func (o Options) dnsmasqConfig() string {
	four, six := Resolver4, Resolver6
	if o.DNS == ISPDNS {
		four, six = ISPResolver4, ISPResolver6
	}
	return fmt.Sprintf(`user=root
pid-file=/run/dnsmasq.pid
no-resolv
server=%s
server=%s
interface=%s
bind-dynamic
domain-needed
bogus-priv
localise-queries
expand-hosts
stop-dns-rebind
rebind-localhost-ok
local=/lan/
domain=lan
cache-size=1000
edns-packet-max=1232
dns-forward-max=1500
`, four, six, LANDevice)
}
