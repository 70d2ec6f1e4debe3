package mail

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/postern-mail/postern/mail/charset"
)

// What careless readers take for fields about content, and for names of files.

// contentLines gives the fields that speak of content, MIME-Version among them, and what careless readers take for
// one: a line that is no field for what stands before its name or for want of a colon, and the folded line of another
// field.
func (p *Part) contentLines() []Field {
	all := make([]Field, 0, 4)
	for _, f := range p.Header.fields {
		if f.Name != "" {
			if contentType(f.Name) {
				all = append(all, f)
			}
			if !strings.Contains(strings.TrimSuffix(f.Raw, "\n"), "\n") {
				continue
			}
		}
		rest := f.Raw
		for first := true; rest != ""; first = false {
			if !first || f.Name == "" {
				if hidden, ok := hiddenField(rest); ok && !f.Is(hidden.Name) && len(all) < maxContentLines {
					hidden.Offset = f.Offset
					all = append(all, hidden)
					p.defect(HiddenField, f.Offset, excerpt(hidden.Raw))
				}
			}
			_, rest, _ = strings.Cut(rest, "\n")
		}
	}
	return all
}

// maxContentLines is how many fields about content a part has that are read where they should not be.
const maxContentLines = 20

// hiddenField reads a field on the first line of s, after whatever is no letter, with or without a colon, and its
// folded lines. It is one only if it says something: the lists of field names that signatures have are none.
func hiddenField(s string) (Field, bool) {
	line, _, _ := strings.Cut(s, "\n")
	if len(line) < len("content-type") || strings.IndexByte(line, '-') < 0 {
		return Field{}, false
	}
	t := strings.TrimLeftFunc(line, func(r rune) bool { return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z') })
	for _, name := range []string{"Content-Type", "Content-Transfer-Encoding", "Content-Disposition"} {
		if len(t) <= len(name) || !equalFold(t[:len(name)], name) {
			continue
		}
		t = s[len(line)-len(t):]
		value := strings.TrimLeft(t[len(name):min(len(t), maxField)], ": \t\r\n")
		f := Field{Name: name, Raw: name + ": " + value}
		v := readValue(f)
		switch {
		case name == "Content-Type":
			return f, mediaType(v.token) || containerLike(v.token) != "" && len(v.params) > 0
		case name == "Content-Transfer-Encoding":
			return f, slices.Contains(transferEncodings, v.token)
		}
		return f, slices.ContainsFunc(v.params, func(q param) bool {
			name, _, _ := strings.Cut(q.name, "*")
			return name == "filename" || name == "name"
		})
	}
	return Field{}, false
}

// findOtherNames gathers what some readers take for a file name for want of one: the last part of a Content-Location
// (RFC 2557 4), a Content-Description that looks like one, and a subtype with a dot.
func (p *Part) findOtherNames() {
	if len(p.Names) > 0 || !p.headed("Content-Location", "Content-Description", "X-Content-Type", "X-Content-Disposition") && strings.IndexByte(p.Type, '.') < 0 {
		return
	}
	add := func(s string) {
		if s = shorten(charset.Text(strings.TrimSpace(s))); s != "" && !slices.Contains(p.OtherNames, s) && len(p.OtherNames) < maxNames {
			p.OtherNames = append(p.OtherNames, s)
		}
	}
	for _, f := range p.Header.fields {
		switch {
		case f.Is("X-Content-Type"), f.Is("X-Content-Disposition"):
			p.addNamesLike(f.Body())
		case f.Is("Content-Location"):
			s := strings.TrimRight(f.Body(), "/")
			if _, rest, ok := strings.Cut(s, "://"); ok {
				_, s, _ = strings.Cut(rest, "/") // the name of a host is none of a file
			}
			add(s[strings.LastIndexByte(s, '/')+1:])
		case f.Is("Content-Description"):
			if s := DecodeWords(f.Body()); !strings.ContainsAny(s, "@ ") && !strings.HasSuffix(LowerASCII(s), ".com") {
				add(s)
			}
		}
	}
	if _, subtype, _ := strings.Cut(p.Type, "/"); strings.IndexByte(subtype, '.') > 0 && !strings.HasPrefix(subtype, "vnd.") && !strings.HasPrefix(subtype, "prs.") && !strings.HasPrefix(subtype, "x.") {
		add(subtype)
	}
}

func (p *Part) headed(names ...string) bool {
	return slices.ContainsFunc(p.Header.fields, func(f Field) bool {
		return slices.ContainsFunc(names, f.Is)
	})
}

// decodedValue gives the value of a field in which encoded words were decoded, against RFC 2047 5, where that is
// another one.
func decodedValue(f Field) (Field, bool) {
	body := f.Body()
	if !strings.Contains(body, "=?") {
		return f, false
	}
	decoded := DecodeWords(body)
	return Field{Name: f.Name, Raw: f.Name + ": " + decoded, Offset: f.Offset}, decoded != body
}

var foldedBlanks = strings.NewReplacer("\r\n ", "", "\r\n\t", "")

// foldInQuotes reports whether a field is folded within a quoted string, as far as the marks tell.
func foldInQuotes(raw string) bool {
	quotes := 0
	for line := range strings.Lines(raw) {
		if quotes%2 == 1 {
			return true
		}
		quotes += strings.Count(line, "\"")
	}
	return false
}

// addNamesLike adds what those find who search a field for "name=" or "file=" wherever it stands.
func (p *Part) addNamesLike(body string) {
	lower := LowerASCII(body)
	for at := 0; len(p.OtherNames) < maxNames; {
		i := strings.Index(lower[at:], "e=")
		if i < 0 {
			return
		}
		before := lower[:at+i+1]
		if at += i + len("e="); !strings.HasSuffix(before, "name") && !strings.HasSuffix(before, "file") {
			continue
		}
		value := strings.TrimLeft(body[at:], " \t\"'")
		value = value[:min(len(value), 4*maxNameSize)] // a search through all the rest for each name would be quadratic
		if n := strings.IndexAny(value, "\"';"); n >= 0 {
			value = value[:n]
		}
		value = charset.Text(strings.TrimSpace(value[:min(len(value), maxNameSize)]))
		if value != "" && !slices.Contains(p.Names, value) && !slices.Contains(p.OtherNames, value) {
			p.OtherNames = append(p.OtherNames, value)
		}
	}
}

// Lenient gives a field's name in lower case and its body, folded as it came. A line that is no field is read as a
// lenient reader behind us may read it: without the blanks, folds and octets that nobody sees around its name or in it.
func (f Field) Lenient() (name, body string) {
	name, body, ok := strings.Cut(f.Raw, ":")
	if !ok {
		return "", ""
	}
	return LowerASCII(strings.Map(visible, name)), body
}

// MayBegin reports whether the name that Lenient gives may begin with a letter, which is given in lower case. It looks at
// the first octet that shows, and no further: where that is not of ASCII, the name may.
func (f Field) MayBegin(letter byte) bool {
	for i := range len(f.Raw) {
		if c := f.Raw[i]; c > ' ' && c != 0x7f {
			return c == letter || c == letter-('a'-'A') || c >= utf8.RuneSelf
		}
	}
	return false
}

// visible drops what does not show: blanks, controls, and characters that only shape others.
func visible(r rune) rune {
	if r <= ' ' || r == 0x7f || r >= utf8.RuneSelf && !unicode.IsGraphic(r) || unicode.IsSpace(r) {
		return -1
	}
	return r
}
