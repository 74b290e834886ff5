package config

// Default is the settings file of a new installation: valid, commented, without
// a tunnel.
func Default() []byte { return []byte(defaultText) }

const defaultText = `# routerd: which services take which path.
# After a change by hand: routerd validate && routerd reload

config routerd 'main'
	option enabled '1'
	# Networks or devices whose clients are steered.
	list lan 'lan'
	# Network or device of the direct path; without it, that of the default route.
	#option wan 'wan'
	# The router's own connections follow the same rules.
	option own_traffic '1'
	# secure: listed names are looked up through the tunnel; observe: only watch.
	option dns 'secure'
	list resolver 'https://1.1.1.1/dns-query'
	option local_dns '1'
	option ipv6 '1'
	option log_level 'info'

# A tunnel is added in LuCI, or with: routerd tunnel import home FILE
#
#config tunnel 'home'
#	option config '/etc/routerd/home.conf'
#
# or, for an interface that is set up elsewhere:
#
#config tunnel 'other'
#	option type 'interface'
#	option device 'awg0'

# What a destination lists:
#	list service 'binance'              one of the catalogue: routerd catalogue
#	list category 'exchange'            all of exchange, pool, analytics, wallet or management
#	list domain 'example.org'           the name and every name below it
#	list domain 'full:api.example.net'  that name only
#	list address '203.0.113.0/24'
#	list file '/etc/routerd/my.list'    one rule a line
# Policy: tunnel (always a tunnel), auto (direct while that works), direct, block.
# Of two equal rules that of the destination which stands first counts.

# Blocked, not direct, while no tunnel works.
config destination 'exchanges'
	option enabled '1'
	option label 'Exchanges'
	list category 'exchange'
	option policy 'tunnel'
	option fallback 'block'

config destination 'pools'
	option enabled '1'
	option label 'Mining pools'
	list category 'pool'
	option policy 'auto'

config destination 'services'
	option enabled '1'
	option label 'Analytics, wallets, management'
	list category 'analytics'
	list category 'wallet'
	list category 'management'
	option policy 'auto'
`
