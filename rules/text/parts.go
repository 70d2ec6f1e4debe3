package text

import (
	"strings"

	"github.com/postern-mail/postern/mail"
)

// TextPart is a leaf of the MIME structure with its text.
type TextPart struct {
	Part    *mail.Part
	Type    string // the media type in lower case as SpamAssassin reads it: all of text but HTML, calendars and vCards is text/plain
	Shown   string // the media type by which the part is shown: Type, or text/html where the file's name says so
	Charset string // as it is declared, "" where it is not
	Name    string // the name of the file, "" for none

	msg      *Message
	limit    int // octets that are decoded at most
	decoded  lazy[[]byte]
	rendered lazy[*rendering]
	kind     uint8 // how it is shown
	views    lazy[*view]
}

// rendering is what a part looks like.
type rendering struct {
	text
	hidden []span // what readers do not show, by SpamAssassin's rules; in ascending order
	wide   []span // what is of characters where the HTML is of octets
	html   *HTML  // nil of plain text
}

// span is a piece of a text: the octets [from, to).
type span struct{ from, to int }

// Decoded gives the octets of the body, decoded and with LF line ends; of a part that is bigger than what is looked at, its
// beginning.
func (p *TextPart) Decoded() []byte { return p.decoded.get(p.decode) }

func (p *TextPart) render() *rendering { return p.rendered.get(p.renderPart) }

func (p *TextPart) view() *view { return p.views.get(p.readView) }

// Rendered gives the text that a reader sees, in UTF-8, with white space as it stands; ok is false for what is not rendered:
// all but plain text and HTML.
func (p *TextPart) Rendered() (text []byte, ok bool) {
	if !p.renders() {
		return nil, false
	}
	return p.render().utf8, true
}

// HTML gives the facts about a part of HTML, nil of any other.
func (p *TextPart) HTML() *HTML {
	if !p.renders() {
		return nil
	}
	return p.render().html
}

// renders reports whether the part is one that rules of the kind body see.
func (p *TextPart) renders() bool { return p.Shown == "text/plain" || p.Shown == "text/html" }

// reads reports whether rules or readers see the part as text.
func (p *TextPart) reads() bool { return p.renders() || p.kind != showsNothing }

// readParts lists the leaves in the order of the content.
func (m *Message) readParts() (all []*TextPart) {
	m.content.Root().Walk(func(p *mail.Part) bool {
		if p.IsLeaf() {
			all = append(all, m.textPart(p))
		}
		return true
	})
	// What is read as text comes first: nothing else is to take its place away.
	left := int64(maxText)
	for _, text := range []bool{true, false} {
		for _, t := range all {
			if reads := t.reads(); reads == text {
				size := t.Part.End - t.Part.BodyOffset
				t.limit = int(min(maxPart, left))
				left -= min(size, int64(t.limit))
				if reads && size > int64(t.limit) {
					m.known.cut(CutParts)
				}
			}
		}
	}
	return all
}

// Memory tells how many octets of memory it takes, about, to read the texts of the message in all their views: those of most take ten
// times their length. They are not read for it.
func (m *Message) Memory() (octets int64) {
	const views = 10
	for _, p := range m.Parts() {
		if p.reads() {
			octets += views * min(p.Part.End-p.Part.BodyOffset, int64(p.limit))
		}
	}
	return octets
}

func (m *Message) textPart(p *mail.Part) *TextPart {
	t := &TextPart{Part: p, msg: m, limit: maxPart}
	t.readType()
	t.kind = t.shows()
	return t
}

