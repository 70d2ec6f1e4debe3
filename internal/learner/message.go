package learner

import (
	"bytes"
	"crypto/sha256"
	"strings"

	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/rules/text"
)

// What is looked at of a message. What tells one mail server, mailing list or year from another is left out: dates, names of
// hosts, ids, the fields of lists, and what other filters have written into the header. It would be the first thing that is
// learned of a corpus, and no help with anybody's next mail.

// Limits of what is looked at.
const (
	maxText    = 4000 // octets of the visible text
	maxField   = 300  // octets of a header field
	maxLinks   = 40
	maxAuthors = 3
	maxParts   = 20
	hitWeight  = 5 // features that the hit of a rule makes
)

// FromMessage gives what is to be learned of a message and of the rules that hit it; these may be nil.
func FromMessage(m *text.Message, hits []auth.RuleHit) Sample {
	g := NewGather()
	collect(g, m, hits)
	return g.Sample(DigestOf(m))
}

// DigestOf names what a message says: its author, its subject, its Message-ID and its text. What servers add on the way, and
// how they encode it, is no part of it.
func DigestOf(m *text.Message) (d Digest) {
	h := sha256.New()
	header := m.Content().Header()
	for _, name := range []string{"From", "Subject", "Message-ID"} {
		h.Write(squeeze([]byte(mail.DecodeWords(header.Get(name)))))
		h.Write([]byte{0})
	}
	for _, p := range m.Parts() {
		if b, ok := p.Rendered(); ok {
			h.Write(squeeze(b))
		} else {
			h.Write(p.Decoded())
		}
		h.Write([]byte{0})
	}
	copy(d[:], h.Sum(nil))
	return d
}

// squeeze makes one blank of all white space, which servers change.
func squeeze(b []byte) []byte { return bytes.Join(bytes.Fields(b), []byte(" ")) }

func collect(g *Gather, m *text.Message, hits []auth.RuleHit) {
	for _, h := range hits {
		g.Mark("rule", h.Name, hitWeight)
	}
	fields(g, m.Content().Header())
	links(g, m.Links())
	left := maxText
	for i, p := range m.Parts() {
		if i < maxParts {
			g.Mark("part", p.Type, 1)
		}
		b, ok := p.Rendered()
		if !ok {
			continue
		}
		b = footerless(b)
		b = b[:min(len(b), left)]
		left -= len(b)
		g.Grams("", b)
	}
	structure(g, m.Content().Root())
}

// fields takes the fields that a reader sees, and how the others stand.
func fields(g *Gather, h *mail.Header) {
	subject := cut(tagless(mail.DecodeWords(h.Get("Subject"))), maxField)
	g.Words("subject", []byte(subject))
	g.Grams("subject", []byte(" "+subject+" "))
	authors := mail.ParseMailboxes(cut(h.Get("From"), 4*maxField))
	for _, box := range authors[:min(len(authors), maxAuthors)] {
		name, address := cut(box.Name, maxField), cut(box.Address, maxField)
		local, domain, _ := strings.Cut(address, "@")
		g.Words("from", []byte(name))
		g.Words("address", []byte(local))
		g.Words("address", []byte(domain))
		g.Grams("from", []byte(" "+name+" <"+address+">"))
	}
}

// tagless takes the tags of mailing lists, as "[list]", from the beginning of a subject, also behind "Re:" and the like.
func tagless(s string) string {
	answers := ""
	for {
		s = strings.TrimSpace(s)
		i, end := strings.IndexByte(s, ':'), strings.IndexByte(s, ']')
		switch {
		case strings.HasPrefix(s, "[") && end > 0 && end < 40:
			s = s[end+1:]
		case i > 0 && i <= 3 && len(answers) < 20: // Re, Fwd, AW, …
			answers += s[:i+1] + " "
			s = s[i+1:]
		default:
			return answers + s
		}
	}
}

// maxFooter is how many octets at the end of a text may be what a mailing list adds. It is little: whoever writes such lines
// himself hides no more than that.
const maxFooter = 500

// footerless takes what a mailing list adds from the end of a text: behind a line of underscores or dashes, where it speaks of a
// list.
func footerless(b []byte) []byte {
	from := max(len(b)-maxFooter, 0)
	tail := b[from:]
	for _, rule := range []string{"\n__________", "\n----------"} {
		i := bytes.Index(tail, []byte(rule))
		if i < 0 {
			continue
		}
		for _, word := range []string{"listinfo", "mailing list", "unsubscribe"} {
			if bytes.Contains(bytes.ToLower(tail[i:]), []byte(word)) {
				return b[:from+i+1]
			}
		}
	}
	return b
}

func cut(s string, most int) string { return s[:min(len(s), most)] }

// structure takes how the message is put together.
func structure(g *Gather, root *mail.Part) {
	n := 0
	root.Walk(func(p *mail.Part) bool {
		if n++; n > maxParts {
			return false
		}
		if p.IsMultipart() {
			g.Mark("part", p.Type, 1)
		}
		return true
	})
}

// links takes where links lead. Their scheme is left out: how many sites have https is a matter of the year.
func links(g *Gather, all []text.URI) {
	for _, u := range all[:min(len(all), maxLinks)] {
		if u.Is("domainkeys") {
			continue // who signs is no link, and how many sign is a matter of the year too
		}
		if strings.Contains(u.Raw, "/listinfo/") {
			continue // in a footer that quoting has broken up
		}
		if host := u.Host; host != "" {
			g.Mark("host", host, 1)
			if domain := u.Domain; domain != host {
				g.Mark("host", domain, 1)
			}
			if i := strings.LastIndexByte(host, '.'); i >= 0 {
				g.Mark("host", host[i:], 1)
			}
		}
		rest := cut(u.Raw, maxField)
		if i := strings.Index(rest, "://"); i >= 0 {
			rest = rest[i+3:]
		}
		g.Grams("link", []byte(rest))
	}
}
