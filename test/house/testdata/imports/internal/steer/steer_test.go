package steer

import (
	_ "github.com/miekg/dns"
	_ "github.com/routerd/routerd/internal/config"
	_ "github.com/routerd/routerd/internal/daemon"
	_ "github.com/routerd/routerd/test/lab"
)
