package learner

import (
	"slices"

	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/rules/text"
)

// What is looked at of a text is bounded, and whoever wants to hide something behind what he has put before it knows the bound.
// So a message's texts share it: HTML, which is what people see where there is both, has most of it; calendars, cards and what else is
// shown beside the text have a small piece; what one part does not need the others have; and of a text that is longer than its share the
// beginning, the end and pieces of what is between are taken.

// Limits of texts.
const (
	maxText     = 4000    // octets of all texts of a message
	maxPlain    = 1000    // of these, of plain text beside HTML that needs the others
	leastBeside = 300     // of these, of calendars and the like beside a text
	mostBeside  = 1000    // of these, of calendars and the like together with a text that is shorter
	unseenPlain = 200     // octets of plain text that people do not see, since HTML stands in its place
	maxTexts    = 40      // parts of text
	maxWhole    = 1 << 16 // octets of one text in which what is taken is looked for
	maxHidden   = 1000    // octets of the text that HTML holds and does not show, beside maxText
	slice       = 200     // octets of a piece between the beginning and the end
)

// whole is the text of one part.
type whole struct {
	part *text.TextPart
	text []byte // as it looks
	as   place
	most int // octets of it that are taken
}

// place is what a part is to who reads the message.
type place uint8

const (
	asText place = iota
	asPage       // HTML
	beside       // a calendar, a card, a picture with words: shown, and not as the message's text
	places
)

func placeOf(p *text.TextPart) place {
	switch p.Shown {
	case "text/plain":
		return asText
	case "text/html":
		return asPage
	}
	return beside
}

// texts gives what is looked at of each part that has a text that people see, and how all of it was disguised.
func texts(parts []*text.TextPart) (pieces [][]byte, did disguise) {
	var all []*whole
	for _, p := range parts {
		b, ok := p.Visible()
		if !ok {
			continue
		}
		folded, d := fold(footerless(b)) // before anything is cut: padding that nobody sees takes no room
		did |= d
		w := &whole{part: p, text: middleless(folded, maxWhole), as: placeOf(p)}
		w.most = len(w.text)
		all = append(all, w)
	}
	all = longest(all, maxTexts)
	for _, w := range all {
		if w.as == asText {
			w.behind(all)
		}
	}
	share(all)
	for _, w := range all {
		pieces = append(pieces, pick(w.text, w.most)...)
	}
	return pieces, did
}

// behind bounds a plain text that people do not see.
func (w *whole) behind(all []*whole) {
	for p := w.part.Part.Parent; p != nil; p = p.Parent {
		if p.Type != "multipart/alternative" {
			continue
		}
		for _, h := range all {
			if h.as == asPage && within(h.part.Part, p) {
				w.most = min(w.most, unseenPlain)
				return
			}
		}
	}
}

func within(p, above *mail.Part) bool {
	for ; p != nil; p = p.Parent {
		if p == above {
			return true
		}
	}
	return false
}

// share bounds what is taken of each text: the plain ones leave most of it to HTML, and what is beside
// both has little, unless there is hardly any other.
func share(all []*whole) {
	var need, most [places]int
	for _, w := range all {
		need[w.as] += w.most
	}
	most[beside] = maxText
	if others := need[asText] + need[asPage]; others > 0 {
		most[beside] = min(need[beside], max(mostBeside-others, leastBeside))
	}
	most[asText] = min(need[asText], max(maxText-most[beside]-need[asPage], maxPlain))
	most[asPage] = maxText - most[beside] - most[asText]
	for as := range places {
		var some []*whole
		for _, w := range all {
			if w.as == as {
				some = append(some, w)
			}
		}
		fair(some, most[as])
	}
}

// fair shares so many octets among texts: each has as much as the others, or what it needs.
func fair(all []*whole, most int) {
	slices.SortStableFunc(all, func(a, b *whole) int { return a.most - b.most })
	for i, w := range all {
		w.most = min(w.most, most/(len(all)-i))
		most -= w.most
	}
}

// pick takes n octets of a text: half of them from its beginning, a quarter from its end, and the others in slices from between.
func pick(b []byte, n int) [][]byte {
	if len(b) <= n {
		return [][]byte{b}
	}
	begin, end := n/2, n/4
	count := (n - begin - end) / slice
	if count == 0 {
		return [][]byte{b[:n-end], b[len(b)-end:]}
	}
	pieces := [][]byte{b[:begin]}
	between := b[begin : len(b)-end]
	for k := range count {
		at := (len(between) - slice) * (k + 1) / (count + 1)
		pieces = append(pieces, between[at:at+slice])
	}
	return append(pieces, b[len(b)-end:])
}

// ends gives the first and the last of what there is too much of.
func ends[T any](all []T, most int) []T {
	if len(all) <= most {
		return all
	}
	return slices.Concat(all[:most/2], all[len(all)-most/2:])
}

// longest gives those with the most text, in their order.
func longest(all []*whole, most int) []*whole {
	if len(all) <= most {
		return all
	}
	order := slices.Clone(all)
	slices.SortStableFunc(order, func(a, b *whole) int { return len(b.text) - len(a.text) })
	least := map[*whole]bool{}
	for _, w := range order[most:] {
		least[w] = true
	}
	return slices.DeleteFunc(all, func(w *whole) bool { return least[w] })
}

// middleless gives a text without its middle, where it is longer.
func middleless(b []byte, most int) []byte {
	if len(b) <= most {
		return b
	}
	return slices.Concat(b[:most/2], b[len(b)-most/2:])
}
