package text

import (
	"bytes"
	"slices"
	"sync"
)

// shown are the texts of a message in parts: what is shown of it.
type shown struct {
	once            sync.Once
	visible, hidden [][]byte

	seenOnce sync.Once
	seen     paragraphs // VisibleText
	unseen   []byte     // HiddenText
	early    []byte     // HiddenPreview
	turned   int        // TurnedLetters
	differs  bool       // VisibleText has words that Body has not

	unmaskOnce sync.Once
	unmasked   [][]byte // Unmasked,
	more       bool     // and whether Body has other words
}

// VisibleBody gives Body without the text that SpamAssassin takes for hidden by its colour, its size or its style: what its
// Bayes plugin learns.
func (m *Message) VisibleBody() [][]byte {
	m.shown.once.Do(m.readShown)
	return m.shown.visible
}

// HiddenBody gives the text that VisibleBody leaves out, in paragraphs. There is none of the subject.
func (m *Message) HiddenBody() [][]byte {
	m.shown.once.Do(m.readShown)
	return m.shown.hidden
}

// VisibleText gives the text that people see in mail clients and browsers, in paragraphs as Body does, the subject's first. It
// reads HTML as browsers do (WHATWG), styles among it, knows parts that SpamAssassin leaves out, and takes the title of a page for
// none of its text. Of a text that is longer than what is rendered it has the beginning and the end.
func (m *Message) VisibleText() [][]byte {
	m.shown.seenOnce.Do(m.readSeen)
	return m.shown.seen.all
}

// VisibleProse gives VisibleText without its first paragraph, as one.
func (m *Message) VisibleProse() []byte {
	m.shown.seenOnce.Do(m.readSeen)
	return m.shown.seen.behind()
}

// HiddenText gives the text of HTML that no reader gets to see: it has the colour of its background, no size, or is not
// displayed. Those who sift mail by its words are to read it. What fills up the line that lists of mail show is left out.
func (m *Message) HiddenText() []byte {
	m.shown.seenOnce.Do(m.readSeen)
	return m.shown.unseen
}

// HiddenPreview gives what of HiddenText stands at the beginning of its page, before all but a few words that are shown: lists of mail
// show it as the preview of a message.
func (m *Message) HiddenPreview() []byte {
	m.shown.seenOnce.Do(m.readSeen)
	return m.shown.early
}

// TurnedLetters gives how many letters of ASCII stand backwards in pages, and are shown forwards, since the direction of all letters is
// turned there.
func (m *Message) TurnedLetters() int {
	m.shown.seenOnce.Do(m.readSeen)
	return m.shown.turned
}

func (m *Message) readSeen() {
	s := &m.shown
	texts := make([]text, 0, len(m.Parts()))
	same := true
	for _, p := range m.Parts() {
		v := p.view()
		s.differs = s.differs || !v.same
		for _, g := range v.pages {
			s.turned += g.turned
		}
		switch {
		case len(v.pages) > 0 || !v.same:
			same = false
			texts = append(texts, text{v.seen, true})
			s.unseen, s.early = appendUnfilled(s.unseen, v.hidden), appendUnfilled(s.early, v.early)
		case p.renders():
			texts = append(texts, p.render().text)
		default:
			texts = append(texts, text{})
		}
	}
	limit := scan(m.opt.BodyScan, defaultBodyScan)
	for i := range texts {
		var cut bool
		if texts[i], cut = texts[i].ends(limit); cut {
			m.known.cut(CutBody)
			same = false
		}
	}
	if s.seen = m.paragraphed(); !same {
		s.seen = m.paragraphs(texts, m.subject())
	}
	s.unseen = bytes.TrimSpace(s.unseen)
}

// ends gives a text that has limit characters at most: four fifths from the beginning of a longer one, and one from its end.
func (t text) ends(limit int) (short text, cut bool) {
	if len(t.utf8) <= limit {
		return t, false
	}
	n := t.length()
	if n <= limit {
		return t, false
	}
	const gap = "\n\n"
	tail := max(0, limit/5-len(gap))
	head := t.utf8[:t.offset(limit*4/5)]
	return text{slices.Concat(head, []byte(gap), t.utf8[t.offset(n-tail):]), t.chars}, true
}

func (m *Message) readShown() {
	s := &m.shown
	var visible, hidden []text
	some := false
	for _, p := range m.Parts() {
		var v, h text
		if p.renders() {
			r := p.render()
			some = some || len(r.hidden) > 0
			v, h = r.without(r.hidden), r.only(r.hidden)
		}
		visible, hidden = append(visible, v), append(hidden, h)
	}
	s.visible = m.Body()
	if some {
		s.visible = m.paragraphs(visible, m.subject()).all
	}
	s.hidden = m.paragraphs(hidden, nil).all
}

// without gives the text without some pieces.
func (r *rendering) without(spans []span) text {
	if len(spans) == 0 {
		return r.text
	}
	out := make([]byte, 0, len(r.utf8))
	at := 0
	for _, s := range spans {
		from := min(s.from, len(r.utf8))
		out = append(out, r.utf8[at:max(at, from)]...)
		at = max(at, min(s.to, len(r.utf8)))
	}
	return text{append(out, r.utf8[at:]...), r.charsBut(spans)}
}

// charsBut reports whether the text is of characters without some pieces.
func (r *rendering) charsBut(spans []span) bool {
	if len(r.wide) == 0 {
		return r.chars
	}
	for _, w := range r.wide {
		within := false
		for _, s := range spans {
			within = within || s.from <= w.from && w.to <= s.to
		}
		if !within {
			return true
		}
	}
	return false
}

// only gives some pieces of the text.
func (r *rendering) only(spans []span) text {
	if r.html == nil || len(spans) == 0 {
		return text{}
	}
	var out []byte
	for _, s := range spans {
		out = append(out, r.utf8[min(s.from, len(r.utf8)):min(s.to, len(r.utf8))]...)
	}
	return text{out, r.chars}
}
