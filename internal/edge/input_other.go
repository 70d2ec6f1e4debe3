//go:build !(linux || darwin || freebsd)

package edge

// socketReads says that receive may read sockets itself.
const socketReads = false

func (in *input) readable(uintptr) bool { return true }

// await would wait until the socket is readable.
func (in *input) await() error { return nil }

// peek is not called where there are no socketReads.
func (in *input) peek() (int, error) { return 0, nil }

// awaitRecord would wait until a record of TLS is there.
func (in *input) awaitRecord() error { return nil }
