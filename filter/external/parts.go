package external

import (
	"bytes"
	"io"
	"slices"
	"strings"

	"github.com/postern-mail/postern/mail"
)

// forPrograms says why a message as a whole is left alone, its subject too: programs read it, or look for it again by its
// subject.
func forPrograms(root *mail.Part) (why string) {
	switch {
	case isReport(root):
		return "it is a report"
	case isInvitation(root):
		return "it is an invitation"
	}
	return ""
}

// closed says why nothing within a multipart may be changed. It is what a multipart is that counts, and not what it calls
// itself: a type or a field alone is for everybody to write.
func closed(p *mail.Part) (why string) {
	switch {
	case isSigned(p):
		return "it is signed"
	case isReport(p):
		return "it is a report"
	case isJournal(p):
		return "it is a journal's"
	}
	return ""
}

// peek gives the first octets of a part, decoded.
func peek(p *mail.Part) []byte {
	b := make([]byte, 4<<10)
	n, _ := io.ReadFull(p.Open(), b)
	return b[:n]
}

// signedData is the object identifier by which a signature of S/MIME begins (RFC 5652 5.1).
var signedData = []byte{0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02}

// isSigned reports whether a multipart holds a part and what looks like a signature of it (RFC 1847 2.1). Whether it is
// valid only its reader can say.
func isSigned(p *mail.Part) bool {
	if p.Type != "multipart/signed" || !p.IsMultipart() || len(p.Children) != 2 {
		return false
	}
	switch signature := p.Children[1]; signature.Type {
	case "application/pkcs7-signature", "application/x-pkcs7-signature": // RFC 8551 3.5.3
		b := peek(signature)
		return len(b) > 0 && b[0] == 0x30 && bytes.Contains(b[:min(len(b), 32)], signedData)
	case "application/pgp-signature": // RFC 3156 5
		b := bytes.TrimSpace(peek(signature))
		return bytes.HasPrefix(b, []byte("-----BEGIN PGP SIGNATURE-----")) || bytes.HasPrefix(b, []byte("-----BEGIN PGP MESSAGE-----"))
	}
	return false
}

// machineTypes are the parts of reports that programs read.
var machineTypes = []string{
	"message/delivery-status", "message/global-delivery-status", // RFC 3464, RFC 6533
	"message/disposition-notification", "message/global-disposition-notification", // RFC 8098
	"message/feedback-report", // RFC 5965
	"message/tracking-status", // RFC 3886
}

// isReport reports whether a multipart holds what a program reads of a report (RFC 6522 3).
func isReport(p *mail.Part) bool {
	if p.Type != "multipart/report" || !p.IsMultipart() || len(p.Children) < 2 {
		return false
	}
	switch told := p.Children[1]; told.Type {
	case "application/tlsrpt+gzip": // RFC 8460 5.3
		return bytes.HasPrefix(peek(told), []byte{0x1f, 0x8b})
	case "application/tlsrpt+json":
		return bytes.HasPrefix(bytes.TrimSpace(peek(told)), []byte{'{'})
	default:
		return slices.Contains(machineTypes, told.Type) && hasField(peek(told))
	}
}

// hasField reports whether a text has one of the fields without which a report says nothing.
func hasField(text []byte) bool {
	for line := range bytes.Lines(text) {
		name, _, ok := bytes.Cut(line, []byte{':'})
		switch {
		case !ok:
		case slices.Contains([]string{"reporting-mta", "final-recipient", "original-recipient", "disposition", "feedback-type"}, mail.LowerASCII(string(name))):
			return true
		}
	}
	return false
}

// isJournal reports whether a multipart is a report of Exchange's journal: messages, and before them a text that has only
// lines such as "Sender: a@b.example".
func isJournal(p *mail.Part) bool {
	if p.Header.Count("X-MS-Journal-Report") == 0 || !p.IsMultipart() || len(p.Children) < 2 || p.Children[0].Type != "text/plain" {
		return false
	}
	for _, c := range p.Children[1:] {
		if c.Type != "message/rfc822" {
			return false
		}
	}
	first := true
	for line := range bytes.Lines(peek(p.Children[0])) {
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		label, _, ok := bytes.Cut(line, []byte{':'})
		if !ok || len(label) > 20 || bytes.IndexByte(label, ' ') >= 0 || first && mail.LowerASCII(string(label)) != "sender" {
			return false
		}
		first = false
	}
	return !first
}

// isInvitation reports whether a part is one that calendars act on (RFC 6047 2.4): the type has a method, and the text is a
// calendar with that method.
func isInvitation(p *mail.Part) bool {
	method := strings.ToUpper(strings.TrimSpace(p.Params["method"]))
	if p.Type != "text/calendar" || method == "" {
		return false
	}
	text := bytes.ToUpper(bytes.TrimPrefix(peek(p), utf8Mark))
	return bytes.HasPrefix(text, []byte("BEGIN:VCALENDAR")) && bytes.Contains(text, []byte("\nMETHOD:"+method))
}

// isArmored reports whether a text is signed or encrypted within itself (RFC 9580 6.2, 7): all of it, since what stands
// before and behind is anybody's.
func isArmored(text []byte) bool {
	text = bytes.TrimSpace(text)
	for begin, end := range map[string]string{
		"-----BEGIN PGP SIGNED MESSAGE-----": "-----END PGP SIGNATURE-----", "-----BEGIN PGP MESSAGE-----": "-----END PGP MESSAGE-----",
	} {
		if bytes.HasPrefix(text, []byte(begin)) && bytes.HasSuffix(text, []byte(end)) && bytes.Count(text, []byte(end)) == 1 {
			return true
		}
	}
	return false
}

// isFile reports whether readers show a part as a file beside the text. A message that has but one part, and what is an
// alternative or the text of a page (RFC 2387), is shown whatever it is called.
func isFile(p *mail.Part) bool {
	if p.Parent == nil || p.IsMultipart() || p.Parent.Type == "multipart/alternative" || p.Parent.Type == "multipart/related" {
		return false
	}
	return p.Disposition == "attachment" || len(p.Names) > 0
}

// start gives the part of a multipart/related that is the text and is not the first (RFC 2387 3.2); nil where it is.
func start(p *mail.Part) *mail.Part {
	id := strings.TrimSpace(p.Params["start"])
	if p.Type != "multipart/related" || id == "" {
		return nil
	}
	for _, c := range p.Children[1:] {
		if strings.TrimSpace(c.Header.Get("Content-ID")) == id {
			return c
		}
	}
	return nil
}
