//go:build !linux && !darwin && !freebsd

package upstream

import (
	"net"
	"time"
)

// socket would be what a connection stands on; here it can't be asked without waiting.
type socket struct{ bare bool }

func socketOf(net.Conn) *socket { return nil }

func (*socket) peek() (quiet bool) { return false }

func (*socket) write([]byte) int { return 0 }

func (*socket) writeParts(parts [][]byte) [][]byte { return parts }

func (*socket) swap(parts [][]byte) (rest [][]byte, sentAt time.Time, answer []byte, err error) {
	return parts, time.Time{}, nil, nil
}
