package text

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/mail/charset"
)

// view is a part as people see it in a mail client or a browser: the view of rules of our own, beside SpamAssassin's in
// rendering.
type view struct {
	seen, hidden []byte  // in UTF-8
	early        []byte  // of hidden, what stands before what is shown
	pages        []*page // of HTML
	same         bool    // SpamAssassin's view of the part has no other text
}

// How a part is shown. A reader may take another of several Content-Type fields than SpamAssassin does, and knows more types;
// what any of them shows counts.
const (
	showsNothing = iota
	showsText
	showsPage
	showsCalendar // or a card
)

// shows tells how the part is shown.
func (p *TextPart) shows() uint8 {
	kind := uint8(showsNothing)
	if p.Shown == "text/plain" {
		kind = showsText
	}
	named := func(endings ...string) bool {
		has := func(name string) bool {
			name = strings.TrimRight(mail.LowerASCII(name), asciiSpace+".")
			return slices.ContainsFunc(endings, func(e string) bool { return strings.HasSuffix(name, e) })
		}
		return has(p.Name) || slices.ContainsFunc(p.Part.Names, has)
	}
	if p.Shown == "text/html" || named(".htm", ".html", ".shtm", ".shtml", ".xhtml", ".xht", ".svg") {
		return showsPage
	}
	for _, t := range p.Part.Types {
		switch {
		case strings.Contains(t, "html"), t == "image/svg+xml":
			return showsPage
		case t == "text/calendar", t == "application/ics", strings.Contains(t, "vcard"), t == "text/directory":
			kind = max(kind, showsCalendar)
		case strings.HasPrefix(t, "text/"):
			kind = max(kind, showsText)
		}
	}
	// What breaks the syntax of the field is some type to somebody.
	if p.Part.Has(mail.BadContentType) {
		for _, f := range p.Part.Header.All("Content-Type") {
			if media, _, _ := strings.Cut(f.Body(), ";"); strings.Contains(mail.LowerASCII(media), "html") {
				return showsPage
			}
		}
	}
	if kind < showsCalendar && named(".ics", ".vcf", ".vcs") {
		kind = showsCalendar
	}
	return kind
}

// Visible gives the text of the part that people see in a mail client or a browser, in UTF-8, with white space as it stands; ok
// is false for what is not shown as text.
func (p *TextPart) Visible() (text []byte, ok bool) {
	if p.kind == showsNothing {
		return nil, false
	}
	return p.view().seen, true
}

// readView looks at the part as a reader does.
func (p *TextPart) readView() *view {
	switch p.kind {
	case showsNothing:
		return &view{same: true}
	case showsText:
		octets := p.unbroken()
		if p.Shown == "text/plain" && p.render().html == nil && !isUnicode(octets, p.Charset) && !damaged(octets, p.Charset) {
			return &view{seen: p.render().utf8, same: true}
		}
		return &view{seen: p.characters(octets)}
	case showsCalendar:
		v := new(view)
		v.seen, v.pages = calendarText(p.characters(p.unbroken()))
		for _, g := range v.pages {
			if g.cut {
				p.msg.known.cut(CutLinks)
			}
		}
		return v
	}
	g := readPage(p.characters(p.unbroken()))
	if g.cut {
		p.msg.known.cut(CutLinks)
	}
	v := &view{seen: g.seen, hidden: g.hidden, early: g.hidden[:g.early], pages: []*page{g}}
	if p.renders() && p.render().html != nil {
		v.same = g.broken < fewBroken && Letters(g.seen)+Letters(g.hidden) == Letters(p.render().utf8)
	}
	return v
}

// fewBroken is how many words have to be broken in a page by what nobody sees, so that it is no accident.
const fewBroken = 3

// unbroken gives the decoded octets as they are: lines that are too long for SpamAssassin are whole, and no blank line is missing.
func (p *TextPart) unbroken() []byte {
	if p.Part.Encoded() && p.Part.Encoding != "quoted-printable" {
		return p.Decoded()
	}
	raw := p.raw()
	if p.plain(raw) {
		return p.Decoded()
	}
	if p.Part.Encoded() {
		return decodeQP(raw)
	}
	return appendLF(make([]byte, 0, len(raw)), raw)
}

// isUnicode reports whether octets are of an encoding of Unicode in which those of ASCII are none: they have a byte order mark,
// or are said to be and have NULs.
func isUnicode(b []byte, declared string) bool {
	if len(charset.Marked(b[:min(len(b), 4)])) > 0 {
		return true
	}
	low := mail.LowerASCII(declared)
	return (strings.HasPrefix(low, "utf-16") || strings.HasPrefix(low, "utf-32") || strings.HasPrefix(low, "ucs-") || strings.HasPrefix(low, "utf-7") ||
		strings.HasPrefix(low, "utf16") || strings.HasPrefix(low, "iso-10646")) && (bytes.IndexByte(b, 0) >= 0 || strings.Contains(low, "7"))
}

