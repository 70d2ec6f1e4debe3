package dkim

import "strings"

// Canon is a canonicalisation algorithm (RFC 6376 3.4).
type Canon uint8

// The algorithms. RFC 6376 3.5: simple where a signature names none.
const (
	Simple Canon = iota
	Relaxed
)

// String gives the algorithm's name as c= has it.
func (c Canon) String() string {
	if c == Relaxed {
		return "relaxed"
	}
	return "simple"
}

// ParseCanons reads the value of c= (RFC 6376 3.5): the algorithm for the header, and that for the body behind a
// slash. Without a slash the body's is simple; without a value both are.
func ParseCanons(s string) (header, body Canon, err error) {
	if s = compact(s); s == "" {
		return Simple, Simple, nil
	}
	h, b, two := strings.Cut(s, "/")
	if header, err = parseCanon(h); err != nil || !two {
		return header, Simple, err
	}
	body, err = parseCanon(b)
	return header, body, err
}

func parseCanon(s string) (Canon, error) {
	switch fold(s) { // RFC 6376 2: ABNF is that of RFC 5234, whose literal strings are without regard to case (2.3)
	case "simple":
		return Simple, nil
	case "relaxed":
		return Relaxed, nil
	}
	return Simple, permError("unknown canonicalisation " + clip(s))
}

// AppendField appends the canonical form of a field, with the CRLF at its end, to dst. raw is the whole field as it
// stands in the message; a CRLF that is missing at its end is added.
func AppendField(dst []byte, raw string, c Canon) []byte {
	raw = strings.TrimSuffix(raw, "\r\n")
	colon := strings.IndexByte(raw, ':')
	if c == Simple || colon < 0 {
		// RFC 6376 3.4.1: header fields exactly as they are.
		return append(append(dst, raw...), "\r\n"...)
	}
	// RFC 6376 3.4.2: the name in lower case, no WSP before the colon …
	for _, ch := range []byte(strings.TrimRight(raw[:colon], " \t")) {
		dst = append(dst, lower(ch))
	}
	dst = append(dst, ':')
	return append(appendRelaxed(dst, raw[colon+1:]), "\r\n"...)
}

// appendRelaxed appends a field's body unfolded, each run of WSP as one SP, none at either end.
func appendRelaxed(dst []byte, s string) []byte {
	start, blank := len(dst), false
	for i := 0; i < len(s); {
		switch ch := s[i]; {
		case ch == ' ' || ch == '\t':
			blank = true
			i++
			continue
		case ch == '\r' && i+1 < len(s) && s[i+1] == '\n':
			// RFC 6376 3.4.2: lines are unfolded, which removes the CRLF only.
			i += 2
			continue
		}
		if blank && len(dst) > start {
			dst = append(dst, ' ')
		}
		blank = false
		end := i + 1
		for end < len(s) && s[end] != ' ' && s[end] != '\t' && s[end] != '\r' {
			end++
		}
		dst = append(dst, s[i:end]...)
		i = end
	}
	return dst
}
