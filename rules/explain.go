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
	var texts [][]byte
	var asked []int32
	var ask func(r *Rule)
	ask = func(r *Rule) {
		for _, id := range r.test.shows {
			if len(texts) == maxTold || len(asked) == maxAsked {
				return
			}
			if !(st.hits[id] > 0) || slices.Contains(asked, id) { // undecided is none either
				continue
			}
			asked = append(asked, id)
			of := st.s.rules[id]
			if of.Class == Meta {
				ask(of)
				continue
			}
			i, ok := slices.BinarySearchFunc(st.seen, int(id), func(s sight, id int) int { return s.id - id })
			if !ok {
				continue
			}
			text := st.seen[i].text(of, st.work)
			if len(text) > 0 && !slices.ContainsFunc(texts, func(t []byte) bool { return bytes.Equal(t, text) }) {
				texts = append(texts, text)
			}
		}
	}
	ask(meta)
	if len(texts) < 2 {
		return bytes.Join(texts, nil)
	}
	for i, t := range texts {
		texts[i] = t[:min(len(t), (maxShown-len(between))/2)]
	}
	return bytes.Join(texts, []byte(between))
}
