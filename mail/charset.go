package mail

import (
	"strings"

	"github.com/postern-mail/postern/mail/charset"
)

// Charsets gives every charset that some reading of the Content-Type fields declares, at most maxCharsets of them, and
// whether these are all.
func (p *Part) Charsets() (names []string, all bool) {
	all = true
	add := func(s string) {
		s = LowerASCII(strings.Trim(charset.Text(s), " \t\r\n\"'<>"))
		for _, n := range names {
			if n == s {
				return
			}
		}
		if len(names) == maxCharsets {
			all = false
			return
		}
		names = append(names, s)
	}
	for _, f := range p.Header.All("Content-Type") {
		eachReading(readValue(f).attrs, add, "charset")
		if strings.IndexByte(f.Raw, '(') >= 0 {
			eachReading(attributes(parseValue(f.Body(), false).params), add, "charset")
		}
	}
	return names, all
}

// maxCharsets is how many charsets of one part are told.
const maxCharsets = 6

// checkCharsets notes names in charsets that readers take differently (RFC 2231 4).
func (p *Part) checkCharsets(attrs []attribute) {
	for i := range attrs {
		a := &attrs[i]
		if a.name != "name" && a.name != "filename" {
			continue
		}
		for _, q := range a.extended {
			if name, _ := cutCharset(q.value); !charset.Of(name).Clear() {
				p.defect(UnknownCharset, p.Offset, excerpt(name))
			}
		}
		if len(a.segments) > 0 {
			if name, _ := a.segmentOctets(); !charset.Of(name).Clear() {
				p.defect(UnknownCharset, p.Offset, excerpt(name))
			}
		}
	}
}

// addWords adds what readers make of a name with encoded words.
func (p *Part) addWords(s string) {
	readings, unclear := wordReadings(s)
	for _, r := range readings {
		p.addOne(r)
	}
	if len(unclear) > 0 {
		p.defect(UnknownCharset, p.Offset, excerpt(strings.Join(unclear, " ")))
	}
}

// extendedReadings gives what readers make of an extended value (RFC 2231 4).
func extendedReadings(s string, add func(string)) {
	name, v := cutCharset(s)
	for _, r := range charset.Of(name).Readings(percentDecode(v)) {
		add(r)
	}
}

// joinedReadings gives what readers make of the segments of a value, put together.
func (a *attribute) joinedReadings(add func(string)) {
	name, octets := a.segmentOctets()
	for _, r := range charset.Of(name).Readings(octets) {
		add(r)
	}
}
