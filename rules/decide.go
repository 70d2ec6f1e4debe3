package rules

import "math/bits"

// Of a thousand metas some dozens name a rule that has hit. The others come to what they come to where nothing has: nearly always to
// nothing, and those that do not ("!A && !B") are few. So only metas that name a hit, and these few, are looked at.

// indexMetas finds out which metas come to something where none of the rules that they name has hit, and which name a rule.
func (s *Set) indexMetas() {
	s.always = make([]uint64, (len(s.metas)+63)/64)
	s.users = make([][]int32, len(s.rules))
	nothing := make([]float64, len(s.rules))
	for i, r := range s.metas {
		if v, _ := value(r.test.meta, nothing); v != 0 {
			s.always[i/64] |= 1 << (i % 64)
		}
		seen := map[int32]bool{}
		use := func(id int32) {
			if !seen[id] {
				seen[id] = true
				s.users[id] = append(s.users[id], int32(i)) //nolint:gosec // at most maxRules
			}
		}
		for _, in := range r.test.meta {
			if in.op == opRule {
				use(in.arg)
			}
		}
		for _, g := range r.test.guards {
			use(g)
		}
	}
}

// runMetas decides the metas, of which each stands behind those that it names.
func (st *run) runMetas() {
	copy(st.due, st.s.always)
	for id, v := range st.hits {
		if v != 0 {
			st.hasHit(id)
		}
	}
	for w := range st.due {
		for st.due[w] != 0 { // deciding one may make others due, which stand behind it
			i := bits.TrailingZeros64(st.due[w])
			st.due[w] &^= 1 << i
			st.decide(st.s.metas[w*64+i])
		}
	}
}

// hasHit makes the metas due that name a rule.
func (st *run) hasHit(id int) {
	for _, u := range st.s.users[id] {
		st.due[u/64] |= 1 << (u % 64)
	}
}

// decide decides one meta.
func (st *run) decide(r *Rule) {
	for _, g := range r.test.guards {
		if v := st.hits[g]; v != v {
			st.hits[r.id] = undecided
			st.hasHit(r.id)
			return
		}
	}
	v, divided := value(r.test.meta, st.hits)
	switch {
	case divided: // SpamAssassin ends here with all metas of the message, in no order; here this one alone is not decided
		v = undecided
	case v == 0:
		return
	case !r.active:
		v = undecided
	case v < 0:
		v = 1
	}
	st.hits[r.id] = v
	st.hasHit(r.id)
}
