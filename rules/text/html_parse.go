package text

import "bytes"

// The tokenizer reads HTML as Perl's HTML::Parser does, which is what SpamAssassin renders with: it knows nothing of which
// element may stand where, takes for text what is no tag, and knows marked sections. HTML5 (13.2) reads some of it in
// another way; the point here is to see what rules were written for.

// tokens is what the tokenizer tells.
type tokens interface {
	start(name []byte, attrs []attribute)
	end(name []byte)
	text(b []byte, verbatim bool)
	comment(b []byte)
	declaration(b []byte)
}

// attribute is one of a tag: its name and its value as they stand, without quotes. One without a value has its name for it.
type attribute struct{ name, value []byte }

// tokenizer reads src, from where it has come to.
type tokenizer struct {
	src      []byte
	to       tokens
	literal  string  // the element in which no tag but its end is one
	verbatim bool    // there are no character references here
	sections []uint8 // open marked sections
	section  uint8   // the strongest of them
	endless  bool    // a comment ends at the next ">"
	pending  string  // the end tag to be told before the next tag
	unended  [7]bool // of the literal elements, those of which no end tag comes any more
	attrs    []attribute
}

// Kinds of marked sections; the greater one counts.
const (
	sectionNone = iota
	sectionInclude
	sectionRCDATA
	sectionCDATA
)

// literalElements are those in which no tag but their end is one; verbatim are those without character references.
var literalElements = []struct {
	name     string
	verbatim bool
}{{"script", true}, {"style", true}, {"xmp", true}, {"iframe", true}, {"plaintext", true}, {"title", false}, {"textarea", false}}

func literalIndex(name string) int {
	for i, l := range literalElements {
		if l.name == name {
			return i
		}
	}
	return 0
}

// isNameStart reports whether an octet behind "<" begins a tag.
func isNameStart(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_' || c == ':'
}

// isNameChar reports whether an octet goes on with the name of a declaration.
func isNameChar(c byte) bool {
	return isNameStart(c) || '0' <= c && c <= '9' || c == '.' || c == '-'
}

func isHTMLSpace(c byte) bool { return spaceClass[c] != noSpace }

// at gives an octet of src, 0 behind its end.
func (z *tokenizer) at(i int) byte {
	if i < len(z.src) {
		return z.src[i]
	}
	return 0
}

func (z *tokenizer) skipSpace(i int) int {
	for i < len(z.src) && isHTMLSpace(z.src[i]) {
		i++
	}
	return i
}

// run reads src whole. unclosed names an element that is to be closed behind its end, if it is still open there.
func (z *tokenizer) run(unclosed func() string) {
	at := z.parse(0)
	for i, name := 0, unclosed(); name != "" && i < maxUnclosed; i, name = i+1, unclosed() {
		z.src = append(z.src[at:len(z.src):len(z.src)], "</"+name+">"...)
		z.unended = [7]bool{}
		at = z.parse(0)
	}
	z.finish(at)
}

// maxUnclosed is how many elements are closed at the end.
const maxUnclosed = 8

// parse reads tokens from an offset on, and gives where it had to stop for what is not complete.
func (z *tokenizer) parse(at int) int {
	s, t := at, at // what is looked at, and where what was not told begins
	for {
		var stop bool
		if s, t, stop = z.parseLiteral(s, t); stop {
			return t
		}
		if s, t, stop = z.parseSection(s, t); stop {
			return t
		}
		if s, t = z.parseText(s, t); s >= len(z.src) {
			return z.lastText(t)
		}
		if len(z.src)-s < 3 {
			return s
		}
		switch next := z.markup(t); next {
		case t:
			return t
		case noMarkup:
			s++ // the "<" is text
		default:
			s, t = next, next
		}
	}
}

// noMarkup says that a "<" is text.
const noMarkup = -1

// markup reads what begins with "<" at t: it gives where that ends, t where it has no end.
func (z *tokenizer) markup(t int) int {
	switch c := z.src[t+1]; {
	case isNameStart(c):
		return z.parseStart(t)
	case c == '/':
		return z.parseEnd(t)
	case c == '!':
		return z.parseDeclaration(t)
	case c == '?':
		if n := bytes.IndexByte(z.src[t+2:], '>'); n >= 0 {
			z.closePending()
			return t + 2 + n + 1
		}
		return t
	}
	return noMarkup
}

