package mail

import (
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/postern-mail/postern/mail/charset"
)

const (
	maxNames      = 20
	maxNameSize   = 1 << 10 // octets
	maxBoundaries = 6       // readings of one boundary parameter
)

// maxField is how many octets of a Content-* field all readers take.
const maxField = 4 << 10

// describe reads what the header says of the part: types, parameters, encodings, disposition, names.
func (p *Part) describe() {
	p.Defects = append(p.Defects, p.Header.defects...)
	p.Encoding = "7bit"
	var dispositions []string
	var params []param // of all Content-Type fields
	types, versions := 0, 0
	for _, f := range p.contentLines() {
		switch {
		case f.Is("Content-Type"):
			v := readValue(f)
			if types++; types == 1 {
				params = v.params
			} else {
				params = slices.Concat(params, v.params)
			}
			p.contentType(f, v)
			p.addNames(f, v)
			if d, ok := decodedValue(f); ok && !mediaType(v.token) {
				p.defect(UnclearType, f.Offset, excerpt(f.Raw))
				p.contentType(d, readValue(d))
				p.addNames(d, readValue(d))
			}
		case f.Is("Content-Transfer-Encoding"):
			p.readEncoding(f)
		case f.Is("Content-Disposition"):
			v := readValue(f)
			dispositions = append(dispositions, v.token)
			p.addNames(f, v)
			p.duplicate(f, dispositions)
		case f.Is("MIME-Version"):
			versions++
		}
		if len(f.Raw) > maxField && contentField(f.Name) {
			p.defect(LongField, f.Offset, f.Name)
		}
	}
	if types > 1 {
		p.addNamesOf(attributes(params)) // one name in two fields
	}
	p.settleType()
	if len(dispositions) > 0 {
		p.Disposition = dispositions[0]
	}
	if p.Parent == nil && versions == 0 && types+len(p.encodings) > 0 {
		p.defect(NoMIMEVersion, 0, "")
	}
	if len(p.Names) > 1 {
		p.defect(ConflictingNames, p.Offset, "")
	}
	p.findOtherNames()
	p.checkType()
}

// duplicate notes a field that says another thing than the one of its name before it.
func (p *Part) duplicate(f Field, values []string) {
	if n := len(values); n > 1 && values[n-1] != values[0] {
		p.defect(DuplicateContentField, f.Offset, f.Name)
	}
}

// settleType finds the type by which the part is read. Of several the first that is a container counts, for parts
// that some reader finds are to be in the tree.
func (p *Part) settleType() {
	if len(p.Types) == 0 {
		p.Types = []string{"text/plain"}
		if p.Parent != nil && p.Parent.Type == "multipart/digest" {
			p.Types[0] = "message/rfc822" // RFC 2046 5.1.5
		}
	}
	best := slices.IndexFunc(p.Types, isMultipart)
	if best < 0 {
		best = slices.IndexFunc(p.Types, isEmbedded)
	}
	if best > 0 {
		t := p.Types[best]
		p.Types = slices.Insert(slices.Delete(p.Types, best, best+1), 0, t)
	}
	p.Type = p.Types[0]
	switch {
	case isEmbedded(p.Type):
		if len(p.boundaries) > 0 {
			// A message is no multipart; but who finds a boundary may look for parts.
			p.defect(UnexpectedMultipart, p.Offset, p.Type)
		}
		p.boundaries = nil
	case len(p.boundaries) > 1:
		p.defect(SeveralBoundaries, p.Offset, excerpt(p.boundaries[1]))
	}
	if len(p.boundaries) > 0 {
		p.boundary = p.boundaries[0]
	}
}

// structured is a field taken apart for all who look at it.
type structured struct {
	fieldValue
	body  string
	attrs []attribute
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

// contentType reads a Content-Type field.
func (p *Part) contentType(f Field, v *structured) {
	t := v.token
	if !mediaType(t) {
		// RFC 2045 5.2: what breaks the syntax is taken for text/plain. Who reads it leniently may see a container.
		p.defect(BadContentType, f.Offset, excerpt(f.Raw))
		t = "text/plain"
		if like := containerLike(v.body); like != "" {
			p.defect(UnclearType, f.Offset, excerpt(f.Raw))
			t = like
		}
	}
	if len(p.Types) > 0 && !slices.Contains(p.Types, t) {
		p.defect(DuplicateContentField, f.Offset, f.Name)
	}
	if !slices.Contains(p.Types, t) {
		p.Types = append(p.Types, t)
	}
	if p.Params == nil && len(v.attrs) > 0 {
		p.Params = make(map[string]string, len(v.attrs))
	}
	for i := range v.attrs {
		a := &v.attrs[i]
		value := a.value()
		if a.name == "boundary" && isMultipart(t) {
			// RFC 2046 5.1.1: 1 to 70 octets of a small set, the last one no blank.
			if len(value) > 70 || strings.TrimRight(value, " \t") != value || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' }) ||
				strings.Trim(value, "-") == "" {
				p.defect(BadBoundary, f.Offset, excerpt(value))
			}
			p.addBoundary(value)
		}
		if _, ok := p.Params[a.name]; !ok {
			p.Params[a.name] = charset.Text(value)
		}
	}
	p.addBoundaries(v.attrs)
	if strings.IndexByte(v.body, '(') >= 0 {
		other := parseValue(v.body, false)
		p.addBoundaries(attributes(other.params))
		if other.token != v.token && (containerLike(other.token) != "" || containerLike(v.token) != "") {
			p.defect(UnclearType, f.Offset, excerpt(f.Raw))
		}
	}
}

// containerLike gives the type of container that a lenient reader may see in a broken Content-Type, "" for none.
func containerLike(s string) string {
	s = LowerASCII(s)
	letters := strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || '0' <= r && r <= '9' {
			return r
		}
		return -1
	}, s)
	switch {
	case strings.Contains(letters, "multipart"), strings.Contains(letters, "boundary"),
		strings.HasPrefix(letters, "multi") && strings.Contains(letters, "part"):
		return "multipart/mixed"
	case strings.Contains(letters, "rfc822"):
		return "message/rfc822"
	}
	return ""
}

