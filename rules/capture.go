package rules

import (
	"slices"

	"github.com/postern-mail/postern/rules/pattern"
)

// A pattern with %{NAME} is looked for twice: with all others in its widest form, which leaves open what NAME holds, and where that
// matches, or nothing can be said before, with what other rules have captured. It is looked for only where each NAME holds something:
// otherwise its rule has not hit, be it one with !~ or not.

// Bounds on what rules take out of a message for the patterns of others.
const (
	maxCaptures     = 50  // texts under one name
	maxCaptured     = 200 // octets of one
	maxCaptureTries = 200 // matches of one rule that are looked at
)

// pendingUse is a rule that waits for the texts of captures.
type pendingUse struct {
	rule *Rule
	segs [][]byte
}

// uses reports whether the pattern of the rule holds what others capture.
func (r *Rule) uses() bool {
	p := r.pattern()
	return p != nil && len(p.written.uses) > 0
}

// negated reports whether the rule hits where its pattern does not match.
func (r *Rule) negated() bool {
	return r.test.header != nil && r.test.header.negated || r.test.mime != nil && r.test.mime.negated
}

// turn gives the place of a rule among those that capture, as they run in SpamAssassin.
func (r *Rule) turn() int {
	switch r.Class {
	case Header, Body, URI:
		return int(r.Class)
	case MIMEHeader:
		return int(URI) + 1
	}
	return int(r.Class) + 1
}

// pend has a rule wait.
func (st *run) pend(r *Rule, segs [][]byte) {
	st.pending = append(st.pending, pendingUse{r, segs})
}

// runCaptures runs the rules whose named groups others use: before all others, whatever their class.
func (st *run) runCaptures() {
	for _, r := range st.s.captures {
		p := r.pattern().pattern
		if r.uses() {
			var ok bool
			if p, ok = st.filled(r); !ok {
				continue
			}
		}
		var segs [][]byte
		switch {
		case r.test.header != nil:
			value, ok := st.m.Text.Header(r.test.header.selector)
			if !ok {
				value = r.test.header.unset
			}
			segs = [][]byte{value}
		case r.test.mime != nil:
			t := r.test.mime
			segs = t.texts(t.field.ofAll(st.parts()))
		default:
			segs = st.segments(r.Class)
		}
		st.capture(r, p, segs)
	}
}

func (st *run) capture(r *Rule, pattern *pattern.Pattern, segs [][]byte) {
	p := r.pattern()
	n := 0
	search := pattern.Search(st.work, total(segs))
	for i := p.skip; i < len(segs) && (n == 0 || r.Class != MIMEHeader); i++ {
		for from := 0; from <= len(segs[i]) && n < maxCaptureTries; {
			loc, ok, err := search.FindSubmatch(segs[i], from)
			if err != nil {
				st.gave = append(st.gave, r.id)
				st.lost = append(st.lost, p.written.names...)
				return
			}
			if !ok {
				break
			}
			if n == 0 {
				st.hitBy(r, pattern, segs[i])
			}
			st.keep(p.written.names, loc, segs[i])
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

// runPending looks for the patterns that wait for captures, now that these are known. Where nobody knows what they hold, nobody knows
// whether their rules hit either.
func (st *run) runPending() {
	for _, u := range st.pending {
		r := u.rule
		if st.hits[r.id] > 0 || slices.Contains(st.gave, r.id) {
			continue // of a long text there are two; see runShown
		}
		lost := slices.ContainsFunc(r.pattern().written.uses, func(name string) bool { return slices.Contains(st.lost, name) })
		if exact, ok := st.filled(r); ok && (!lost || !r.negated()) {
			st.lookFor(r, exact, u.segs, 0)
			if r.negated() {
				st.negate([]*Rule{r})
			}
		}
		if lost && !(st.hits[r.id] > 0) && !slices.Contains(st.gave, r.id) {
			st.gave = append(st.gave, r.id)
		}
	}
}

// filled gives the pattern of a rule with what the captures in it hold; false where one holds nothing.
func (st *run) filled(r *Rule) (*pattern.Pattern, bool) {
	w := &r.pattern().written
	complete := true
	expr := w.with(func(name string) string {
		complete = complete && len(st.captured[name]) > 0
		return quoted(st.captured[name])
	})
	if !complete {
		return nil, false
	}
	exact, err := pattern.Compile(expr, w.options)
	if err != nil {
		st.gave = append(st.gave, r.id)
		return nil, false
	}
	return exact, true
}
