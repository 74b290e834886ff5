package reach_test

import (
	"slices"
	"strings"

	"github.com/routerd/routerd/internal/catalogue"
	"github.com/routerd/routerd/internal/reach"
	"github.com/routerd/routerd/test/lab"
	"github.com/routerd/routerd/test/lab/interfere"
)

// kind is a kind of service that is checked.
type kind string

const (
	anExchange kind = "https"
	aPlain     kind = "http"
	aPool      kind = "stratum+tcp"
	aPoolTLS   kind = "stratum+ssl"
)

// The targets that bad lines are tried with; cases have others beside.
const (
	exchange = "https://www.okx.com/api/v5/public/time"
	plain    = "http://www.bitfinex.com/"
	pool     = "stratum+tcp://stratum.braiins.com:3333"
	poolTLS  = "stratum+ssl://btcssl-asia.f2pool.com:1300"
	large    = "/bytes/262144"
)

// subject is a service that one case at a time has for itself: interference with
// it touches no other.
type subject struct {
	target string
	name   string // and all below it: what is interfered with
}

// Pools are none of port 443, where the provider's page is.
func subjects() map[kind][]subject {
	return map[kind][]subject{
		anExchange: {
			{exchange, "okx.com"},
			{"https://api.binance.com/api/v3/ping", "binance.com"},
			{"https://api.bybit.com/v5/market/time", "bybit.com"},
			{"https://api.kucoin.com/api/v1/timestamp", "kucoin.com"},
			{"https://api.bitget.com/api/v2/public/time", "bitget.com"},
			{"https://api.mexc.com/api/v3/ping", "mexc.com"},
			{"https://api.coinbase.com/v2/time", "coinbase.com"},
			{"https://api.huobi.pro/v1/common/timestamp", "huobi.pro"},
			{"https://api.gateio.ws/api/v4/spot/time", "gateio.ws"},
			{"https://api.poloniex.com/timestamp", "poloniex.com"},
			{"https://api.phemex.com/public/time", "phemex.com"},
			{"https://api.bitvavo.com/v2/time", "bitvavo.com"},
		},
		aPlain: {
			{plain, "bitfinex.com"},
			{"http://www.kraken.com/", "kraken.com"},
			{"http://www.gemini.com/", "gemini.com"},
			{"http://www.bitstamp.net/", "bitstamp.net"},
		},
		aPool: {
			{pool, "braiins.com"},
			{"stratum+tcp://btc.trustpool.cc:3333", "trustpool.cc"},
			{"stratum+tcp://btc.secpool.com:3333", "secpool.com"},
			{"stratum+tcp://btc.heliospool.com:3333", "heliospool.com"},
			{"stratum+tcp://bs.ultimuspool.com:8888", "ultimuspool.com"},
			{"stratum+tcp://btc.foundryusapool.com:3333", "foundryusapool.com"},
		},
		aPoolTLS: {
			{poolTLS, "f2pool.com"},
			{"stratum+ssl://btc-ssl.viabtc.io:551", "viabtc.io"},
			{"stratum+ssl://btc-eu.spiderpool.com:2310", "spiderpool.com"},
			{"stratum+ssl://btc-ssl.powhashing.com:3333", "powhashing.com"},
			{"stratum+ssl://xmr-eu1.nanopool.org:10343", "nanopool.org"},
			{"stratum+ssl://public-pool.io:4333", "public-pool.io"},
		},
	}
}

// lend gives out subjects, each to one case at a time.
func lend() map[kind]chan subject {
	out := map[kind]chan subject{}
	for k, all := range subjects() {
		out[k] = make(chan subject, len(all))
		for _, s := range all {
			out[k] <- s
		}
	}
	return out
}

// wholeLine are kinds that touch all traffic unless a name is given.
func wholeLine(k interfere.Kind) bool {
	return slices.Contains([]interfere.Kind{interfere.Loss, interfere.Delayed, interfere.WANDown, interfere.DNSRedirect, interfere.WGHandshake}, k)
}

// with gives interferences the subject's name, and certificates its port.
func (s subject) with(all []lab.Interference) []lab.Interference {
	target, _ := catalogue.ParseTarget(s.target)
	out := slices.Clone(all)
	for i := range out {
		if !wholeLine(out[i].Kind) {
			out[i].Names = []string{s.name}
		}
		if out[i].Kind == interfere.TLSCert {
			out[i].Ports = []uint16{target.Port}
		}
	}
	return out
}

// order is that of a check of the subject.
func (s subject) order(patient bool) order {
	o := order{Times: brisk(), Checks: []check{{Target: s.target}}}
	if patient {
		o.Times = reach.Times{}
	}
	if strings.HasPrefix(s.target, "http") {
		o.Checks[0].Large = large
	}
	return o
}
