package eval

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"
)

// multipart takes a multipart's body apart and gives its parts, whose bodies are still to be looked at.
func (s *structure) multipart(n *node, body []byte) []*node {
	n.parsed = true
	body, found := s.skipPreamble(n.boundary, body)
	p := parting{s: s, n: n, inBody: !found && n.isMessage && firstLineShows(body)}
	for p.rest = body; len(p.rest) > 0; {
		line := p.rest
		if i := bytes.IndexByte(line, '\n'); i >= 0 {
			line = line[:i+1]
		}
		p.before, p.rest = p.rest, p.rest[len(line):]
		is, last := delimiter(line, n.boundary)
		if is && p.nested {
			is, p.nested = false, !last
		}
		if !is && len(p.rest) > 0 {
			p.line(line)
			continue
		}
		p.end(line, is)
		if last {
			s.open[n.boundary]--
			break
		}
		if len(p.rest) > 0 && !isField(p.rest, false) {
			s.missingHeaders = true
		}
		if len(n.children) == maxStructured {
			s.manyParts = true
			return n.children
		}
	}
	s.epilogue = s.epilogue || shows(p.rest)
	return n.children
}

// skipPreamble gives what stands behind the first delimiter line; all, where there is none.
func (s *structure) skipPreamble(boundary string, body []byte) (rest []byte, found bool) {
	for rest = body; len(rest) > 0; {
		line := rest
		if i := bytes.IndexByte(line, '\n'); i >= 0 {
			line = line[:i+1]
		}
		rest = rest[len(line):]
		if is, last := delimiter(line, boundary); is && !last {
			s.open[boundary] = 1
			if len(rest) > 0 && !isField(rest, false) {
				s.missingHeaders = true
			}
			return rest, true
		}
	}
	return body, false
}

// firstLineShows reports whether a text of several lines begins with one that is not blank.
func firstLineShows(b []byte) bool {
	line, rest, _ := bytes.Cut(b, []byte("\n"))
	return len(rest) > 0 && !blank(line)
}

// shows reports whether there is more than white space and dots.
func shows(b []byte) bool {
	for _, c := range b {
		if c != '.' && !isSpace(c) {
			return true
		}
	}
	return false
}

// parting is the state while a multipart is taken apart.
type parting struct {
	s            *structure
	n            *node
	part         *node
	field        []byte // the header field so far
	inBody       bool
	nested       bool   // the part's own boundary is the same
	start        []byte // from the first line of the body on; nil where it has none yet
	before, rest []byte // from the present line on, and behind it
}

// line takes a line of a part.
func (p *parting) line(line []byte) {
	if p.part == nil {
		p.part = &node{}
	}
	if p.inBody {
		p.begin()
		return
	}
	switch {
	case isField(line, true):
		p.keep()
		p.field = line
		return
	case p.field != nil && (line[0] == ' ' || line[0] == '\t'):
		p.field = p.field[:len(p.field)+len(line)] // they are neighbours
		return
	}
	if name := p.keep(); name == "content-type" && p.part.contentType().boundary == p.n.boundary {
		p.nested = true
	}
	p.inBody = true
	if line[0] != '\n' {
		p.s.missingBlank = true
		p.begin()
	}
}

func (p *parting) begin() {
	if p.start == nil {
		p.start = p.before
	}
}

// keep keeps the field that has ended, and gives its name.
func (p *parting) keep() string {
	if p.field == nil {
		return ""
	}
	name, value, _ := bytes.Cut(p.field, []byte(":"))
	p.field = nil
	p.part.add(name, value)
	return strings.ToLower(string(name))
}

// end ends a part, at a delimiter line or with the last line of the body.
func (p *parting) end(line []byte, delimited bool) {
	part := p.part
	if part == nil {
		part = &node{}
	}
	if !delimited {
		p.begin() // the line is the part's, whatever it is
		part.body = p.start[:len(p.start)-len(p.rest)]
	} else if p.start != nil {
		// RFC 2046 5.1.1: the line end before the delimiter line belongs to that.
		part.body = bytes.TrimSuffix(p.start[:len(p.start)-len(p.before)], []byte("\n"))
	}
	ct := part.contentType()
	part.kind, part.boundary = ct.kind, ct.boundary
	if part.boundary == "" {
		part.boundary = p.n.boundary
	}
	if ct.missing && p.n.kind == "multipart/digest" {
		part.kind = "message/rfc822"
	}
	p.n.children = append(p.n.children, part)
	p.part, p.field, p.start, p.inBody = nil, nil, nil, false
}

// contentType is what a Content-Type field says to a reader that takes it as it comes.
type contentType struct {
	kind, boundary, charset, name string
	hasCharset                    bool
	missing                       bool // there is none, or none that names a type
}

var (
	boundaryParameter = regexp.MustCompile(`(?is)\bboundary\s*=\s*(?:"([^"]+)|([^\s";]+)(?:[\s;]|$))`)
	charsetParameter  = regexp.MustCompile(`(?i)\bcharset\s*=\s*["']?(.*?)["']?(?:;|$)`)
	nameParameter     = regexp.MustCompile(`(?i)\b(?:file)?name\s*=\s*["']?(.*?)["']?(?:;|$)`)
	namePieces        = regexp.MustCompile(`(?i)\b(?:file)?name\*(\d+)\s*=\s*["']?(.*?)["']?(?:;|$)`)
)

// maxNamePieces bounds the pieces of a name.
const maxNamePieces = 100

func parseContentType(line string, there bool) contentType {
	ct := contentType{missing: !there || line == "" || line == "0"}
	if ct.missing {
		line = "text/plain; charset=us-ascii"
	}
	if m := boundaryParameter.FindStringSubmatch(line); m != nil {
		ct.boundary = m[1] + m[2]
	}
	if m := charsetParameter.FindStringSubmatch(line); m != nil {
		ct.charset, ct.hasCharset = m[1], true
	}
	if m := nameParameter.FindStringSubmatch(line); m != nil {
		ct.name = m[1]
	}
	if ct.name == "" && strings.Contains(line, "*") {
		var pieces [maxNamePieces]string
		for _, m := range namePieces.FindAllStringSubmatch(line, maxNamePieces) {
			if i, err := strconv.Atoi(m[1]); err == nil && i < maxNamePieces {
				pieces[i] = m[2]
			}
		}
		ct.name = strings.Join(pieces[:], "")
	}
	ct.kind = mediaType(line)
	if ct.kind == "" {
		ct.missing = true
		ct.kind = "text/plain"
	}
	return ct
}

// mediaType gives the media type that a Content-Type field begins with, "" for none. Texts are plain unless they say that they
// are something else that is known.
func mediaType(line string) string {
	line, _, _ = strings.Cut(strings.TrimLeft(line, " \t\n\v\f\r"), ";")
	if major, minor, ok := strings.Cut(line, "/"); ok && major != "" {
		if i := strings.IndexAny(minor, " \t\n\v\f\r/"); i >= 0 {
			minor = minor[:i]
		}
		line = major + "/" + minor
	}
	line = strings.ToLower(line)
	if after, ok := strings.CutPrefix(line, "text"); ok && (after == "" || !isWord(after[0])) {
		switch line {
		case "text/x-vcard", "text/calendar", "text/html":
		default:
			line = "text/plain"
		}
	}
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),:;<=>?@[\]`, r) {
			return -1
		}
		return r
	}, line)
}

func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}
