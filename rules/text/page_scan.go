package text

import "bytes"

// pageScanner cuts HTML into tokens as browsers do (WHATWG HTML, 13.2.5), in one pass. It is the other reading beside
// tokenizer's, which is that of Perl's HTML::Parser.
type pageScanner struct {
	src   []byte
	to    pageTokens
	attrs []attribute
}

// pageTokens is told what stands in a page. Octets are those of the source, character references and all.
type pageTokens interface {
	// open tells of a start tag, and is told how what follows is to be read.
	open(name []byte, attrs []attribute, closed bool) content
	close(name []byte)
	text(b []byte, references bool)
	comment(b []byte) // what stands between its marks
	foreign() bool    // within SVG or MathML
}

// content is how what stands in an element is read.
type content uint8

const (
	markup     content = iota
	rcdata             // text up to the end tag, with references
	rawText            // text up to the end tag
	scriptText         // the same, with comments that may hide an end tag
	plainText          // text to the end
)

// isPageSpace reports whether an octet is white space in a tag.
func isPageSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\f' || c == '\r' }

// run reads the page whole.
func (z *pageScanner) run() {
	text := 0 // where text begins that was not told
	for i := 0; ; {
		n := bytes.IndexByte(z.src[i:], '<')
		if n < 0 || i+n+1 >= len(z.src) {
			z.tell(text, len(z.src))
			return
		}
		t := i + n
		c := z.src[t+1]
		if !isLetter(c) && c != '/' && c != '!' && c != '?' || c == '/' && t+2 == len(z.src) {
			i = t + 1
			continue
		}
		z.tell(text, t)
		i = z.markup(t)
		text = i
	}
}

func (z *pageScanner) tell(from, to int) {
	if from < to {
		z.to.text(z.src[from:to], true)
	}
}

// markup reads what begins with the "<" at t, and gives where it ends.
func (z *pageScanner) markup(t int) int {
	switch c := z.src[t+1]; c {
	case '!':
		return z.declaration(t)
	case '?':
		return z.bogus(t+1, t+1)
	case '/':
		switch c = z.src[t+2]; {
		case isLetter(c):
			return z.endTag(t)
		case c == '>':
			return t + 3
		}
		return z.bogus(t+2, t+2)
	}
	return z.startTag(t)
}

// bogus reads a comment that ends with the next ">".
func (z *pageScanner) bogus(from, at int) int {
	n := bytes.IndexByte(z.src[at:], '>')
	if n < 0 {
		z.to.comment(z.src[from:])
		return len(z.src)
	}
	z.to.comment(z.src[from : at+n])
	return at + n + 1
}

// declaration reads what begins with "<!" at t.
func (z *pageScanner) declaration(t int) int {
	b := z.src[t+2:]
	switch {
	case bytes.HasPrefix(b, []byte("--")):
		return z.comment(t + 4)
	case bytes.HasPrefix(b, []byte("[CDATA[")) && z.to.foreign():
		from := t + 2 + len("[CDATA[")
		n := bytes.Index(z.src[from:], []byte("]]>"))
		if n < 0 {
			z.to.text(z.src[from:], false)
			return len(z.src)
		}
		z.to.text(z.src[from:from+n], false)
		return from + n + 3
	case len(b) >= 7 && equalFold(b[:7], "doctype"):
		if n := bytes.IndexByte(b, '>'); n >= 0 {
			return t + 2 + n + 1
		}
		return len(z.src)
	}
	return z.bogus(t+2, t+2)
}

// comment reads a comment whose text begins at from. It ends with "-->", "--!>", or at once with ">" and "->", and in any
// case where the page ends.
func (z *pageScanner) comment(from int) int {
	b := z.src[from:]
	switch {
	case bytes.HasPrefix(b, []byte(">")):
		return from + 1
	case bytes.HasPrefix(b, []byte("->")):
		return from + 2
	}
	for i := from; ; {
		n := bytes.Index(z.src[i:], []byte("--"))
		if n < 0 {
			z.to.comment(z.src[from:])
			return len(z.src)
		}
		end := i + n
		for i = end + 2; i < len(z.src) && z.src[i] == '-'; i++ {
			end++
		}
		switch rest := z.src[i:]; {
		case bytes.HasPrefix(rest, []byte(">")):
			z.to.comment(z.src[from:end])
			return i + 1
		case bytes.HasPrefix(rest, []byte("!>")):
			z.to.comment(z.src[from:end])
			return i + 2
		}
	}
}

