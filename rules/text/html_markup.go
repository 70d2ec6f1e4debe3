package text

import "bytes"

// maxAttributes is how many attributes of a tag are looked at.
const maxAttributes = 500

// parseStart reads a start tag.
func (z *tokenizer) parseStart(t int) int {
	s, end := t+2, len(z.src)
	for s < end && z.src[s] != '>' && !isHTMLSpace(z.src[s]) {
		s++
	}
	nameEnd := s
	if s = z.skipSpace(s); s == end {
		return t
	}
	z.attrs = z.attrs[:0]
	for z.src[s] != '>' {
		from := s
		for s++; s < end && z.src[s] != '>' && z.src[s] != '=' && !isHTMLSpace(z.src[s]); {
			s++
		}
		if s == end {
			return t
		}
		a := attribute{name: z.src[from:s], value: z.src[from:s]}
		if s = z.skipSpace(s); s == end {
			return t
		}
		if z.src[s] == '=' {
			if s = z.skipSpace(s + 1); s == end {
				return t
			}
			if a.value, s = z.value(s); s < 0 {
				return t
			}
			if s = z.skipSpace(s); s == end {
				return t
			}
		}
		if len(z.attrs) < maxAttributes {
			z.attrs = append(z.attrs, a)
		}
	}
	name := z.src[t+1 : nameEnd]
	z.closePending()
	z.to.start(name, z.attrs)
	for _, l := range literalElements {
		if len(l.name) == len(name) && equalFold(name, l.name) {
			z.literal, z.verbatim = l.name, l.verbatim
		}
	}
	return s + 1
}

// value reads the value of an attribute at s, and gives what comes behind it, -1 where it has no end.
func (z *tokenizer) value(s int) ([]byte, int) {
	switch q := z.src[s]; q {
	case '>':
		return nil, s
	case '"', '\'':
		n := bytes.IndexByte(z.src[s+1:], q)
		if n < 0 {
			return nil, -1
		}
		return z.src[s+1 : s+1+n], s + n + 2
	}
	from := s
	for s < len(z.src) && z.src[s] != '>' && !isHTMLSpace(z.src[s]) {
		s++
	}
	if s == len(z.src) {
		return nil, -1
	}
	return z.src[from:s], s
}

// equalFold reports whether an ASCII name is low, which is in lower case.
func equalFold(name []byte, low string) bool {
	if len(name) != len(low) {
		return false
	}
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != low[i] {
			return false
		}
	}
	return true
}

// parseEnd reads an end tag. What stands in it behind the name does not count.
func (z *tokenizer) parseEnd(t int) int {
	s := t + 2
	if s < len(z.src) && z.src[s] != '>' && !isHTMLSpace(z.src[s]) {
		for s < len(z.src) && z.src[s] != '>' && !isHTMLSpace(z.src[s]) {
			s++
		}
		name := z.src[t+2 : s]
		if s = z.untilClose(s); s == len(z.src) {
			return t
		}
		z.tellEnd(name)
		return s + 1
	}
	if s = z.untilClose(s); s == len(z.src) {
		return t
	}
	z.tellComment(t, s+1)
	return s + 1
}

// untilClose finds the next ">" that does not stand between quotes.
func (z *tokenizer) untilClose(s int) int {
	quote, before := byte(0), byte(' ')
	for ; s < len(z.src); s++ {
		c := z.src[s]
		switch {
		case quote == 0 && c == '>':
			return s
		case c == '"' || c == '\'':
			if c == quote {
				quote = 0
			} else if quote == 0 && (before == ' ' || before == '=') {
				quote = c
			}
		}
		before = c
	}
	return s
}

