package dsn

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"github.com/postern-mail/postern/mail"
)

// What comes back of a message at most.
const (
	maxFull   = 1 << 20 // octets of a whole one
	maxHeader = 64 << 10
	maxFields = 1000
)

// returned is what a report gives back of the message, and what its text says of it.
type returned struct {
	part
	full      bool
	cut       bool   // some of the header was left away
	messageID string // with its brackets; "" where there is none that can stand in a header
	subject   string // decoded
	date      string
}

// returned makes the third part of the report.
func (r *Report) returned(m *mail.Message) (back returned, err error) {
	if m == nil {
		return back, nil
	}
	h, err := m.Header(mail.Limits{HeaderOctets: maxHeader, Fields: maxFields})
	if err != nil {
		return back, err
	}
	back.subject = clean(mail.DecodeWords(h.Get("Subject")), 200)
	back.date = clean(h.Get("Date"), 60)
	back.messageID = messageID(h)
	// RFC 3461 4.3: RET is about failures only.
	if r.Full && r.has(Failed) && m.Size() <= maxFull {
		if back.part, back.full, err = r.whole(m, h); back.full || err != nil {
			return back, err
		}
	}
	var b bytes.Buffer
	back.cut = h.Truncated()
	for _, f := range h.Fields() {
		if f.Name == "" {
			back.cut = true // a line that is no field
			continue
		}
		b.WriteString(strings.TrimSuffix(f.Raw, "\r\n") + "\r\n")
	}
	back.part = r.headers(b.Bytes())
	return back, nil
}

// headers makes a part of a header.
func (r *Report) headers(octets []byte) part {
	switch {
	case isPlain(octets, false):
		return part{"Content-Type: text/rfc822-headers\r\n", octets}
	case r.global() && utf8.Valid(octets) && isPlain(octets, true):
		// RFC 6533 4.3.
		return part{"Content-Type: message/global-headers\r\nContent-Transfer-Encoding: 8bit\r\n", octets}
	}
	// RFC 6522 4: what would not pass as it is, is encoded.
	return part{"Content-Type: text/rfc822-headers\r\nContent-Transfer-Encoding: quoted-printable\r\n", quotedPrintable(octets)}
}

// whole makes a part of the whole message. A message can't be encoded within another one (RFC 2046 5.2.1; a few readers know
// better since RFC 6532 3.7), so it goes as it is, or it does not go. One whose header ends without a blank line does not: readers
// differ about where that is.
func (r *Report) whole(m *mail.Message, h *mail.Header) (p part, ok bool, err error) {
	b := bytes.NewBuffer(make([]byte, 0, m.Size()))
	if _, err := m.WriteTo(b); err != nil || h.Truncated() || !endsBlank(b.Bytes()[:h.Octets()]) || !isPlain(b.Bytes(), true) {
		return p, false, err
	}
	p = part{"Content-Type: message/rfc822\r\n", b.Bytes()}
	for _, f := range h.Fields() {
		if isASCII(f.Raw) {
			continue
		}
		if !r.global() {
			return p, false, nil // RFC 6531 3.1: its header needs a way that the report may not have
		}
		if !utf8.ValidString(f.Raw) {
			return p, false, nil
		}
		p.fields = "Content-Type: message/global\r\n"
	}
	if !isASCII(p.body) {
		p.fields += "Content-Transfer-Encoding: 8bit\r\n"
	}
	return p, true, nil
}

// endsBlank reports whether a header ends with a blank line.
func endsBlank(header []byte) bool {
	return bytes.HasSuffix(header, []byte("\r\n\r\n")) || string(header) == "\r\n"
}

// messageID gives the Message-ID of the message, if it is one (RFC 5322 3.6.4) that fits into a line.
func messageID(h *mail.Header) string {
	id := h.Get("Message-ID")
	if len(id) < len("<>") || len(id) > 250 || id[0] != '<' || id[len(id)-1] != '>' || h.Count("Message-ID") > 1 {
		return ""
	}
	left, right, ok := strings.Cut(id[1:len(id)-1], "@")
	if strings.HasPrefix(right, "[") && strings.HasSuffix(right, "]") {
		right = right[1 : len(right)-1]
	}
	if !ok || !isDotAtom(left) || !isDotAtom(right) {
		return ""
	}
	return id
}
