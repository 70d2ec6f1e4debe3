package upstream

import "fmt"

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
	if n.OriginalType == "" {
		return buf
	}
	buf = append(append(append(buf, " ORCPT="...), n.OriginalType...), ';')
	if n.OriginalType == "utf-8" {
		return appendUTF8Address(buf, n.Original)
	}
	return appendXtext(buf, n.Original)
}

// appendXtext appends s as xtext (RFC 3461 4).
func appendXtext(buf []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; '!' <= c && c <= '~' && c != '+' && c != '=' {
			buf = append(buf, c)
		} else {
			buf = fmt.Appendf(buf, "+%02X", c)
		}
	}
	return buf
}

// appendUTF8Address appends s as utf-8-addr-xtext (RFC 6533 3), which servers without SMTPUTF8 can read too.
func appendUTF8Address(buf []byte, s string) []byte {
	for _, c := range s {
		if '!' <= c && c <= '~' && c != '+' && c != '=' && c != '\\' {
			buf = append(buf, byte(c))
		} else {
			buf = fmt.Appendf(buf, "\\x{%02X}", c)
		}
	}
	return buf
}
