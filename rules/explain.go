package rules

import (
	"bytes"
	"slices"
)

// Bounds of what is shown of one meta.
const (
	maxTold  = 2  // texts of the rules that it names
	maxAsked = 64 // rules that are asked for theirs
)

// between stands between the texts of two rules.
const between = " ... "

// explain gives what is shown of a meta that hit: what the first of the rules in it that hit as well have seen, by way of other metas
// too. A rule that has to be missing tells nothing.
func (st *run) explain(meta *Rule) []byte {
	t := &st.telling
	t.texts, t.asked = t.texts[:0], t.asked[:0]
	t.ask(st, meta)
	switch len(t.texts) {
	case 0:
		return nil
	case 1:
		return t.texts[0]
	}
	for i, text := range t.texts {
		t.texts[i] = text[:min(len(text), (maxShown-len(between))/2)]
	}
	return bytes.Join(t.texts, []byte(between))
}

// telling is what was found to be shown of a meta, and which rules were asked.
type telling struct {
	texts [][]byte
	asked []int32
}

// ask asks the rules that a meta names.
func (t *telling) ask(st *run, meta *Rule) {
	for _, id := range meta.test.shows {
		if len(t.texts) == maxTold || len(t.asked) == maxAsked {
			return
		}
		if !(st.hits[id] > 0) || slices.Contains(t.asked, id) { // undecided is none either
			continue
		}
		t.asked = append(t.asked, id)
		of := st.s.rules[id]
		if of.Class == Meta {
			t.ask(st, of)
			continue
		}
		i, ok := slices.BinarySearchFunc(st.seen, int(id), func(s sight, id int) int { return s.id - id })
		if !ok {
			continue
		}
		text := st.seen[i].text(of, st.work)
		if len(text) > 0 && !slices.ContainsFunc(t.texts, func(o []byte) bool { return bytes.Equal(o, text) }) {
			t.texts = append(t.texts, text)
		}
	}
}
