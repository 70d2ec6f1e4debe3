package heuristics

import (
	"fmt"
	netmail "net/mail"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/mail"
)

// message is what the looks look at.
type message struct {
	in     *filter.Input
	header *mail.Header
	root   *mail.Part
	from   []mail.Mailbox // of all From fields
	now    time.Time      // when the transaction began

	off   map[string]bool
	found []filter.Finding
}

func (m *message) find(symbol string, strength float64, detail string) {
	if !m.off[symbol] {
		m.found = append(m.found, filter.Finding{Symbol: symbol, Strength: strength, Detail: clip(detail)})
	}
}

// message runs every look over the content. Of relay clients' mail only that is looked at which is wrong from
// anybody: scanners and printers leave fields out, and the gateway adds them (RFC 6409 8).
func (c *check) message(in *filter.Input) (filter.Result, error) {
	m := &message{in: in, header: in.Content.Header(), root: in.Content.Root(), now: in.Transaction.Began, off: c.off}
	if m.now.IsZero() {
		m.now = time.Now()
	}
	for _, f := range m.header.All("From") {
		m.from = append(m.from, mail.ParseMailboxes(f.Body())...)
	}
	m.author()
	m.duplicates()
	m.structure()
	if !in.Session.Relay {
		m.date()
		m.recipients()
		m.messageID()
		m.subject()
		m.encoding()
		c.ownDomain(m)
	}
	// A header or tree that could not be read is no evidence.
	if err := in.Content.Err(); err != nil {
		return filter.Result{}, fmt.Errorf("heuristics: %w", err)
	}
	return filter.Result{Findings: m.found}, nil
}

// lacks reports whether a field is not there; of a header that was not read to its end nobody can say so.
func (m *message) lacks(names ...string) bool {
	if m.header.Truncated() {
		return false
	}
	return !slices.ContainsFunc(names, func(n string) bool { return m.header.Count(n) > 0 })
}

const (
	future = 2 * 24 * time.Hour
	past   = 10 * 24 * time.Hour
)

// usualDate is how almost all dates are written (RFC 5322 3.3). It is one of the forms that netmail.ParseDate tries in
// turn, with an error for each of those before it.
const usualDate = "Mon, 2 Jan 2006 15:04:05 -0700"

func (m *message) date() {
	if m.lacks("Date") {
		m.find(missingDate, 1, "")
		return
	}
	if m.header.Count("Date") == 0 {
		return
	}
	text := m.header.Get("Date")
	at, err := time.Parse(usualDate, text)
	if err != nil {
		at, err = netmail.ParseDate(text)
	}
	switch {
	case err != nil:
		m.find(invalidDate, 1, text)
	case at.Sub(m.now) > future:
		m.find(dateInFuture, 1, fmt.Sprintf("%d days ahead", int(at.Sub(m.now).Hours()/24)))
	case m.now.Sub(at) > past:
		m.find(dateInPast, 1, fmt.Sprintf("%d days old", int(m.now.Sub(at).Hours()/24)))
	}
}

func (m *message) recipients() {
	// RFC 5322 3.6.3: all three are optional, and mail that people write has one.
	if m.lacks("To", "Cc", "Bcc", "Resent-To") {
		m.find(noRecipientField, 1, "")
	}
}

func (m *message) messageID() {
	if m.lacks("Message-ID") {
		m.find(missingMessageID, 1, "")
	}
}

// capitals is the number of letters from which on a subject in capitals is no abbreviation.
const capitals = 12

func (m *message) subject() {
	subject := mail.DecodeWords(m.header.Get("Subject"))
	if m.lacks("Subject") || m.header.Count("Subject") > 0 && strings.TrimSpace(subject) == "" {
		m.find(missingSubject, 1, "")
		return
	}
	upper, words := 0, len(strings.Fields(subject))
	for _, r := range subject {
		if unicode.IsLower(r) {
			return
		}
		if unicode.IsUpper(r) {
			upper++
		}
	}
	if upper >= capitals && words > 1 {
		m.find(subjectAllCaps, 1, fmt.Sprintf("%d capitals", upper)) // never the subject: details are logged
	}
}

// encoding looks for encoded words in base64 (RFC 2047 4.1) that hold nothing but what could have stood there as it
// is: a way to keep a word from filters.
func (m *message) encoding() {
	for _, name := range []string{"Subject", "From"} {
		body := m.header.Get(name)
		lower := strings.ToLower(body)
		if !strings.Contains(lower, "?b?") || strings.Contains(lower, "=?iso-2022-") {
			continue
		}
		if decoded := mail.DecodeWords(body); decoded != body && plain(decoded) {
			m.find(needlessEncoding, 1, name)
			return
		}
	}
}

func plain(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

// single lists the fields that may stand once: RFC 5322 3.6, and RFC 2045 for MIME's. From has a look of its own.
var single = []string{
	"Date", "Sender", "Reply-To", "To", "Cc", "Bcc", "Message-ID", "In-Reply-To", "References", "Subject",
	"MIME-Version", "Content-Type", "Content-Transfer-Encoding",
}

func (m *message) duplicates() {
	var twice []string
	for _, name := range single {
		if m.header.Count(name) > 1 {
			twice = append(twice, name)
		}
	}
	if len(twice) > 0 {
		m.find(duplicateField, 1, strings.Join(twice, ", "))
	}
}

// harmless are departures that much honest mail has, and that mislead no reader.
var harmless = map[mail.DefectKind]bool{
	mail.NoMIMEVersion: true,
	mail.MboxFrom:      true,
}

// maxDefects is how many defects count.
const maxDefects = 5

func (m *message) structure() {
	count := 0
	var kinds []string
	html, text := false, false
	m.root.Walk(func(p *mail.Part) bool {
		for _, d := range p.Defects {
			if !harmless[d.Kind] {
				count++
				if len(kinds) < maxDefects && !slices.Contains(kinds, string(d.Kind)) {
					kinds = append(kinds, string(d.Kind))
				}
			}
		}
		if p.IsLeaf() && p.Disposition != "attachment" {
			html = html || p.Type == "text/html"
			text = text || p.Type == "text/plain"
		}
		return true
	})
	if count > 0 {
		m.find(mimeDefect, float64(min(count, maxDefects)), strings.Join(kinds, ", "))
	}
	if html && !text {
		m.find(htmlOnly, 1, "")
	}
}

// detailLimit bounds the detail of a finding, in octets.
const detailLimit = 200

func clip(s string) string {
	if len(s) > detailLimit {
		s = strings.ToValidUTF8(s[:detailLimit], "") + "…"
	}
	return s
}
