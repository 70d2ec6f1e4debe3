package learner

import (
	"bytes"
	"crypto/sha256"
	"strings"

	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/rules/text"
)

// maxText is how many octets of the visible text are looked at.
const maxText = 6000

// FromMessage gives what is to be learned of a message and the rules that hit it; these may be nil.
func FromMessage(m *text.Message, hits []auth.RuleHit) Sample {
	g := NewGather()
	collect(g, m, hits)
	return g.Sample(digest(m))
}

// ExplainMessage is FromMessage, and keeps the text of each feature.
func ExplainMessage(m *text.Message, hits []auth.RuleHit) Sample {
	g := NewExplaining()
	collect(g, m, hits)
	return g.Sample(digest(m))
}

// digest names what a message says: its subject, its author and its text. What servers add on the way is no part of it.
func digest(m *text.Message) (d Digest) {
	h := sha256.New()
	header := m.Content().Header()
	for _, name := range []string{"Subject", "From", "Message-ID"} {
		h.Write([]byte(header.Get(name)))
		h.Write([]byte{0})
	}
	for _, p := range m.Body() {
		h.Write(p)
	}
	copy(d[:], h.Sum(nil))
	return d
}

func collect(g *Gather, m *text.Message, hits []auth.RuleHit) {
	for _, h := range hits {
		g.Mark("rule", h.Name)
	}
	header := m.Content().Header()
	g.Words("subject", []byte(mail.DecodeWords(header.Get("Subject"))))
	for _, box := range mail.ParseMailboxes(header.Get("From")) {
		g.Words("from", []byte(box.Name))
		g.Words("fromaddr", []byte(strings.Replace(box.Address, "@", " ", 1)))
	}
	links(g, m.URIs())
	m.Content().Root().Walk(func(p *mail.Part) bool {
		g.Mark("part", p.Type)
		return true
	})
	left := maxText
	for i, p := range m.Body() {
		if i == 0 { // the subject's
			continue
		}
		p = p[:min(len(p), left)]
		left -= len(p)
		g.Words("", bytes.TrimSpace(p))
	}
}

// maxLinks is how many links of a message are looked at.
const maxLinks = 50

func links(g *Gather, all []text.URI) {
	for _, u := range all[:min(len(all), maxLinks)] {
		g.Mark("host", u.Host)
		if u.Domain != u.Host {
			g.Mark("host", u.Domain)
		}
	}
}
