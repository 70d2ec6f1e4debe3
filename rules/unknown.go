package rules

import "slices"

// unknown notes which rules gave up, and what the score may be at most if these had been followed to their end: each of them that counts
// for more than zero may have hit, as often as its hits count, and each meta that hangs on one of them may have come out the other way.
func (st *run) unknown(res *Result) {
	if len(st.gave) == 0 {
		return
	}
	slices.Sort(st.gave)
	s := st.s
	gave := slices.Compact(st.gave)
	for _, id := range gave {
		res.GaveUp = append(res.GaveUp, s.rules[id])
	}
	s.hanging(gave, func(r *Rule) {
		score, hits := s.Score(r), st.hits[r.id]
		switch {
		case !r.active:
		case r.times(maxHits) > 1: // its hits are counted, and it has had those that it has
			if score > 0 {
				res.Unknown += score * max(float64(r.pattern().most)-hits, 0)
			}
		case (score < 0) == (hits > 0):
			res.Unknown += max(score, -score)
		}
	})
}

// unanswered notes the rules of which a question has failed and which count, or on which a meta hangs that does.
func (st *run) unanswered(res *Result) {
	s := st.s
	for _, r := range st.failed {
		counts := false
		s.hanging([]int{r.id}, func(on *Rule) { counts = counts || on.active && s.Score(on) != 0 })
		if counts {
			res.Unanswered = append(res.Unanswered, r)
		}
	}
}

// hanging visits rules and the metas that hang on them, each once.
func (s *Set) hanging(ids []int, visit func(*Rule)) {
	reached := make([]bool, len(s.rules))
	var open []int
	reach := func(id int) {
		if !reached[id] {
			reached[id] = true
			open = append(open, id)
			visit(s.rules[id])
		}
	}
	for _, id := range ids {
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
