package upstream

import (
	"fmt"
	"unicode/utf8"
)

// notify appends the parameters about notifications of one recipient (RFC 3461 4.1, 4.2), by its place in the envelope. A
// server without DSN gets none: RFC 3461 5.2.2 has them left out.
func (t *transaction) notify(buf []byte, at int) []byte {
	if t.env.DSN == nil || !t.c.ext.dsn || at >= len(t.env.DSN.Notify) {
		return buf
	}
	n := t.env.DSN.Notify[at]
	if n.When != "" {
		buf = append(append(buf, " NOTIFY="...), n.When...)
	}
	if n.Original == "" {
		return buf
	}
	// RFC 3461 5.2.1 d: the original recipient is handed on as it came.
	buf = append(buf, " ORCPT="...)
	if t.international() {
		return append(buf, n.Original...)
	}
	return appendASCII(buf, n.Original)
}

// appendASCII appends s, with what is not ASCII in it as RFC 6533 3 writes it where SMTPUTF8 is not said
// (utf-8-addr-xtext).
func appendASCII(buf []byte, s string) []byte {
	for _, c := range s {
		if c < utf8.RuneSelf {
			buf = append(buf, byte(c))
		} else {
			buf = fmt.Appendf(buf, "\\x{%02X}", c)
		}
	}
	return buf
}
