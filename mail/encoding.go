package mail

import (
	"slices"
	"strings"
)

// readEncoding reads a Content-Transfer-Encoding field (RFC 2045 6.1). Several fields, or one that is more than a
// token, have several readings. Which of them the body is decoded by, encoding says.
func (p *Part) readEncoding(f Field) {
	body := f.Body()
	v := parseValue(body, true)
	token := strings.Trim(v.token, `"' `)
	readings := []string{token}
	if v.bad || len(v.params) > 0 || token != v.token || strings.ContainsAny(body, ";(,:") || strings.ContainsFunc(body, foreign) {
		for _, e := range transferEncodings {
			if strings.Contains(strings.ReplaceAll(LowerASCII(body), "-", ""), strings.ReplaceAll(e, "-", "")) {
				readings = append(readings, e)
			}
		}
		// "base64;" and "(a comment) base64" are read alike by nearly all; nearly is not enough.
		p.defect(BadEncoding, f.Offset, excerpt(f.Raw))
	}
	switch {
	case token == "":
		p.defect(BadEncoding, f.Offset, excerpt(f.Raw))
	case identity(token) && !slices.Contains(transferEncodings, token):
		p.defect(UnknownEncoding, f.Offset, excerpt(token))
		for _, e := range transferEncodings {
			if strings.Contains(strings.ReplaceAll(token, "-", ""), strings.ReplaceAll(e, "-", "")) {
				readings = append(readings, e)
			}
		}
	}
	if len(p.encodings) > 0 && coding(p.encodings[0]) != coding(token) {
		p.defect(DuplicateContentField, f.Offset, f.Name)
	}
	for _, e := range readings {
		if e != "" && !slices.Contains(p.encodings, e) {
			p.encodings = append(p.encodings, e)
		}
	}
	p.Encoding = p.encoding()
}

// transferEncodings are the encodings that are known (RFC 2045 6.1; the last three are what UNIX mail used).
var transferEncodings = []string{"7bit", "8bit", "binary", "base64", "quoted-printable", "x-uuencode", "uuencode", "x-uue"}

// foreign reports whether a character has no place in a token, nor around one.
func foreign(r rune) bool { return r > '~' || r < ' ' && r != '\t' }

// coding gives an encoding, those that encode nothing as one.
func coding(encoding string) string {
	if identity(encoding) {
		return ""
	}
	return encoding
}

// encoding is the reading by which the body is decoded: the first that encodes anything, since who writes such a
// field has encoded; and of none, the first.
func (p *Part) encoding() string {
	for _, e := range p.encodings {
		if !identity(e) {
			return e
		}
	}
	if len(p.encodings) > 0 {
		return p.encodings[0]
	}
	return "7bit"
}