// characters gives octets in UTF-8. A byte order mark counts more than what is declared (WHATWG Encoding, 6).
func (p *TextPart) characters(octets []byte) []byte {
	octets = bytes.TrimPrefix(octets, []byte("\xef\xbb\xbf"))
	for _, name := range charset.Marked(octets[:min(len(octets), 4)]) {
		if out, ok := converted(octets, name); ok {
			return out
		}
	}
	if isUnicode(octets, p.Charset) {
		if out, ok := converted(octets, p.Charset); ok {
			return out
		}
		if out, ok := decodeUTF16(octets); ok {
			return out
		}
	}
	if damaged(octets, p.Charset) {
		return bytes.ToValidUTF8(octets, []byte("\ufffd"))
	}
	return normalize(octets, p.Charset).utf8
}

// damaged reports whether octets are said to be of UTF-8, and are but for a few. To SpamAssassin they are of another charset then, and to
// all clients of UTF-8.
func damaged(b []byte, declared string) bool {
	if low := mail.LowerASCII(declared); low != "utf-8" && low != "utf8" || utf8.Valid(b) {
		return false
	}
	good, bad := 0, 0
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		switch {
		case n > 1:
			good++
		case r == utf8.RuneError:
			bad++
		}
		b = b[n:]
	}
	return good > 4*bad
}

// converted converts octets of a charset in which ASCII is not ASCII.
func converted(octets []byte, name string) ([]byte, bool) {
	best := []byte(nil)
	for _, c := range charset.Of(name).Conversions() {
		out, err := io.ReadAll(c.Reader(bytes.NewReader(octets)))
		if err != nil {
			continue
		}
		out = bytes.TrimPrefix(out, []byte("\ufeff"))
		// The order of octets by which most of it is ASCII is the right one.
		if best == nil || asciiIn(out) > asciiIn(best) {
			best = out
		}
	}
	return best, best != nil
}

func asciiIn(b []byte) (n int) {
	for _, c := range b {
		if c >= ' ' && c < utf8.RuneSelf {
			n++
		}
	}
	return n
}

// calendarNames are the properties of calendars and cards that people get to see (RFC 5545 3.8, RFC 6350 6).
var calendarNames = map[string]bool{
	"SUMMARY": true, "DESCRIPTION": true, "LOCATION": true, "COMMENT": true, "CONTACT": true, "URL": true, "ATTACH": true, "ORGANIZER": true,
	"CONFERENCE": true, "X-ALT-DESC": true, "NOTE": true, "FN": true, "ORG": true, "TITLE": true, "EMAIL": true,
}

// maxCalendarPages is how many pages of a calendar are read: of each of its entries there may be one.
const maxCalendarPages = 100

// calendarText gives what people see of a calendar or a card, and the pages within. Its lines are folded, and signs in texts escaped (RFC 5545 3.1, 3.3.11).
func calendarText(b []byte) (out []byte, pages []*page) {
	b = bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n"))
	if bytes.Contains(b, []byte("\n ")) || bytes.Contains(b, []byte("\n\t")) {
		b = bytes.ReplaceAll(bytes.ReplaceAll(b, []byte("\n "), nil), []byte("\n\t"), nil)
	}
	out = make([]byte, 0, len(b))
	for line := range bytes.Lines(b) {
		n := bytes.IndexAny(line, ";:")
		if n < 0 || !calendarNames[strings.ToUpper(string(line[:min(n, 20)]))] {
			continue
		}
		params := line[n:]
		value := params[max(bytes.IndexByte(params, ':'), 0):]
		for quoted := false; ; { // a colon within quotes is none
			k := bytes.IndexAny(params, "\":")
			if k < 0 {
				break
			}
			if params[k] == ':' && !quoted {
				value = params[k+1:]
				break
			}
			quoted = quoted != (params[k] == '"')
			params = params[k+1:]
		}
		if bytes.Contains(bytes.ToLower(line[:n+min(len(line)-n, 80)]), []byte("text/html")) {
			if len(pages) == maxCalendarPages {
				continue
			}
			g := readPage(unescapeCalendar(value))
			pages = append(pages, g)
			value = append(slices.Clip(g.seen), '\n')
		} else {
			value = unescapeCalendar(value)
		}
		out = append(append(out, value...), '\n')
	}
	return out, pages
}

func unescapeCalendar(v []byte) []byte {
	if bytes.IndexByte(v, '\\') < 0 {
		return v
	}
	out := make([]byte, 0, len(v))
	for i := 0; i < len(v); i++ {
		if v[i] == '\\' && i+1 < len(v) {
			i++
			if v[i]|0x20 == 'n' {
				out = append(out, '\n')
				continue
			}
		}
		out = append(out, v[i])
	}
	return out
}