// parseText reads text up to the next "<".
func (z *tokenizer) parseText(s, t int) (int, int) {
	if z.section == sectionNone {
		n := bytes.IndexByte(z.src[s:], '<')
		if n < 0 {
			return len(z.src), t
		}
		s += n
		if s > t {
			z.tellText(t, s)
		}
		return s, s
	}
	for s < len(z.src) && z.src[s] != '<' {
		if z.section != sectionNone && z.src[s] == ']' {
			if s++; z.at(s) == ']' {
				if s++; z.at(s) == '>' {
					z.tellText(t, s-2)
					s++
					t = s
					z.closeSection()
					continue
				}
			}
		}
		s++ // behind a bracket that ends nothing this may be a "<", and it is text
	}
	s = min(s, len(z.src))
	if s < len(z.src) && s > t {
		z.tellText(t, s)
		t = s
	}
	return s, t
}

// lastText tells the text at the end of src but for its last word and the white space there, and gives where those begin.
func (z *tokenizer) lastText(t int) int {
	s := len(z.src)
	if s == t {
		return s
	}
	if !isHTMLSpace(z.src[s-1]) {
		for s > t && !isHTMLSpace(z.src[s-1]) {
			s--
		}
	}
	for s > t && isHTMLSpace(z.src[s-1]) {
		s--
	}
	if s > t {
		z.tellText(t, s)
	}
	return s
}

func (z *tokenizer) tellText(from, to int) {
	z.to.text(z.src[from:to], z.verbatim)
}

func (z *tokenizer) tellComment(from, to int) {
	z.to.comment(z.src[from:to])
}

func (z *tokenizer) tellEnd(name []byte) {
	z.closePending()
	z.to.end(name)
}

// closePending tells the end tag that was left out at the end.
func (z *tokenizer) closePending() {
	if name := z.pending; name != "" {
		z.pending = ""
		z.tellEnd([]byte(name))
	}
}

// parseLiteral reads what stands in an element such as script, with its end tag. stop says that the end is missing.
func (z *tokenizer) parseLiteral(s, t int) (_, _ int, stop bool) {
	if z.literal == "" {
		return s, t, false
	}
	unended := &z.unended[literalIndex(z.literal)]
	for z.literal != "" {
		n := -1
		if !*unended {
			n = bytes.IndexByte(z.src[s:], '<')
		}
		if n < 0 {
			*unended = true
			return s, t, true
		}
		from := s + n
		s = from + 1
		if z.at(s) != '/' {
			continue
		}
		s++
		k := 0
		for k < len(z.literal) && z.at(s)|0x20 == z.literal[k] {
			s++
			k++
		}
		if k < len(z.literal) || z.literal == "plaintext" {
			continue
		}
		nameEnd := s
		if s = z.skipSpace(s); z.at(s) != '>' {
			continue
		}
		s++
		if from > t {
			z.tellText(t, from)
		}
		z.tellEnd(z.src[from+2 : nameEnd])
		z.literal, z.verbatim = "", false
		t = s
	}
	return s, t, false
}

// parseSection reads what stands in a marked section in which no tag is one.
func (z *tokenizer) parseSection(s, t int) (_, _ int, stop bool) {
	for z.section == sectionCDATA || z.section == sectionRCDATA {
		n := bytes.IndexByte(z.src[s:], ']')
		if n < 0 {
			return s, t, true
		}
		from := s + n
		s = from + 1
		if z.at(s) == ']' && z.at(s+1) == '>' {
			s += 2
			if from > t {
				z.tellText(t, from)
			}
			z.closePending()
			t = s
			z.closeSection()
			continue
		}
		if s == len(z.src) {
			return s, t, true
		}
	}
	return s, t, false
}

func (z *tokenizer) closeSection() {
	z.sections = z.sections[:len(z.sections)-1]
	z.section = sectionNone
	for _, k := range z.sections {
		z.section = max(z.section, k)
	}
	z.verbatim = z.section == sectionCDATA
}

// finish tells what is left at the end.
func (z *tokenizer) finish(s int) {
	for s < len(z.src) {
		switch {
		case z.literal == "plaintext" || z.literal == "xmp" || z.literal == "iframe" || z.literal == "textarea":
			z.tellText(s, len(z.src))
			s = len(z.src)
		case z.literal != "":
			if z.literal == "title" {
				z.pending = z.literal
			} else {
				z.tellEnd([]byte(z.literal))
			}
			z.literal = ""
			s = z.parse(s)
		case !z.endless && z.src[s] == '<':
			z.endless = true
			s = z.parse(s)
		default:
			if c := z.at(s + 1); z.src[s] == '<' && (s+1 == len(z.src) || isNameStart(c) || c == '/' || c == '!' || c == '?') {
				z.tellComment(s, len(z.src))
			} else {
				z.tellText(s, len(z.src))
			}
			s = len(z.src)
		}
	}
	z.closePending()
}
