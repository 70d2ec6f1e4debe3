package mail

import (
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	maxNames      = 20
	maxNameSize   = 1 << 10 // octets
	maxBoundaries = 6       // readings of one boundary parameter
)

// describe reads what the header says of the part: type, parameters, encoding, disposition, names.
func (p *Part) describe() {
	p.Defects = append(p.Defects, p.Header.defects...)
	p.Type, p.Encoding = "text/plain", "7bit"
	if p.Parent != nil && p.Parent.Type == "multipart/digest" {
		p.Type = "message/rfc822" // RFC 2046 5.1.5
	}
	var types, encodings, dispositions, versions int
	for _, f := range p.Header.fields {
		switch {
		case f.Is("Content-Type"):
			v := readValue(f)
			if types++; types == 1 {
				p.contentType(f, v)
			}
			p.addNames(f, v)
		case f.Is("Content-Transfer-Encoding"):
			if encodings++; encodings == 1 {
				p.encoding(f)
			}
		case f.Is("Content-Disposition"):
			v := readValue(f)
			if dispositions++; dispositions == 1 {
				p.Disposition = v.token
			}
			p.addNames(f, v)
		case f.Is("MIME-Version"):
			versions++
		default:
			continue
		}
		if max(types, encodings, dispositions, versions) > 1 {
			p.defect(DuplicateContentField, f.Offset, f.Name)
		}
	}
	if p.Parent == nil && versions == 0 && types+encodings > 0 {
		p.defect(NoMIMEVersion, 0, "")
	}
	if len(p.Names) > 1 {
		p.defect(ConflictingNames, p.Offset, "")
	}
	p.checkType()
}

// structured is a field taken apart for all who look at it.
type structured struct {
	fieldValue
	body  string
	attrs []*attribute
}

func readValue(f Field) *structured {
	v := &structured{body: f.Body()}
	v.fieldValue = parseValue(v.body, true)
	v.attrs = attributes(v.params)
	return v
}

// checkType notes the defects that follow from type and encoding together.
func (p *Part) checkType() {
	switch {
	case isMultipart(p.Type):
		if !identity(p.Encoding) {
			// RFC 2045 6.4: only 7bit, 8bit and binary are allowed. Readers go on as if it were one of them.
			p.defect(EncodedMultipart, p.Offset, p.Encoding)
		}
		if p.boundary == "" {
			p.defect(NoBoundary, p.Offset, p.Type)
		}
	case p.Type == "message/partial":
		p.defect(PartialMessage, p.Offset, "")
	case p.Type == "message/external-body":
		p.defect(ExternalBody, p.Offset, "")
	}
}

// contentType reads the first Content-Type field.
func (p *Part) contentType(f Field, v *structured) {
	if !mediaType(v.token) {
		// RFC 2045 5.2: what breaks the syntax is taken for text/plain.
		p.defect(BadContentType, f.Offset, excerpt(f.Raw))
		p.Type = "text/plain"
	} else {
		p.Type = v.token
	}
	if len(v.attrs) > 0 {
		p.Params = make(map[string]string, len(v.attrs))
	}
	for _, a := range v.attrs {
		value := a.value()
		if a.name == "boundary" && isMultipart(p.Type) {
			// RFC 2046 5.1.1: 1 to 70 octets of a small set, the last one no blank.
			if len(value) > 70 || strings.TrimRight(value, " \t") != value || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' }) {
				p.defect(BadBoundary, f.Offset, excerpt(value))
			}
			p.addBoundary(value)
		}
		p.Params[a.name] = text(value)
	}
	if isMultipart(p.Type) {
		p.addBoundaries(v.attrs)
		if strings.IndexByte(v.body, '(') >= 0 {
			p.addBoundaries(attributes(parseValue(v.body, false).params))
		}
	}
	if len(p.boundaries) > 0 {
		p.boundary = p.boundaries[0]
	}
}

// addBoundaries adds what readers make of the boundary parameter, in all its forms.
func (p *Part) addBoundaries(attrs []*attribute) {
	eachReading(attrs, p.addBoundary, "boundary")
}

