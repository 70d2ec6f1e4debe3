//go:build !unix

package scanner

import (
	"net"
	"time"
)

// glance is how long is waited for what is here already.
const glance = 5 * time.Millisecond

// arrived reads what is here, and waits a little where that is nothing. The caller sets the deadline anew.
func arrived(c net.Conn, b []byte) int {
	_ = c.SetReadDeadline(time.Now().Add(glance))
	n, _ := c.Read(b)
	return n
}
