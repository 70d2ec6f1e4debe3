package scanner

import "strings"

// Clipped gives at most so many octets of a text that a program outside or a sender has a say in, and an ellipsis behind them
// where that is not all.
func Clipped(s string, octets int) string {
	if len(s) > octets {
		s = strings.ToValidUTF8(s[:octets], "") + "…"
	}
	return s
}