// parseDeclaration reads what begins with "<!".
func (z *tokenizer) parseDeclaration(t int) int {
	s := t + 2
	switch c := z.at(s); {
	case c == '-':
		if s+1 == len(z.src) {
			return t
		}
		if z.src[s+1] == '-' {
			return z.parseComment(t)
		}
		s++
	case c == '[':
		if next := z.openSection(t); next != noMarkup {
			return next
		}
	case c == '>':
		z.tellComment(t, s+1)
		return s + 1
	case isNameStart(c) && c != '_' && c != ':':
		next := noMarkup
		if next, s = z.doctype(t); next != noMarkup {
			return next
		}
	}
	// Anything else is a comment up to the next ">".
	n := bytes.IndexByte(z.src[min(s, len(z.src)):], '>')
	if n < 0 {
		return t
	}
	z.tellComment(t, s+n+1)
	return s + n + 1
}

// parseComment reads a comment. White space may stand between "--" and ">".
func (z *tokenizer) parseComment(t int) int {
	s := t + 4
	if z.endless {
		n := bytes.IndexByte(z.src[s:], '>')
		if n < 0 {
			return t
		}
		z.tellComment(t, s+n+1)
		return s + n + 1
	}
	for {
		n := bytes.Index(z.src[s:], []byte("--"))
		if n < 0 {
			return t
		}
		s += n
		if e := z.skipSpace(s + 2); z.at(e) == '>' {
			z.tellComment(t, e+1)
			return e + 1
		}
		s++
	}
}

// doctype reads a document type declaration, next being what comes behind it. With noMarkup it is none, and s how far it was
// read.
func (z *tokenizer) doctype(t int) (next, s int) {
	s = t + 3
	for s < len(z.src) && isNameChar(z.src[s]) {
		s++
	}
	name := z.src[t+2 : s]
	if s == len(z.src) {
		return t, s
	}
	if !equalFold(name, "doctype") && !equalFold(name, "entity") {
		return noMarkup, s
	}
	for {
		if s = z.skipSpace(s); s == len(z.src) {
			return t, s
		}
		switch c := z.src[s]; {
		case c == '>':
			z.closePending()
			z.to.declaration(z.src[t : s+1])
			return s + 1, s
		case c == '"' || c == '\'':
			n := bytes.IndexByte(z.src[s+1:], c)
			if n < 0 {
				return t, s
			}
			s += n + 2
		case c == '-':
			if s++; s == len(z.src) {
				return t, s
			}
			if z.src[s] != '-' {
				return noMarkup, s
			}
			n := bytes.Index(z.src[s+1:], []byte("--"))
			if n < 0 {
				return t, s
			}
			s += n + 3
		default:
			for s++; s < len(z.src) && z.src[s] != '>' && !isHTMLSpace(z.src[s]); {
				s++
			}
		}
	}
}

// openSection reads the beginning of a marked section, noMarkup if it is none. What is to be ignored is none: no mail client leaves
// it out, and rules must see it.
func (z *tokenizer) openSection(t int) int {
	kind, named := uint8(sectionNone), false
	s := t + 3
	for {
		s = z.skipSpace(s)
		for isNameStart(z.at(s)) {
			from := s
			for isNameChar(z.at(s)) {
				s++
			}
			if equalFold(z.src[from:s], "ignore") {
				return noMarkup
			}
			kind, named = max(kind, sectionOf(z.src[from:s])), true
			if s = z.skipSpace(s); s == len(z.src) {
				return t
			}
		}
		if z.at(s) != '-' {
			break
		}
		if z.at(s+1) != '-' {
			return noMarkup
		}
		n := bytes.Index(z.src[s+2:], []byte("--"))
		if n < 0 {
			return t
		}
		s += n + 4
	}
	if z.at(s) != '[' || len(z.sections) >= maxSections {
		return noMarkup
	}
	if !named {
		kind = sectionInclude
	}
	z.closePending()
	z.sections = append(z.sections, kind)
	z.section = max(z.section, kind)
	z.verbatim = z.section == sectionCDATA
	return s + 1
}

// maxSections is how deep marked sections may lie in one another.
const maxSections = 100

func sectionOf(name []byte) uint8 {
	switch {
	case equalFold(name, "include"):
		return sectionInclude
	case equalFold(name, "rcdata"):
		return sectionRCDATA
	case equalFold(name, "cdata"):
		return sectionCDATA
	}
	return sectionNone
}
