module github.com/routerd/routerd/tools

require github.com/cilium/ebpf v0.21.0 // indirect
