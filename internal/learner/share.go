package learner

import (
	"slices"

	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/rules/text"
)

// What is looked at of a text is bounded, and whoever wants to hide something behind what he has put before it knows the bound.
// So a message's texts share it: HTML, which is what people see where there is both, has most of it; what one part does not need
// the others have; and of a text that is longer than its share the beginning, the end and pieces of what is between are taken.

// Limits of texts.
const (
	maxText     = 4000    // octets of all texts of a message
	maxPlain    = 1000    // of these, of plain text beside HTML that needs the others
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
	html bool   // or something else that is shown as a page
	most int    // octets of it that are taken
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
		w := &whole{part: p, text: middleless(folded, maxWhole), html: p.Shown != "text/plain"}
		w.most = len(w.text)
		all = append(all, w)
	}
	all = longest(all, maxTexts)
	for _, w := range all {
		if !w.html {
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
			if h.html && within(h.part.Part, p) {
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

// share bounds what is taken of each text: the plain ones leave most of it to HTML.
func share(all []*whole) {
	need := [2]int{}
	for _, w := range all {
		need[class(w.html)] += w.most
	}
	plain := min(need[0], max(maxText-need[1], maxPlain))
	for _, html := range []bool{false, true} {
		left := plain
		if html {
			left = maxText - plain
		}
		var some []*whole
		for _, w := range all {
			if w.html == html {
				some = append(some, w)
			}
		}
		fair(some, left)
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
