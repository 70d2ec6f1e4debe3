package external

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/mail/charset"
)

const (
	textLimit   = 4 << 20 // octets of the texts of a message into which a banner is put
	maxTexts    = 8       // how many texts of a message are read for one
	maxMentions = 10      // how many texts without one are named
)

// marker puts a banner into the texts of one message.
type marker struct {
	*banner
	words         words
	off           bool // it takes the banner off where it would put it
	named         bool // parts that have names count as texts, too
	octets, texts int  // that may still be read
	into          []*mail.Part
	edits         []mail.Edit
	not           []string            // where none is, and why
	seen          map[*mail.Part]bool // texts and closed parts of which it is known where the banner stands
	results       map[*mail.Part]bool // what mark has given for a part
}

// edits gives the changes that put the banner into the text of a message, and a note about what was done, for people.
func (b *banner) edits(root *mail.Part, w words) (edits []mail.Edit, note string, err error) {
	m := marker{banner: b, words: w, octets: textLimit}
	if err := m.markAll(root); err != nil {
		return nil, "", err
	}
	var notes []string
	if len(m.into) > 0 {
		slices.SortFunc(m.into, func(a, b *mail.Part) int { return cmp.Compare(a.Offset, b.Offset) })
		var paths []string
		for _, p := range m.into {
			paths = append(paths, p.Path)
		}
		notes = append(notes, "banner in part "+strings.Join(paths, ", "))
	}
	if n := len(m.not); n > maxMentions {
		m.not = append(m.not[:maxMentions], fmt.Sprintf("and %d more", n-maxMentions))
	}
	switch {
	case len(m.not) > 0:
		notes = append(notes, "no banner in part "+strings.Join(m.not, ", "))
	case len(m.into) == 0:
		notes = append(notes, "no banner: there is no text to put it in")
	}
	return m.edits, strings.Join(notes, "; "), nil
}

// markAll puts the banner into the text of a message.
func (m *marker) markAll(root *mail.Part) error {
	m.texts, m.seen, m.results = maxTexts, map[*mail.Part]bool{}, map[*mail.Part]bool{}
	done, err := m.mark(root)
	if err == nil && !done { // it has no text but those that some readers take for files
		m.named = true
		clear(m.results)
		_, err = m.mark(root)
	}
	return err
}

// mark puts the banner into what readers show as the text of a part: into each of its alternatives (RFC 2046 5.1.4), else
// into the first in which it can stand (RFC 2046 5.1.3, RFC 2387). It reports whether it stands somewhere. Of alternatives
// the last one is the first to be marked, since it is what most readers show, and there may be more than are marked.
func (m *marker) mark(p *mail.Part) (done bool, err error) {
	if done, known := m.results[p]; known { // the part in which a page begins is asked about twice, and may be deep
		return done, nil
	}
	done, err = m.markAnew(p)
	m.results[p] = done
	return done, err
}

func (m *marker) markAnew(p *mail.Part) (done bool, err error) {
	switch {
	case !p.IsMultipart():
		if !p.IsLeaf() || p.Type != "text/plain" && p.Type != "text/html" || isFile(p) && (!m.named || p.Disposition == "attachment") {
			return false, nil
		}
		return m.text(p)
	case m.seen[p]:
		return false, nil
	}
	if why := closed(p); why != "" {
		m.seen[p] = true
		m.not = append(m.not, p.Path+" ("+why+")")
		return false, nil
	}
	if p.Type == "multipart/alternative" {
		for _, c := range slices.Backward(p.Children) {
			is, err := m.mark(c)
			if err != nil {
				return false, err
			}
			done = done || is
		}
		return done, nil
	}
	if s := start(p); s != nil { // what ignores where the text is shows the first
		if _, err := m.mark(s); err != nil {
			return false, err
		}
	}
	for _, c := range p.Children {
		if done, err := m.mark(c); done || err != nil {
			return done, err
		}
	}
	return false, nil
}

// text puts the banner into one text.
func (m *marker) text(p *mail.Part) (done bool, err error) {
	if m.seen[p] {
		return slices.Contains(m.into, p), nil
	}
	m.seen[p] = true
	e, why, err := m.annotate(p)
	switch {
	case err != nil:
		return false, err
	case why != "":
		m.not = append(m.not, p.Path+" ("+why+")")
		return false, nil
	}
	m.into = append(m.into, p)
	if e != nil {
		m.edits = append(m.edits, e)
	}
	return true, nil
}

// annotate gives the part with the banner, or without it (nil where it has none), or says why it is left alone.
func (m *marker) annotate(p *mail.Part) (e mail.Edit, why string, err error) {
	names, all := p.Charsets()
	name := ""
	if len(names) > 0 {
		name = names[0]
	}
	switch {
	case !all || len(names) > 1 || len(charset.Of(name).Conversions()) > 0:
		return nil, "its charset", nil
	case m.texts == 0:
		return nil, "there are too many", nil
	}
	m.texts--
	text, err := io.ReadAll(io.LimitReader(p.Open(), int64(m.octets)+1))
	switch {
	case err != nil:
		return nil, "", err
	case len(text) > m.octets:
		return nil, "it is too large", nil
	case bytes.IndexByte(text, 0) >= 0, len(charset.Marked(text)) > 0 && !bytes.HasPrefix(text, utf8Mark):
		return nil, "its charset", nil
	case isArmored(text):
		return nil, "it is signed or encrypted", nil
	}
	m.octets -= len(text)
	at, words, name, err := m.place(p, m.words, name, text)
	if err != nil {
		return nil, "", err
	}
	if m.off {
		return bare(p, name, text, at, words), "", nil
	}
	body, transfer := mail.EncodeText(slices.Concat(text[:at], []byte(words), text[at:]))
	return mail.AnnotatePart{Path: p.Path, Header: header(p, name, transfer), Body: body}, "", nil
}

// place gives where in the text of a part the banner stands, its octets in the charset of that name, and the charset that the text has
// with it.
func (b *banner) place(p *mail.Part, w words, name string, text []byte) (at int, octets, charset string, err error) {
	if bytes.HasPrefix(text, utf8Mark) {
		at = len(utf8Mark)
	}
	if p.Type == "text/html" {
		octets, err = b.marked(w)
		return at + bodyStart(text[at:]), octets, name, err
	}
	if octets, err = b.plain(w); err == nil {
		octets, name = inCharset(octets, name, text)
	}
	return at, octets, name, err
}
