package rules

import (
	"slices"

	"github.com/postern-mail/postern/rules/pattern"
)

// Bounds on what rules take out of a message for the patterns of others.
const (
	maxCaptures     = 50  // texts under one name
	maxCaptured     = 200 // octets of one
	maxCaptureTries = 200 // matches of one rule that are looked at
)

// runCaptures runs the rules whose named groups others use: before all others, whatever their class.
func (st *run) runCaptures() {
	for _, r := range st.s.captures {
		var segs [][]byte
		if h := r.test.header; h != nil {
			value, ok := st.m.Text.Header(h.selector)
			if !ok {
				if h.missing {
					st.hit(r, 1, nil, "")
				}
				continue
			}
			segs = [][]byte{value}
		} else {
			segs = st.segments(r.Class)
		}
		st.capture(r, segs)
	}
}

func (st *run) capture(r *Rule, segs [][]byte) {
	p := r.pattern()
	n := 0
	search := p.pattern.Search(st.work, total(segs))
	for i := p.skip; i < len(segs); i++ {
		for from := 0; from <= len(segs[i]) && n < maxCaptureTries; {
			loc, ok, err := search.FindSubmatch(segs[i], from)
			if err != nil {
				st.gave = append(st.gave, r.id)
				st.lost = append(st.lost, p.pattern.Names()...)
				return
			}
			if !ok {
				break
			}
			if n == 0 {
				st.hit(r, 1, segs[i], "")
			}
			st.keep(p.pattern.Names(), loc, segs[i])
			if n++; n >= p.most {
				st.hits[r.id] = float64(n)
				return
			}
			from = loc[1]
			if loc[1] == loc[0] {
				from++
			}
		}
	}
	if n > 0 {
		st.hits[r.id] = float64(n)
	}
}

// keep notes what the named groups of a match hold.
func (st *run) keep(names []string, loc []int, in []byte) {
	for g, name := range names {
		if name == "" || 2*g+1 >= len(loc) || loc[2*g] < 0 || loc[2*g] == loc[2*g+1] {
			continue
		}
		if st.captured == nil {
			st.captured = map[string][]string{}
		}
		s := string(in[loc[2*g]:loc[2*g+1]])
		if have := st.captured[name]; len(s) <= maxCaptured && len(have) < maxCaptures && !slices.Contains(have, s) {
			st.captured[name] = append(have, s)
		}
	}
}

// runPending looks again for patterns that use captures, whose widest form has matched, now that these are known. A pattern whose
// captures hold nothing does not match; where nobody knows what they hold, nobody knows that either.
func (st *run) runPending() {
	for _, u := range st.pending {
		if st.hits[u.rule.id] > 0 || slices.Contains(st.gave, u.rule.id) {
			continue // of a long text there are two; see runLong
		}
		st.runWith(u)
		uses := u.rule.pattern().written.uses
		if !(st.hits[u.rule.id] > 0) && slices.ContainsFunc(uses, func(name string) bool { return slices.Contains(st.lost, name) }) {
			st.gave = append(st.gave, u.rule.id)
		}
	}
}

// runWith looks for one pattern with what captures hold.
func (st *run) runWith(u pendingUse) {
	p := u.rule.pattern()
	complete := true
	expr := p.written.with(func(name string) string {
		complete = complete && len(st.captured[name]) > 0
		return quoted(st.captured[name])
	})
	if !complete {
		return
	}
	exact, err := pattern.Compile(expr, p.written.options)
	if err != nil {
		st.gave = append(st.gave, u.rule.id)
		return
	}
	st.lookFor(u.rule, exact, u.segs, 0)
}
