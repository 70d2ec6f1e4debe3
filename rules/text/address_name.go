package text

import "bytes"

// settle decides what of an entry is an address and what a name.
func (e entry) settle() parsedAddress {
	var p parsedAddress
	address := e.address
	if e.angle {
		if address = dropComments(address); !isMailbox(address) {
			address = nil
		}
	}
	if !wellQuoted(address) {
		address = nil
	}
	name, has := []byte(nil), false
	if e.name != nil {
		name, has = unquoteName(e.name), true
		switch {
		case address == nil && isMailbox(name) && wellQuoted(name) && hasValidHost(name):
			address, has = name, false
		case address != nil && bytes.Equal(name, address), len(name) == 0:
			has = false
		}
	}
	if !has && e.comment != nil {
		name, has = e.comment, true
	}
	if address != nil {
		p.address, p.hasAddress = oneAt(address), true
	}
	if has {
		p.name, p.hasName = name, true
	}
	return p
}

// wellQuoted refuses addresses with an empty quoted local part, or a lone quote.
func wellQuoted(b []byte) bool {
	return b != nil && !bytes.HasPrefix(b, []byte(`""@`)) && bytes.Count(b, []byte(`"`)) != 1
}

// oneAt cuts an address at its second "@".
func oneAt(b []byte) []byte {
	at := bytes.IndexByte(b, '@')
	if at < 0 {
		return b
	}
	if i := bytes.IndexByte(b[at+1:], '@'); i >= 0 {
		return b[:at+1+i]
	}
	return b
}

func hasValidHost(b []byte) bool {
	_, host, ok := bytes.Cut(oneAt(b), []byte("@"))
	return ok && IsHostName(string(host))
}

// dropComments takes comments out.
func dropComments(b []byte) []byte {
	if bytes.IndexByte(b, '(') < 0 {
		return b
	}
	out := make([]byte, 0, len(b))
	budget := maxAddressSteps
	for i := 0; i < len(b); {
		if b[i] == '(' && budget > 0 {
			if end := comment(b, i, true); end > 0 {
				i = end
				continue
			}
			budget -= len(b) - i
		}
		out = append(out, b[i])
		i++
	}
	return out
}

// unquoteName takes quotes, backslashes in them, and comments outside of them from a name.
func unquoteName(b []byte) []byte {
	if bytes.IndexByte(b, '"') < 0 {
		return dropComments(b)
	}
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); {
		if b[i] != '"' {
			end := bytes.IndexByte(b[i:], '"')
			if end < 0 {
				end = len(b) - i
			}
			out = append(out, dropComments(b[i:i+end])...)
			i += end
			continue
		}
		end := quotedText(b, i, true)
		if end < 0 {
			i++
			continue
		}
		for _, c := range b[i+1 : end-1] {
			if c != '\\' {
				out = append(out, c)
			}
		}
		i = end
	}
	return out
}
