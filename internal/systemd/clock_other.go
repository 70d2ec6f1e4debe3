//go:build !linux

package systemd

// monotonic gives 0: only Linux has the manager that asks for it.
func monotonic() int64 { return 0 }
