module github.com/routerd/routerd/tools

require (
	github.com/cilium/ebpf v0.22.0 // indirect
)
