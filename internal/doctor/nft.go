package doctor

import (
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Only names are asked of nftables here, and only read: three dumps over
// nfnetlink (linux/netfilter/nf_tables.h) instead of a library that edits.

// nft's attributes that this package reads.
const (
	tableName      = 1 // NFTA_TABLE_NAME
	chainTable     = 1 // NFTA_CHAIN_TABLE
	chainName      = 3 // NFTA_CHAIN_NAME
	flowtableTable = 1 // NFTA_FLOWTABLE_TABLE
	flowtableName  = 2 // NFTA_FLOWTABLE_NAME
)

// nftObject is one table, chain or flowtable of a dump.
type nftObject struct {
	family uint8
	attrs  map[uint16]string
}

// gatherTables lists the tables of every family with their chains' and
// flowtables' names.
func gatherTables() ([]nftTable, error) {
	tables, err := dumpNFT(unix.NFT_MSG_GETTABLE)
	if err != nil {
		return nil, fmt.Errorf("list nftables' tables: %w", err)
	}
	chains, err := dumpNFT(unix.NFT_MSG_GETCHAIN)
	if err != nil {
		return nil, fmt.Errorf("list nftables' chains: %w", err)
	}
	// A kernel without flowtables refuses the question: none, then.
	flowtables, _ := dumpNFT(unix.NFT_MSG_GETFLOWTABLE)
	out := make([]nftTable, 0, len(tables))
	for _, t := range tables {
		name := t.attrs[tableName]
		out = append(out, nftTable{
			name:       name,
			chains:     namesOf(chains, t.family, chainTable, name, chainName),
			flowtables: namesOf(flowtables, t.family, flowtableTable, name, flowtableName),
		})
	}
	return out, nil
}

// namesOf picks the names of the objects that belong to one table.
func namesOf(objects []nftObject, family uint8, tableAttr uint16, table string, nameAttr uint16) []string {
	var out []string
	for _, o := range objects {
		if o.family == family && o.attrs[tableAttr] == table {
			out = append(out, o.attrs[nameAttr])
		}
	}
	return out
}

func dumpNFT(message int) ([]nftObject, error) {
	req := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_NFTABLES<<8|message, unix.NLM_F_DUMP)
	req.AddData(&nl.Nfgenmsg{NfgenFamily: unix.AF_UNSPEC, Version: nl.NFNETLINK_V0})
	messages, err := req.Execute(unix.NETLINK_NETFILTER, 0)
	if err != nil {
		return nil, err
	}
	out := make([]nftObject, 0, len(messages))
	for _, m := range messages {
		if len(m) < nl.SizeofNfgenmsg {
			continue
		}
		attrs, err := nl.ParseRouteAttr(m[nl.SizeofNfgenmsg:])
		if err != nil {
			return nil, fmt.Errorf("parse nftables' answer: %w", err)
		}
		o := nftObject{family: m[0], attrs: map[uint16]string{}}
		for _, attr := range attrs {
			o.attrs[attr.Attr.Type] = unix.ByteSliceToString(attr.Value)
		}
		out = append(out, o)
	}
	return out, nil
}
