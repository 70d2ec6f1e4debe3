package attachments

import (
	"bytes"
	"strings"

	"github.com/postern-mail/postern/mail"
)

// A multipart in which the index found no parts is read as a file, and most of them are nothing more than a
// text. But a reader that takes the boundary differently, or guesses one, may find parts where the index did
// not. So the body is searched for what such a reader would need: lines that could be a delimiter with the
// fields of a part behind it, or base64.

// partless reports whether a defect says that in the multipart p no parts were found.
func partless(p *mail.Part, d mail.Defect) bool {
	return p.IsLeaf() && (d.Kind == mail.NoParts || d.Kind == mail.NoBoundary)
}

// signLength is how many octets of a line are kept to be compared, and how many of base64 are a sign: encoders
// write 76 (RFC 2045 6.8) or 64 (RFC 1421 4.3.2.4).
const signLength = 60

// partSigns takes a body, and tells whether it has what a reader could take for a part or an attachment.
type partSigns struct {
	line    []byte // the first octets of the line, at most signLength
	foreign bool   // the line has octets that are not of base64
	dashes  bool   // there was a line that begins with "--"
	field   bool   // behind it, there was one that begins like a field of a part
	base64  bool   // there was a long line of base64
}

// Write takes some of the body. It never fails.
func (s *partSigns) Write(b []byte) (int, error) {
	for _, c := range b {
		switch {
		case c == '\n':
			s.endLine()
			continue
		case c == '\r' || c == ' ' || c == '\t':
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '+', c == '/', c == '=':
		default:
			s.foreign = true
		}
		if len(s.line) < signLength {
			s.line = append(s.line, c)
		}
	}
	return len(b), nil
}

// endLine looks at a line that is complete.
func (s *partSigns) endLine() {
	line := bytes.TrimRight(s.line, " \t\r")
	switch {
	case bytes.HasPrefix(line, []byte("--")):
		s.dashes = true
	case len(line) == signLength && !s.foreign && bytes.IndexByte(line, ' ') < 0:
		s.base64 = true
	case s.dashes:
		name := strings.ToLower(string(line))
		for _, f := range []string{"content-type", "content-disposition", "content-transfer-encoding"} {
			s.field = s.field || strings.HasPrefix(name, f)
		}
	}
	s.line, s.foreign = s.line[:0], false
}

// found says what was found when the body has ended, "" for nothing.
func (s *partSigns) found() string {
	s.endLine()
	switch {
	case s.field:
		return "something in it looks like a part"
	case s.base64:
		return "something in it looks like base64"
	}
	return ""
}