// startTag reads a start tag, and of an element without markup in it all up to its end tag.
func (z *pageScanner) startTag(t int) int {
	name, closed, i, ok := z.tag(t + 1)
	if !ok {
		return len(z.src)
	}
	switch kind := z.to.open(name, z.attrs, closed); kind {
	case markup:
		return i
	case plainText:
		z.to.text(z.src[i:], false)
		return len(z.src)
	default:
		end := z.endOf(name, i, kind)
		if end > i {
			z.to.text(z.src[i:end], kind == rcdata)
		}
		return end
	}
}

func (z *pageScanner) endTag(t int) int {
	name, _, i, ok := z.tag(t + 2)
	if !ok {
		return len(z.src)
	}
	z.to.close(name)
	return i
}

// tag reads the name at i and the attributes behind it. A tag that has no end is none.
func (z *pageScanner) tag(i int) (name []byte, closed bool, next int, ok bool) {
	src := z.src
	from := i
	for i < len(src) && !isPageSpace(src[i]) && src[i] != '/' && src[i] != '>' {
		i++
	}
	name = src[from:i]
	z.attrs = z.attrs[:0]
	for {
		slash := false
		for i < len(src) && (isPageSpace(src[i]) || src[i] == '/') {
			slash = src[i] == '/'
			i++
		}
		if i == len(src) {
			return nil, false, i, false
		}
		if src[i] == '>' {
			return name, slash, i + 1, true
		}
		var a attribute
		if a, i, ok = z.attribute(i); !ok {
			return nil, false, i, false
		}
		if len(z.attrs) < maxAttributes {
			z.attrs = append(z.attrs, a)
		}
	}
}

// attribute reads the attribute at i.
func (z *pageScanner) attribute(i int) (a attribute, next int, ok bool) {
	src := z.src
	from := i
	for i++; i < len(src) && !isPageSpace(src[i]) && src[i] != '/' && src[i] != '>' && src[i] != '='; {
		i++
	}
	a.name = src[from:i]
	end := i
	for i < len(src) && isPageSpace(src[i]) {
		i++
	}
	if i == len(src) || src[i] != '=' {
		return a, end, true
	}
	for i++; i < len(src) && isPageSpace(src[i]); {
		i++
	}
	if i == len(src) {
		return a, i, false
	}
	switch q := src[i]; q {
	case '"', '\'':
		n := bytes.IndexByte(src[i+1:], q)
		if n < 0 {
			return a, len(src), false
		}
		a.value = src[i+1 : i+1+n]
		return a, i + n + 2, true
	}
	from = i
	for i < len(src) && !isPageSpace(src[i]) && src[i] != '>' {
		i++
	}
	a.value = src[from:i]
	return a, i, true
}

// endOf finds the end tag of an element in which there is no markup; what stands in the tag behind the name is the tag's.
func (z *pageScanner) endOf(name []byte, i int, kind content) int {
	if kind == scriptText {
		return z.endOfScript(i)
	}
	for {
		n := bytes.Index(z.src[i:], []byte("</"))
		if n < 0 {
			return len(z.src)
		}
		if i += n; z.named(i+2, name) {
			return i
		}
		i += 2
	}
}

// named reports whether a whole tag's name stands at i.
func (z *pageScanner) named(i int, name []byte) bool {
	end := i + len(name)
	return end < len(z.src) && (isPageSpace(z.src[end]) || z.src[end] == '/' || z.src[end] == '>') && bytes.EqualFold(z.src[i:end], name)
}

// endOfScript finds the end of a script: within a comment in it a script element has an end tag of its own.
func (z *pageScanner) endOfScript(i int) int {
	script := []byte("script")
	escaped, double := false, false
	for i < len(z.src) {
		b := z.src[i:]
		n := bytes.IndexAny(b, "<-")
		if n < 0 {
			break
		}
		i, b = i+n, b[n:]
		switch {
		case escaped && bytes.HasPrefix(b, []byte("-->")):
			escaped, double = false, false
			i += 3
		case b[0] == '-':
			i++
		case !escaped && bytes.HasPrefix(b, []byte("<!--")):
			escaped = true
			i += 2 // its dashes may be those of the end
		case bytes.HasPrefix(b, []byte("</")) && z.named(i+2, script):
			if !double {
				return i
			}
			double = false
			i += 2 + len(script)
		case escaped && !double && z.named(i+1, script):
			double = true
			i += 1 + len(script)
		default:
			i++
		}
	}
	return len(z.src)
}
