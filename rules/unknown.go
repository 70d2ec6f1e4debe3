package rules

import "slices"

// unknown notes which rules gave up, and what the score may be at most if these had been followed to their end: each of them that counts
// for more than zero may have hit, and each meta that hangs on one of them may have come out the other way.
func (st *run) unknown(res *Result) {
	if len(st.gave) == 0 {
		return
	}
	slices.Sort(st.gave)
	s := st.s
	reached := make([]bool, len(s.rules))
	var open []int
	reach := func(id int) {
		if reached[id] {
			return
		}
		reached[id] = true
		open = append(open, id)
		r := s.rules[id]
		if score := s.Score(r); r.active && (score < 0) == (st.hits[id] > 0) {
			res.Unknown += max(score, -score)
		}
	}
	for _, id := range slices.Compact(st.gave) {
		res.GaveUp = append(res.GaveUp, s.rules[id])
		reach(id)
	}
	for len(open) > 0 {
		id := open[len(open)-1]
		open = open[:len(open)-1]
		for _, m := range s.users[id] {
			reach(s.metas[m].id)
		}
	}
}
