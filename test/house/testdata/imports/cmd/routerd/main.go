// Command routerd is a sample.
package main

import _ "github.com/routerd/routerd/internal/daemon"
