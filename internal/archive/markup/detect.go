package markup

import (
	"bytes"
	"regexp"
)

// Detect tells what kind of document begins with head: "html" (XHTML too), "svg", "xml" for any other XML, or "" for
// none. Comments and white space before the first tag do not matter; nor does text, where the tag is one with which
// documents are made.
func Detect(head []byte) string {
	head = head[:min(len(head), 16<<10)]
	for _, r := range readings(head) {
		if kind := detect(r); kind != "" {
			return kind
		}
	}
	return ""
}

// first are the elements with which browsers take a text for HTML (WHATWG MIME Sniffing 7.1), and more that do
// something.
var first = map[string]bool{
	"html": true, "head": true, "script": true, "iframe": true, "h1": true, "div": true, "font": true, "table": true,
	"a": true, "style": true, "title": true, "b": true, "body": true, "br": true, "p": true, "meta": true,
	"form": true, "img": true, "object": true, "embed": true, "applet": true, "link": true, "base": true,
	"frameset": true, "center": true, "span": true, "video": true, "audio": true, "input": true, "h2": true,
	"h3": true, "ul": true, "ol": true, "marquee": true, "details": true, "template": true, "math": true,
	"area": true, "map": true, "main": true, "section": true, "article": true, "header": true, "nav": true,
	"hta:application": true, "noscript": true, "textarea": true, "button": true, "select": true, "pre": true,
}

// later makes HTML of a text that begins with something else.
var later = regexp.MustCompile(`(?i)<(?:!doctype\s+html|html|head|body|script|iframe|meta|form|object|embed|applet|(svg))[\s/>]`)

// detect is Detect for a text.
func detect(text []byte) string {
	xml := false
	t := text
	for {
		t = bytes.TrimLeft(t, " \t\r\n\f\x00")
		end := ">"
		switch {
		case bytes.HasPrefix(t, []byte("<!--")):
			end = "-->"
		case hasPrefixFold(t, "<?xml"):
			xml = true
			end = "?>"
		case bytes.HasPrefix(t, []byte("<?")):
		case hasPrefixFold(t, "<!doctype html"):
			return "html"
		case hasPrefixFold(t, "<!doctype svg"):
			return "svg"
		case hasPrefixFold(t, "<!doctype"):
			// It may have a part of its own in brackets, with tags of its own.
			if open, close := bytes.IndexByte(t, '['), bytes.IndexByte(t, '>'); open >= 0 && open < close {
				end = "]"
			}
		case bytes.HasPrefix(t, []byte("<!")), bytes.HasPrefix(t, []byte(">")):
		default:
			return detectElement(t, xml)
		}
		i := bytes.Index(t, []byte(end))
		if i < 0 {
			return detectElement(text, xml)
		}
		t = t[i+len(end):]
	}
}

// detectElement goes by the first element.
func detectElement(t []byte, xml bool) string {
	if len(t) > 1 && t[0] == '<' {
		name := t[1:]
		if i := bytes.IndexAny(name, " \t\r\n\f/>"); i >= 0 {
			name = name[:i]
		}
		lower := string(bytes.ToLower(name))
		switch {
		case local(lower) == "svg":
			return "svg"
		case first[lower], local(lower) == "html":
			return "html"
		}
	}
	if m := later.FindSubmatch(t); m != nil {
		if m[1] != nil || xml && !hasPrefixFold(m[0], "<html") && !hasPrefixFold(m[0], "<!") {
			return map[bool]string{true: "svg", false: "xml"}[m[1] != nil]
		}
		return "html"
	}
	if xml {
		return "xml"
	}
	return ""
}

func hasPrefixFold(b []byte, s string) bool {
	return len(b) >= len(s) && bytes.EqualFold(b[:len(s)], []byte(s))
}
