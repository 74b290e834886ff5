// Package ebpf is the data plane: it loads the tc programs of folder bpf, keeps
// them attached and their maps filled, and reads what they learned. It is the
// only user of cilium/ebpf, and knows neither settings nor checks.
//
// Everything is pinned below one directory of a bpffs. Programs, links and maps
// work on while no process has them open; the next one adopts the maps, after
// checking that layout and version agree, and swaps the programs in place.
//
// Integers cross the boundary in host byte order, addresses in network order;
// the layouts are those of bpf/abi.h.
package ebpf

//go:generate go tool -modfile=../tools/go.mod bpf2go -target bpfel,bpfeb -go-package ebpf -type rd_known -type rd_grant_key -type rd_rule -type rd_target -type rd_clients -type rd_prefix -type rd_flow_key -type rd_flow -type rd_count_key -type rd_count -type rd_health -type rd_config -type rd_event -type rd_stat -type rd_resolver -type rd_query_key -type rd_asked -type rd_addr bpf bpf/routerd.bpf.c -- -O2 -g -Wall -Werror -mcpu=v3 -Ibpf/include
//go:generate llvm-strip --strip-debug --remove-section=.BTF.ext --remove-section=.rel.BTF.ext bpf_bpfel.o bpf_bpfeb.o
//go:generate go run ./image bpf
