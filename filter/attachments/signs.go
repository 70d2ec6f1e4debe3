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
	length  int    // octets of the line
	foreign bool   // the line has octets that are not of base64
	dashes  bool   // there was a line that begins with "--"
	field   bool   // behind it, there was one that begins like a field of a part
	long    bool   // the line before was a long one of base64
	base64  bool   // there was such a line with more behind it
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
		s.length++
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
	case len(line) == signLength && !s.foreign && bytes.IndexByte(line, ' ') < 0 && bytes.IndexByte(line, '=') < 0:
		// One such line may be a rule, a key or a checksum; it is none with more behind it, or without end.
		s.base64 = s.base64 || s.long || s.length >= 4*signLength
		s.long = true
		s.line, s.length, s.foreign = s.line[:0], 0, false
		return
	case s.long && !s.foreign && len(line) > 0 && len(line)%4 == 0 && bytes.IndexByte(line, ' ') < 0:
		s.base64 = true // the end of it
	case s.dashes:
		name := strings.ToLower(string(line))
		for _, f := range []string{"content-type", "content-disposition", "content-transfer-encoding"} {
			s.field = s.field || strings.HasPrefix(name, f)
		}
	}
	s.line, s.length, s.foreign, s.long = s.line[:0], 0, false, false
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
