package external

import (
	"bytes"
	"strings"
)

// bodyStart gives the offset in a document at which its body begins to be shown: behind the tag that opens it, else behind
// its head or the tag of the whole, else behind its document type. What stands in comments, scripts and styles is no tag.
func bodyStart(doc []byte) int {
	best := 0
	for at := 0; ; {
		open := bytes.IndexByte(doc[at:], '<')
		if open < 0 {
			return best
		}
		at += open
		if bytes.HasPrefix(doc[at:], []byte("<!--")) {
			end := bytes.Index(doc[at+4:], []byte("-->"))
			if end < 0 {
				return best // the rest is a comment
			}
			at += 4 + end + 3
			continue
		}
		name, end := tagName(doc[at+1:]), at+tagEnd(doc[at:])
		switch name {
		case "body":
			return end
		case "!doctype", "html", "head", "/head":
			best = end
		case "script", "style", "title", "noscript", "template", "textarea":
			close := closing(doc[end:], name)
			if close < 0 {
				return best // the rest is in it
			}
			end += close
		case "", "meta", "link", "base", "xml":
		default:
			if name[0] != '!' && name[0] != '?' && name[0] != '/' && strings.IndexByte(name, ':') < 0 {
				return best // something is shown here already: a body without its tag
			}
		}
		at = end
	}
}

// tagName gives the name of the tag that begins behind a "<", in lower case; "" where none does.
func tagName(b []byte) string {
	n := 0
	for n < len(b) && n < 16 && b[n] > ' ' && b[n] != '>' && (n == 0 || b[n] != '/') {
		n++
	}
	return string(bytes.ToLower(b[:n]))
}

// tagEnd gives the length of the tag at the start of b: up to the ">" that stands in no quotes.
func tagEnd(b []byte) int {
	var quote byte
	for i, c := range b {
		switch {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case (c == '"' || c == '\'') && i > 0 && (b[i-1] == '=' || b[i-1] == ' '):
			quote = c
		case c == '>':
			return i + 1
		}
	}
	return len(b)
}

// closing gives the offset of the tag that closes the element of that name, -1 for none.
func closing(b []byte, name string) int {
	for at := 0; ; {
		i := bytes.Index(b[at:], []byte("</"))
		if i < 0 {
			return -1
		}
		at += i
		if rest := b[at+2:]; len(rest) >= len(name) && bytes.EqualFold(rest[:len(name)], []byte(name)) {
			return at
		}
		at += 2
	}
}
