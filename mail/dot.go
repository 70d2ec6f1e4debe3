package mail

import "bytes"

var crlfDot = []byte("\r\n.")

// IndexDot finds the first line of b but the one b begins with that has a dot at its start (RFC 5321 4.5.2): it gives
// the offset of the CRLF before it, -1 if there is none.
//
// It looks for dots, which are rare in encoded content: that is several times as fast as a search for the CRs,
// of which every line has one. Where most dots turn out to stand elsewhere, as in prose, it looks for the CRs after all.
func IndexDot(b []byte) int {
	const misses = 16 // in a row, each within so many octets of the last one that CRs are no more frequent
	const near = 64
	from := 0
	for n := 0; n < misses; {
		i := bytes.IndexByte(b[from:], '.')
		if i < 0 {
			return -1
		}
		at := from + i
		if at >= 2 && b[at-1] == '\n' && b[at-2] == '\r' {
			return at - 2
		}
		if i < near {
			n++
		} else {
			n = 0
		}
		from = at + 1
	}
	from = max(from-2, 0)
	if i := bytes.Index(b[from:], crlfDot); i >= 0 {
		return from + i
	}
	return -1
}
