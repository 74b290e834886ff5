// Package netcfg is a sample.
package netcfg

import _ "github.com/cilium/ebpf/link"
import _ "github.com/routerd/routerd/internal/config"
import _ "testing"
import _ "github.com/vishvananda/netlink/nl"
import _ "github.com/routerd/routerd/internal/owned"
