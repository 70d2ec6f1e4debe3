package learner

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
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
	maxField   = 300 // octets of a header field
	maxLinks   = 40
	maxAuthors = 3
	maxParts   = 20
	hitWeight  = 2 // features that the hit of a rule makes
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
	left := int64(maxFiles)
	for _, p := range m.Parts() {
		if b, ok := p.Rendered(); ok {
			h.Write(squeeze(b))
		} else {
			left -= file(h, p, min(maxFile, left))
		}
		h.Write([]byte{0})
	}
	copy(d[:], h.Sum(nil))
	return d
}

// Limits of what of the parts without a text is part of a digest, in octets: of each, and of all.
const (
	maxFile  = 64 << 10
	maxFiles = 1 << 20
)

// file writes the beginning of a part as it is decoded, without CRs, which some put before each LF.
func file(h hash.Hash, p *text.TextPart, most int64) (read int64) {
	r := io.LimitReader(p.Part.Open(), most)
	buf := make([]byte, 8<<10)
	for {
		n, err := r.Read(buf)
		read += int64(n)
		h.Write(bytes.ReplaceAll(buf[:n], []byte("\r"), nil))
		if err == nil {
			continue
		}
		if !errors.Is(err, io.EOF) {
			p.Decoded() // meets it, too, and then the message has it
		}
		return read
	}
}

// squeeze makes one blank of all white space, which servers change.
func squeeze(b []byte) []byte { return bytes.Join(bytes.Fields(b), []byte(" ")) }

// Shares of maxFeatures. What is left by all of them is the text's, and what they do not need.
const (
	shareRules     = 400
	shareStructure = 60
	shareSubject   = 400
	shareAuthors   = 300
	shareLinks     = 800
	shareSpaced    = 100
	shareHidden    = 500
)

func collect(g *Gather, m *text.Message, hits []auth.RuleHit) {
	g.share(shareRules)
	for _, h := range hits {
		g.Mark("rule", h.Name, hitWeight)
	}
	g.share(shareStructure)
	structure(g, m.Content().Root())
	for _, p := range ends(m.Parts(), maxParts) {
		g.Mark("part", p.Type, 1)
	}
	did := fields(g, m.Content().Header())
	links(g, m.Links())
	pieces, d := texts(m.Parts())
	g.share(shareSpaced)
	for _, b := range pieces {
		if words := spacedOut(b); words != nil {
			d |= spaced
			g.Grams("", words)
		}
	}
	g.share(len(disguises) * hitWeight)
	for _, x := range disguises {
		if (did|d)&x.is != 0 {
			g.Mark("disguise", x.name, hitWeight)
		}
	}
	hidden(g, m)
	left := 0
	for _, b := range pieces {
		left += len(b)
	}
	for _, b := range pieces {
		g.share((maxFeatures - len(g.features)) * len(b) / max(left, 1))
		left -= len(b)
		g.Grams("", b)
	}
	g.share(maxFeatures)
}

// hidden takes the text that HTML holds and no reader gets to see, as something else than what is read: whoever hides the words of
// wanted mail in it wins nothing by them.
func hidden(g *Gather, m *text.Message) {
	g.share(shareHidden)
	b, _ := fold(m.HiddenText())
	for _, piece := range pick(b, maxHidden) {
		g.Grams("hidden", piece)
	}
}

// fields takes the fields that a reader sees, and tells how the subject was disguised.
func fields(g *Gather, h *mail.Header) disguise {
	subject, did := fold([]byte(cut(tagless(mail.DecodeWords(h.Get("Subject"))), maxField)))
	g.share(shareSubject)
	if words := spacedOut(subject); words != nil {
		did |= spaced
		g.Words("subject", words)
		g.Grams("subject", words)
	}
	g.Words("subject", subject)
	g.Grams("subject", []byte(" "+string(subject)+" "))
	authors := mail.ParseMailboxes(cut(h.Get("From"), 4*maxField))
	authors = authors[:min(len(authors), maxAuthors)]
	for _, box := range authors {
		g.share(shareAuthors / len(authors))
		name, address := cut(box.Name, maxField), cut(box.Address, maxField)
		local, domain, _ := strings.Cut(address, "@")
		g.Words("from", []byte(name))
		g.Words("address", []byte(local))
		g.Words("address", []byte(domain))
		g.Grams("from", []byte(" "+name+" <"+address+">"))
	}
	return did
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

// links takes where links lead. Their scheme is left out: how many sites have https is a matter of the year. Of more than
// are looked at those are, the first and the last, whose domain is another one; what their text says shares what there is.
func links(g *Gather, all []text.URI) {
	all = chosen(all)
	for _, u := range all {
		g.share(3)
		if host := u.Host; host != "" {
			g.Mark("host", host, 1)
			if domain := u.Domain; domain != host {
				g.Mark("host", domain, 1)
			}
			if i := strings.LastIndexByte(host, '.'); i >= 0 {
				g.Mark("host", host[i:], 1)
			}
		}
	}
	left := shareLinks
	for i, u := range all {
		rest := cut(u.Raw, maxField)
		if i := strings.Index(rest, "://"); i >= 0 {
			rest = rest[i+3:]
		}
		had := len(g.features)
		g.share(left / (len(all) - i))
		g.Grams("link", []byte(rest))
		left -= len(g.features) - had
	}
}

// chosen gives the links that are looked at.
func chosen(all []text.URI) (links []text.URI) {
	var more []text.URI
	seen := map[string]bool{}
	for _, u := range all {
		switch {
		case u.Is("domainkeys"): // who signs is no link, and how many sign is a matter of the year too
		case strings.Contains(u.Raw, "/listinfo/"): // in a footer that quoting has broken up
		case seen[u.Domain]:
			more = append(more, u)
		default:
			seen[u.Domain] = true
			links = append(links, u)
		}
	}
	links = ends(links, maxLinks)
	return append(links, ends(more, maxLinks-len(links))...)
}
