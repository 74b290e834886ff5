// Package catalogue holds the built-in services, the syntax of rules, the list
// formats and the matcher over names. It knows nothing of the kernel.
package catalogue

import "net/netip"

// Category groups services.
type Category string

// The categories of the catalogue.
const (
	CategoryExchange   Category = "exchange"
	CategoryPool       Category = "pool"
	CategoryAnalytics  Category = "analytics"
	CategoryWallet     Category = "wallet"
	CategoryManagement Category = "management"
)

// RuleKind tells how a Rule matches.
type RuleKind uint8

// The kinds of Rule.
const (
	RuleSuffix  RuleKind = iota + 1 // the name and every name below it
	RuleFull                        // that name only
	RuleAddress                     // an address or network
)

// Rule is one thing that a destination lists. The zero value is not valid.
type Rule struct {
	Kind   RuleKind
	Name   string       // RuleSuffix, RuleFull: lower case, A-labels, no dot at the end
	Prefix netip.Prefix // RuleAddress: masked; an address is a /32 or /128
}
