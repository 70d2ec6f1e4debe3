package spf

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// template is a macro-string (RFC 7208 7.1) that has been parsed.
type template struct {
	pieces []piece
	// local says that the sender's local part goes in (RFC 8616 4).
	local bool
}

// piece is a run of literal text, or a macro.
type piece struct {
	literal    string
	letter     byte // lower case; 0 for literal text
	parts      int  // how many right-hand parts; 0 for all
	reverse    bool
	delimiters string // "" where the value is not split
	escape     bool   // the letter is upper case: URL-escape
}

// domainLetters stand for something anywhere, textLetters in the text of an explanation only.
const (
	domainLetters = "slodipvh"
	textLetters   = domainLetters + "crt"
	delimiters    = ".-+,/_="
	// partsLimit is where the number of parts saturates: no value has more.
	partsLimit = 1 << 16
	// macroLimit bounds the macros of one macro-string. A name has 127 labels at most, and macros may come to nothing:
	// without a bound a hostile record would make us expand thousands for one look-up.
	macroLimit = 256
)

// parseDomainSpec reads a domain-spec: a macro-string that ends with a macro, or with a dot and a toplabel.
func parseDomainSpec(s string) (*template, error) {
	t, tail, err := parseMacros(s, domainLetters, '!')
	if err != nil {
		return nil, err
	}
	if tail == "" {
		if s == "" {
			return nil, errors.New("has no domain")
		}
		return t, nil // domain-end = macro-expand
	}
	name := strings.TrimSuffix(tail, ".")
	dot := strings.LastIndexByte(name, '.')
	if dot < 0 || !isTopLabel(name[dot+1:]) {
		return nil, errors.New("does not end like a domain")
	}
	return t, nil
}

// parseText reads an explain-string where blanks are allowed, and else the value of an unknown modifier.
func parseText(s string, blanks bool) (*template, error) {
	lowest := byte('!')
	if blanks {
		lowest = ' '
	}
	t, _, err := parseMacros(s, textLetters, lowest)
	return t, err
}

// isTopLabel: letters, digits and hyphens, no hyphen at an end, and not of digits alone.
func isTopLabel(s string) bool {
	for i := range len(s) {
		if !isAlpha(s[i]) && !isDigit(s[i]) && s[i] != '-' {
			return false
		}
	}
	return s != "" && s[0] != '-' && s[len(s)-1] != '-' && !isDigits(s)
}

// parseMacros reads a macro-string of octets from lowest to "~", and gives the literal text behind its last macro
// as well.
func parseMacros(s, letters string, lowest byte) (t *template, tail string, err error) {
	t = new(template)
	if strings.IndexByte(s, '%') < 0 && isPlain(s, lowest) {
		t.pieces = []piece{{literal: s}}
		return t, s, nil
	}
	var text strings.Builder
	macros := 0
	flush := func() {
		if text.Len() > 0 {
			t.pieces = append(t.pieces, piece{literal: text.String()})
			text.Reset()
		}
	}
	last := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < lowest || c > '~' {
			return nil, "", fmt.Errorf("octet %#02x is not allowed", c)
		}
		if c != '%' {
			text.WriteByte(c)
			i++
			continue
		}
		var next byte
		if i+1 < len(s) {
			next = s[i+1]
		}
		switch next {
		case '%':
			text.WriteByte('%')
			i += 2
		case '_':
			text.WriteByte(' ')
			i += 2
		case '-':
			text.WriteString("%20")
			i += 2
		case '{':
			p, n, err := parseMacro(s[i+2:], letters)
			if err != nil {
				return nil, "", err
			}
			if macros++; macros > macroLimit {
				return nil, "", fmt.Errorf("more than %d macros", macroLimit)
			}
			flush()
			t.pieces = append(t.pieces, p)
			t.local = t.local || p.letter == 'l' || p.letter == 's'
			i += 2 + n
		default:
			// RFC 7208 7.3: a syntax error.
			return nil, "", errors.New(`"%" begins no macro`)
		}
		last = i
	}
	flush()
	return t, s[last:], nil
}