// eachReading gives every value that some reader makes of the parameters of these names.
func eachReading(attrs []*attribute, add func(string), names ...string) {
	for _, a := range attrs {
		if !slices.Contains(names, a.name) {
			continue
		}
		for _, q := range a.plain {
			add(q.value)
			for _, o := range q.others {
				add(o)
			}
		}
		for _, q := range a.extended {
			add(decodeExtended(q.value))
			add(q.value)
		}
		if len(a.segments) > 0 {
			add(a.joined())
			add(a.rawJoined())
		}
	}
}

// addBoundary adds a boundary where it is one that a delimiter line can have.
func (p *Part) addBoundary(b string) {
	b = strings.TrimRight(b, " \t")
	if b == "" || len(b) > maxBoundary || strings.ContainsAny(b, "\r\n") || slices.Contains(p.boundaries, b) || len(p.boundaries) == maxBoundaries {
		return
	}
	p.boundaries = append(p.boundaries, b)
}

// mediaType reports whether s is a type and a subtype.
func mediaType(s string) bool {
	major, minor, ok := strings.Cut(s, "/")
	return ok && major != "" && minor != "" && !strings.ContainsFunc(s[:len(major)]+minor, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(tspecials, r)
	})
}

// encoding reads the first Content-Transfer-Encoding field.
func (p *Part) encoding(f Field) {
	v := parseValue(f.Body(), true)
	token := strings.Trim(v.token, `"' `)
	if v.bad || len(v.params) > 0 || token != v.token || strings.Contains(f.Raw, ";") {
		p.defect(BadEncoding, f.Offset, excerpt(f.Raw))
	}
	switch token {
	case "":
		p.defect(BadEncoding, f.Offset, excerpt(f.Raw))
		return
	case "7bit", "8bit", "binary":
	default:
		if identity(token) {
			p.defect(UnknownEncoding, f.Offset, excerpt(token))
		}
	}
	p.Encoding = token
}

// addNames adds every file name that a Content-Type or Content-Disposition field gives, under name or
// filename, for readers look at both in both: of each form the decoded value and the one without
// decoding, and what is read by those who know no comments.
func (p *Part) addNames(f Field, v *structured) {
	p.addNamesOf(v.attrs)
	if v.limited {
		p.defect(LimitParameters, f.Offset, f.Name)
	}
	if v.bad {
		p.defect(BadParameter, f.Offset, excerpt(f.Raw))
	}
	if strings.IndexByte(v.body, '(') >= 0 {
		p.addNamesOf(attributes(parseValue(v.body, false).params))
	}
	for _, a := range v.attrs {
		if a.forms() > 1 {
			p.defect(DuplicateParameter, f.Offset, a.name)
		}
	}
}

func (p *Part) addNamesOf(attrs []*attribute) {
	eachReading(attrs, p.addName, "name", "filename")
}

// addName adds a name and, where it holds encoded words, its decoded form before it.
func (p *Part) addName(s string) {
	if strings.Contains(s, "=?") {
		// RFC 2047 5: an encoded word must not stand in a parameter. Every second client sends them.
		p.defect(EncodedParameter, p.Offset, "")
		p.addOne(DecodeWords(s))
	}
	p.addOne(s)
}

func (p *Part) addOne(s string) {
	s = shorten(text(strings.Trim(s, " \t\r\n")))
	if s == "" || slices.Contains(p.Names, s) {
		return
	}
	if len(p.Names) == maxNames {
		p.defect(LimitParameters, p.Offset, "more than 20 file names")
		return
	}
	p.Names = append(p.Names, s)
}

// shorten cuts a name to maxNameSize octets; it is the end that is kept, for there the extension is.
func shorten(s string) string {
	if len(s) <= maxNameSize {
		return s
	}
	s = s[len(s)-maxNameSize:]
	for len(s) > 0 && !utf8.RuneStart(s[0]) {
		s = s[1:]
	}
	return s
}
