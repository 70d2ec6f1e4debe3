package dsn

import (
	"bytes"
	"net"
	"net/netip"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/postern-mail/postern/mail"
)

// Limits on the words of strangers, in octets.
const (
	maxDiagnostic = 1000
	maxName       = 255
	maxOriginal   = 500 // RFC 3461 4.2
	maxEnvelopeID = 100 // RFC 3461 4.4
	maxWord       = 900 // without a blank, in a field
)

// actions has, of each action, the subject of a report whose gravest it is, the first digit of its status codes, and what
// the text says above the recipients.
var actions = map[Action]struct {
	subject string
	classes []int
	heading string
}{
	// RFC 3464 2.3.3: a failure may be a temporary one that did not end.
	Failed:    {"Your message could not be delivered", []int{5, 4}, "Your message could not be delivered to:"},
	Delayed:   {"Your message is delayed", []int{4}, "Your message could not be delivered yet to:"},
	Relayed:   {"Your message was passed on", []int{2}, "Your message was passed on to a server that sends no notice of delivery, for:"},
	Expanded:  {"Your message was passed on", []int{2}, "Your message was passed on to several addresses in place of:"},
	Delivered: {"Your message was delivered", []int{2}, "Your message was delivered to:"},
}

// order has the gravest action first.
var order = []Action{Failed, Delayed, Relayed, Expanded, Delivered}

// worst gives the gravest action of the report.
func (r *Report) worst() Action {
	for _, a := range order {
		if r.has(a) {
			return a
		}
	}
	return Delivered
}

func (r *Report) has(a Action) bool {
	return slices.ContainsFunc(r.Recipients, func(to Recipient) bool { return to.Action == a })
}

// status writes the part for programs (RFC 3464 2, RFC 6533 4.1).
func (r *Report) status() part {
	w := statusWriter{global: r.global()}
	// RFC 3461 6.3 (a): decoded.
	w.field("Original-Envelope-Id", w.text(decodeXtext(r.EnvelopeID), maxEnvelopeID))
	w.field("Reporting-MTA", "dns; "+mtaName(r.ReportingMTA))
	if name := clientName(r.ReceivedFrom); name != "" {
		// RFC 3464 2.2.4: the name as it was said, the address as a comment.
		if r.ReceivedAddr.IsValid() {
			name += " (" + literal(r.ReceivedAddr) + ")"
		}
		w.field("Received-From-MTA", "dns; "+name)
	}
	if !r.Arrival.IsZero() {
		w.field("Arrival-Date", date(r.Arrival))
	}
	w.field("X-Postern-ID", w.text(r.QueueID, maxName))
	for _, to := range r.Recipients {
		w.b.WriteString("\r\n")
		w.recipient(r, to)
	}
	fields := "Content-Type: message/delivery-status\r\n"
	if w.global {
		fields = "Content-Type: message/global-delivery-status\r\n"
	}
	if !isASCII(w.b.Bytes()) {
		fields += "Content-Transfer-Encoding: 8bit\r\n"
	}
	return part{fields, w.b.Bytes()}
}

// statusWriter writes the fields of a report.
type statusWriter struct {
	b      bytes.Buffer
	global bool // UTF-8 may stand in them
}

func (w *statusWriter) recipient(r *Report, to Recipient) {
	w.field("Original-Recipient", w.original(to.Original))
	w.exact("Final-Recipient", w.final(r.address(to.Address)))
	w.field("Action", string(to.Action))
	w.field("Status", to.status().String())
	if name := mtaName(to.RemoteMTA); name != "" {
		w.field("Remote-MTA", "dns; "+name)
	}
	if !to.Diagnostic.IsZero() {
		// RFC 3461 9.2: the reply, its lines in one.
		w.field("Diagnostic-Code", "smtp; "+w.text(to.Diagnostic.String(), maxDiagnostic))
	}
	if !to.Last.IsZero() {
		w.field("Last-Attempt-Date", date(to.Last))
	}
	// RFC 3464 2.3.9: only of a delay.
	if to.Action == Delayed && !r.Until.IsZero() {
		w.field("Will-Retry-Until", date(r.Until))
	}
}