func isPlain(s string, lowest byte) bool {
	for i := range len(s) {
		if s[i] < lowest || s[i] > '~' {
			return false
		}
	}
	return true
}

// parseMacro reads a macro from its letter to its closing brace, and gives its length.
func parseMacro(s, letters string) (p piece, n int, err error) {
	end := strings.IndexByte(s, '}')
	if end < 1 {
		return p, 0, errors.New("a macro has no end")
	}
	body := s[:end]
	p.letter = body[0] | 0x20
	p.escape = body[0] < 'a'
	if !isAlpha(body[0]) || strings.IndexByte(letters, p.letter) < 0 {
		return p, 0, fmt.Errorf("macro letter %q is unknown, or not allowed here", body[0])
	}
	body = body[1:]
	hasParts := body != "" && isDigit(body[0])
	for ; body != "" && isDigit(body[0]); body = body[1:] {
		p.parts = min(p.parts*10+int(body[0]-'0'), partsLimit)
	}
	if hasParts && p.parts == 0 {
		return p, 0, errors.New("a macro keeps 0 parts") // RFC 7208 7.3: MUST be nonzero
	}
	if body != "" && body[0]|0x20 == 'r' {
		p.reverse = true
		body = body[1:]
	}
	for i := range len(body) {
		if strings.IndexByte(delimiters, body[i]) < 0 {
			return p, 0, fmt.Errorf("%q delimits nothing", body[i])
		}
	}
	p.delimiters = body
	if body == "" && (p.reverse || hasParts) {
		p.delimiters = "."
	}
	return p, end + 1, nil
}

// transform makes what stands in the text of a macro's value (RFC 7208 7.3).
func (p piece) transform(value string) string {
	if p.delimiters != "" {
		// Empty parts are parts as well.
		parts := make([]string, 0, 8)
		start := 0
		for i := range len(value) {
			if strings.IndexByte(p.delimiters, value[i]) >= 0 {
				parts = append(parts, value[start:i])
				start = i + 1
			}
		}
		parts = append(parts, value[start:])
		if p.reverse {
			slices.Reverse(parts)
		}
		if p.parts > 0 && p.parts < len(parts) {
			parts = parts[len(parts)-p.parts:]
		}
		value = strings.Join(parts, ".")
	}
	if p.escape {
		return urlEscape(value)
	}
	return value
}

// urlEscape escapes all that is not unreserved (RFC 3986 2.3).
func urlEscape(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; isAlpha(c) || isDigit(c) || c == '-' || c == '.' || c == '_' || c == '~' {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
	return b.String()
}

// expandText expands from the left, and stops where limit octets are reached: the rest is not looked at.
func (t *template) expandText(value func(letter byte) string, limit int) string {
	var b strings.Builder
	for _, p := range t.pieces {
		if b.Len() > limit {
			break
		}
		if p.letter == 0 {
			b.WriteString(p.literal)
		} else {
			b.WriteString(p.transform(value(p.letter)))
		}
	}
	return b.String()
}

// nameLimit is the greatest length of a domain name, in octets, without a dot at its end.
const nameLimit = 253

// expandName expands to a domain name without a dot at its end. It goes from the right: of a name that is too
// long labels are cut off at the left (RFC 7208 7.3), so what stands further left need not be known.
func (t *template) expandName(value func(letter byte) string) string {
	const enough = nameLimit + len(".") + len(".") // a dot in front, and one at the end
	var reversed []string
	length := 0
	for i := len(t.pieces) - 1; i >= 0 && length < enough; i-- {
		p := t.pieces[i]
		text := p.literal
		if p.letter != 0 {
			text = p.transform(value(p.letter))
		}
		reversed = append(reversed, text)
		length += len(text)
	}
	slices.Reverse(reversed)
	return fit(strings.TrimSuffix(strings.Join(reversed, ""), "."))
}

// fit cuts labels off at the left until the name is short enough.
func fit(name string) string {
	for len(name) > nameLimit {
		at := strings.IndexByte(name[len(name)-nameLimit-1:], '.')
		if at < 0 {
			return "" // one label that is longer than any name
		}
		name = name[len(name)-nameLimit-1+at+1:]
	}
	return name
}