// addBoundaries adds what readers make of the boundary parameter, in all its forms.
func (p *Part) addBoundaries(attrs []attribute) {
	eachReading(attrs, p.addBoundary, "boundary")
}

// eachReading gives every value that some reader makes of the parameters of these names.
func eachReading(attrs []attribute, add func(string), names ...string) {
	for i := range attrs {
		a := &attrs[i]
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
			extendedReadings(q.value, add)
			add(q.value)
		}
		if len(a.segments) > 0 {
			a.joinedReadings(add)
			add(a.rawJoined())
			if joined := a.unquotedJoined(); joined != "" {
				add(joined)
			}
			if a.odd() {
				// Some join them as they come, and some stop at the first that is missing.
				for _, s := range [][]segment{a.came, a.upToGap()} {
					other := attribute{segments: s}
					other.joinedReadings(add)
					add(other.rawJoined())
				}
			}
		}
	}
}

// addBoundary adds a boundary where it is one that a delimiter line can have.
func (p *Part) addBoundary(b string) {
	b = strings.TrimRight(b, " \t")
	p.addOneBoundary(b)
	if strings.Contains(b, "=?") {
		// RFC 2047 5: no encoded word in a parameter. Some decode it all the same.
		p.addOneBoundary(DecodeWords(b))
	}
	p.addOneBoundary(strings.TrimFunc(b, func(r rune) bool { return unicode.IsSpace(r) || foreign(r) }))
}

func (p *Part) addOneBoundary(b string) {
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

// addNames adds every file name that a Content-Type or Content-Disposition field gives, under name or
// filename, for readers look at both in both: of each form the decoded value and the one without
// decoding, and what is read by those who know no comments.
func (p *Part) addNames(f Field, v *structured) {
	p.addNamesOf(v.attrs)
	p.addNamesLike(v.body)
	if foldInQuotes(f.Raw) {
		// A fold within a quoted name: some take out the blanks with it.
		p.addNamesLike(foldedBlanks.Replace(f.Raw[strings.IndexByte(f.Raw, ':')+1:]))
	}
	if v.limited {
		p.defect(LimitParameters, f.Offset, f.Name)
	}
	if v.bad || strings.ContainsFunc(v.body, control) || slices.ContainsFunc(v.attrs, func(a attribute) bool {
		return a.odd() || len(a.extended) > 0 && slices.ContainsFunc(a.extended, func(q param) bool { return q.name != a.name+"*" })
	}) {
		p.defect(BadParameter, f.Offset, excerpt(f.Raw))
	}
	if strings.IndexByte(v.body, '(') >= 0 {
		p.addNamesOf(attributes(parseValue(v.body, false).params))
	}
	for i := range v.attrs {
		a := &v.attrs[i]
		if a.forms() > 1 {
			p.defect(DuplicateParameter, f.Offset, a.name)
		}
	}
}

// control reports whether a character is one that no field has.
func control(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }

func (p *Part) addNamesOf(attrs []attribute) {
	eachReading(attrs, p.addName, "name", "filename")
	p.checkCharsets(attrs)
}

// addName adds a name and, where it holds encoded words, its decoded form before it.
func (p *Part) addName(s string) {
	if strings.Contains(s, "=?") {
		// RFC 2047 5: an encoded word must not stand in a parameter. Every second client sends them.
		p.defect(EncodedParameter, p.Offset, "")
		p.addWords(s)
		if i := strings.LastIndex(s, "=?"); !strings.Contains(s[i:], "?=") {
			p.addWords(s + "?=") // a word without its end, which some decode
		}
	}
	p.addOne(s)
}

func (p *Part) addOne(s string) {
	s = charset.Text(strings.Trim(s, " \t\r\n"))
	if len(s) > maxNameSize {
		p.defect(LongField, p.Offset, "a file name of "+strconv.Itoa(len(s))+" octets")
		s = shorten(s)
	}
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
