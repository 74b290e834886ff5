module github.com/routerd/routerd

require github.com/cilium/ebpf v0.22.0
