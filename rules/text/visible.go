package text

import "sync"

// shown are the texts of a message in parts: what is shown of it.
type shown struct {
	once            sync.Once
	visible, hidden [][]byte
	visibleText     [][]byte
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

// VisibleText gives Body without the text that a reader does not get to see, by more marks than SpamAssassin knows: a background
// that an attribute sets, a font of no size, no opacity, no height.
func (m *Message) VisibleText() [][]byte {
	m.shown.once.Do(m.readShown)
	return m.shown.visibleText
}

func (m *Message) readShown() {
	s := &m.shown
	var visible, hidden, seen []text
	some, less := false, false
	for _, p := range m.Parts() {
		var v, h, t text
		if p.renders() {
			r := p.render()
			some, less = some || len(r.hidden) > 0, less || len(r.unseen) > 0
			v, h, t = r.without(r.hidden), r.only(r.hidden), r.without(r.unseen)
		}
		visible, hidden, seen = append(visible, v), append(hidden, h), append(seen, t)
	}
	s.visible, s.visibleText = m.Body(), m.Body()
	if some {
		s.visible = m.paragraphs(visible, m.subject())
	}
	if less {
		s.visibleText = m.paragraphs(seen, m.subject())
	}
	s.hidden = m.paragraphs(hidden, nil)
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
