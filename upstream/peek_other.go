//go:build !linux && !darwin && !freebsd

package upstream

import "net"

func peek(net.Conn) (quiet, ok bool) { return false, false }