// field writes a field in lines of at most 78 octets where blanks allow it, and never more than the 998 of RFC 5322 2.1.1.
// An empty one it leaves out.
func (w *statusWriter) field(name, body string) {
	if body == "" {
		return
	}
	f := mail.NewFolder(name)
	for _, word := range strings.Fields(body) {
		for len(word) > maxWord {
			n := maxWord
			for !utf8.RuneStart(word[n]) {
				n--
			}
			f.Word(word[:n])
			word = word[n:]
		}
		f.Word(word)
	}
	w.b.WriteString(name + ": " + f.String() + "\r\n")
}

// exact writes a field whose blanks matter: RFC 3464 2.3.2 wants the address as it is. Only one of hundreds of characters that
// had to be encoded may be too long for that.
func (w *statusWriter) exact(name, body string) {
	if len(name)+len(": ")+len(body) > 998 {
		w.field(name, body)
		return
	}
	w.b.WriteString(name + ": " + body + "\r\n")
}

// text makes words of a stranger fit into a field.
func (w *statusWriter) text(s string, limit int) string {
	if s = clean(s, limit); w.global {
		return s
	}
	return asciiOnly(s)
}

// final gives the type and the address of a recipient.
func (w *statusWriter) final(address string) string {
	switch {
	case isASCII(address):
		return "rfc822; " + address
	case w.global:
		return "utf-8; " + address
	}
	// RFC 6533 3: in message/delivery-status as utf-8-addr-xtext.
	return "utf-8; " + encodeUnitext(address)
}

// original gives type and address of what a client wrote as ORCPT (RFC 3461 6.3 (d)), "" for nothing.
func (w *statusWriter) original(orcpt string) string {
	if orcpt = clean(orcpt, maxOriginal); orcpt == "" {
		return ""
	}
	kind, address, ok := strings.Cut(orcpt, ";")
	if !ok || !isAtom(kind) {
		// RFC 3464 2.3.1: where the type can't be determined.
		return "unknown; " + w.text(orcpt, maxOriginal)
	}
	if !strings.EqualFold(kind, "utf-8") {
		address = clean(decodeXtext(address), maxOriginal)
		if strings.EqualFold(kind, "rfc822") && !isASCII(address) {
			return w.final(address) // as Postfix writes it
		}
		return kind + "; " + w.text(address, maxOriginal)
	}
	if w.global {
		// RFC 6533 4.1: as utf-8-address, where it is one.
		return kind + "; " + clean(decodeUnitext(address), maxOriginal)
	}
	return kind + "; " + encodeUnitext(address)
}

// status gives the status code: the given one, else that of the reply, if it suits the action, else the general one (RFC
// 3461 6.3 (g)).
func (to *Recipient) status() mail.Enhanced {
	classes := actions[to.Action].classes
	for _, e := range []mail.Enhanced{to.Status, to.Diagnostic.Enhanced} {
		// RFC 3463 2: up to three digits.
		if slices.Contains(classes, e[0]) && 0 <= e[1] && e[1] <= 999 && 0 <= e[2] && e[2] <= 999 {
			return e
		}
	}
	if class := to.Diagnostic.Code / 100; slices.Contains(classes, class) {
		return mail.Enhanced{class, 0, 0}
	}
	return mail.Enhanced{classes[0], 0, 0}
}

// mtaName gives the name of a host, or its address as a literal, and "" for what is neither. A port is left away.
func mtaName(server string) string {
	if host, _, err := net.SplitHostPort(server); err == nil {
		server = host
	}
	if a, err := netip.ParseAddr(strings.Trim(server, "[]")); err == nil {
		return literal(a)
	}
	if name, err := mail.Domain(server); err == nil {
		return name
	}
	return ""
}

// clientName gives the name that a client said, if it can stand in a report as it is, and "" if not.
func clientName(helo string) string {
	if len(helo) > maxName || strings.ContainsFunc(helo, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`()<>,;"\`, r)
	}) {
		return ""
	}
	return helo
}

// literal writes an address as RFC 5321 4.1.3 has it, without the zone, which says nothing to others.
func literal(a netip.Addr) string {
	if a = a.Unmap().WithZone(""); a.Is4() {
		return "[" + a.String() + "]"
	}
	return "[IPv6:" + a.String() + "]"
}
