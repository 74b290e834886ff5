package steer

import (
	clock "time"

	"github.com/routerd/routerd/internal/config"
	"github.com/routerd/routerd/internal/tunnel"
	"github.com/vishvananda/netlink"
)

func now() clock.Time { return clock.Now() }