// readType reads what the header says of the part. Of several Content-Type fields the last counts here.
func (t *TextPart) readType() {
	ct := lastField(t.Part.Header, "Content-Type")
	var named string
	t.Type, t.Charset, named = contentType(ct)
	if ct == "" {
		t.Charset = "us-ascii"
		if p := t.Part.Parent; p != nil && p.Type == "multipart/digest" {
			t.Type = "message/rfc822"
		}
	}
	if strings.HasPrefix(t.Type, "multipart/") {
		t.Type = "text/plain" // no parts were found in it
	}
	t.Name = parameter(lastField(t.Part.Header, "Content-Disposition"), "name", "\"", "\";")
	if t.Name == "" {
		t.Name = named
	}
	t.Shown = t.Type
	if name := strings.ToLower(t.Name); strings.HasSuffix(name, ".htm") || strings.HasSuffix(name, ".html") ||
		strings.HasSuffix(name, ".shtm") || strings.HasSuffix(name, ".shtml") {
		t.Shown = "text/html"
	}
}

// lastField gives the unfolded body of the last field of a name.
func lastField(h *mail.Header, name string) string {
	all := h.Fields()
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].Is(name) {
			return unfold(all[i])
		}
	}
	return ""
}

// unfold gives the body of a field with one space in place of each fold, blanks and all.
func unfold(f mail.Field) string {
	if strings.Count(f.Raw, "\n") < 2 {
		return f.Body()
	}
	_, s, _ := strings.Cut(f.Raw, ":")
	s = strings.Trim(s, asciiSpace)
	var out strings.Builder
	for {
		line, rest, folded := strings.Cut(s, "\n")
		out.WriteString(strings.TrimSuffix(line, "\r"))
		if !folded {
			return out.String()
		}
		if s = strings.TrimLeft(rest, " \t"); len(s) < len(rest) {
			out.WriteByte(' ')
		}
	}
}

// contentType reads a Content-Type field in SpamAssassin's way. The charset ends at the next semicolon.
func contentType(ct string) (media, charset, name string) {
	charset = lazyParameter(ct, "charset")
	if name = lazyParameter(ct, "filename"); name == "" {
		name = lazyParameter(ct, "name")
	}
	media, _, _ = strings.Cut(strings.TrimLeft(ct, asciiSpace), ";")
	if slash := strings.IndexByte(media, '/'); slash >= 0 {
		if end := strings.IndexAny(media[slash+1:], "/"+asciiSpace); end >= 0 {
			media = media[:slash+1+end]
		}
	}
	media = mail.LowerASCII(media)
	if media == "" || strings.HasPrefix(media, "text") && (len(media) == 4 || !isWord(media[4])) &&
		media != "text/x-vcard" && media != "text/calendar" && media != "text/html" {
		return "text/plain", charset, name
	}
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),:;<=>?@[\]`, r) {
			return -1
		}
		return r
	}, media), charset, name
}

// lazyParameter gives what stands behind name=, without quotes around it, up to a semicolon.
func lazyParameter(s, name string) string {
	v, ok := behindName(s, name, true)
	if !ok {
		return ""
	}
	if v != "" && (v[0] == '"' || v[0] == '\'') {
		v = v[1:]
	}
	v, _, _ = strings.Cut(v, ";")
	if n := len(v); n > 0 && (v[n-1] == '"' || v[n-1] == '\'') {
		v = v[:n-1]
	}
	return v
}

// parameter gives what stands behind name= and an optional quote, up to one of the octets of end.
func parameter(s, name, quote, end string) string {
	v, ok := behindName(s, name, false)
	if !ok {
		return ""
	}
	v = strings.TrimPrefix(v, quote)
	if n := strings.IndexAny(v, end); n >= 0 {
		v = v[:n]
	}
	return v
}

// behindName gives what stands behind a name, whatever the case of its letters, and an equals sign. With bounded the name
// is a word's beginning.
func behindName(s, name string, bounded bool) (string, bool) {
	for i := 0; i+len(name) < len(s); i++ {
		if !strings.EqualFold(s[i:i+len(name)], name) || bounded && i > 0 && isWord(s[i-1]) {
			continue
		}
		rest := s[i+len(name):]
		if bounded {
			rest = strings.TrimLeft(rest, asciiSpace)
		}
		if strings.HasPrefix(rest, "=") {
			return strings.TrimLeft(rest[1:], asciiSpace), true
		}
	}
	return "", false
}

// isWord reports whether an octet is one of a word in a pattern.
func isWord(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_'
}
