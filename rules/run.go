package rules

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/rules/eval"
	"github.com/postern-mail/postern/rules/pattern"
)

// Hit is a rule that hit.
type Hit struct {
	Rule  *Rule
	Count int     // how often; of a meta the value of its expression, at least 1
	Times int     // how often its score counts: Count of a pattern whose hits are counted, 1 of all else
	Score float64 // what it counts, all times together; 0 for rules that only serve others
	Text  []byte  // what a pattern matched first, or what a function saw, of a meta see explain; cut, and octets of the message
}

// Result is what the rules of a set found in one message.
type Result struct {
	Hits  []Hit   // in the order of the rules in their files; those that only serve others among them
	Score float64 // the sum

	// GaveUp lists rules whose patterns reached the limit of steps: of them is not known whether they hit, and they count as if
	// they had not. Unknown is how much more the score may be, at most, for what they and the metas that hang on them may come to.
	GaveUp  []*Rule
	Unknown float64

	// Unanswered lists rules that have not hit, and may have, had each of their questions been answered by the DNS. It is none that
	// there is no such name; that a list says that it does not answer is one.
	Unanswered []*Rule

	// Ended is set where what one message may cost was spent before all patterns had been looked for: what the rules would say is
	// not known at all.
	Ended   bool
	Timings Timings
}

// Timings says how long each class of rules took. Texts are made when they are first asked for: their time is that of the class that came first.
type Timings [len(classNames)]time.Duration

// Total gives the sum.
func (t *Timings) Total() (sum time.Duration) {
	for _, d := range t {
		sum += d
	}
	return sum
}

// maxShown is how many octets of what matched are shown.
const maxShown = 120

// run is the state of looking at one message. It is used again for the next.
type run struct {
	s        *Set
	m        *eval.Mail
	work     *pattern.Work // what the patterns of all rules may do
	hits     []float64     // by the id of the rule; NaN is undecided
	seen     []sight
	gave     []int
	failed   []*Rule   // of which a question to the DNS has failed
	held     [1][]byte // a field as the only segment
	pending  []pendingUse
	captured map[string][]string
	lost     []string // the names of captures of which nobody knows what they hold
	sampled  bool
	due      []uint64 // metas that are to be decided, by their place in Set.metas

	telling telling

	group *group // whose patterns are looked for now
	segs  [][]byte
	tell  func(i, seg int) // found, made once
	again bool             // only for our own rules that have not hit
}

// sight is where a rule hit.
type sight struct {
	id     int
	in     []byte
	by     *pattern.Pattern // that matches there; nil for the rule's own
	detail string
}

// Run looks at one message. The error is that of ctx; a message as such gives none. The hits' texts may be octets of m's. What was made
// of a large message, for which the caller has called filter.Hold, is given back before the DNS is waited for: see eval.Mail.Forget.
func (s *Set) Run(ctx context.Context, m *eval.Mail) (Result, error) {
	st := s.begin(ctx, m)
	defer s.end(st)
	var res Result
	began := time.Now()
	lap := func(c Class) error {
		now := time.Now()
		res.Timings[c] += now.Sub(began)
		began = now
		return ctx.Err()
	}
	ask := s.ask(ctx, m)
	defer ask.stop()
	st.runCaptures()
	st.runHeaders()
	if err := lap(Header); err != nil {
		return Result{}, fmt.Errorf("rules: %w", err)
	}
	for _, c := range [...]struct {
		class Class
		group *group
		need  bool
	}{{Body, &s.body, s.needs.body}, {URI, &s.uri, s.needs.uri}, {RawBody, &s.raw, s.needs.raw}, {Full, &s.full, s.needs.full}} {
		if c.need {
			st.runGroup(c.group, st.segments(c.class))
			if c.class == Body && s.needs.shown {
				st.runShown()
			}
		}
		if c.class == URI {
			st.runLinks()
		}
		if err := lap(c.class); err != nil {
			return Result{}, fmt.Errorf("rules: %w", err)
		}
	}
	st.runPending()
	st.runMIME()
	if err := lap(MIMEHeader); err != nil {
		return Result{}, fmt.Errorf("rules: %w", err)
	}
	if err := st.runEvals(ctx); err != nil {
		return Result{}, fmt.Errorf("rules: %w", err)
	}
	_ = lap(Eval)
	res.Ended = st.work.Left() <= 0 // before texts are looked up to be shown
	if ask != nil {
		if err := st.letGo(ctx); err != nil {
			return Result{}, fmt.Errorf("rules: %w", err)
		}
	}
	if err := st.runNetwork(ctx, ask); err != nil {
		return Result{}, fmt.Errorf("rules: %w", err)
	}
	_ = lap(Network)
	st.runMetas()
	_ = lap(Meta)
	st.report(&res)
	return res, nil
}

func (s *Set) newRun() *run {
	st := &run{s: s, hits: make([]float64, len(s.rules)), due: make([]uint64, len(s.always))}
	st.tell = st.found
	return st
}

func (s *Set) begin(ctx context.Context, m *eval.Mail) *run {
	st, ok := s.runs.Get().(*run)
	if !ok {
		st = s.newRun()
	}
	st.m, st.work, st.sampled = m, pattern.NewWork(ctx, 0), s.clock.sample()
	return st
}

// end lets the state be used again; nothing of the message stays in it.
func (s *Set) end(st *run) {
	clear(st.hits)
	clear(st.seen)
	clear(st.pending)
	clear(st.telling.texts[:cap(st.telling.texts)])
	st.m, st.work, st.held[0], st.captured = nil, nil, nil, nil
	st.group, st.segs, st.again = nil, nil, false // a panic may have left them
	st.seen, st.gave, st.failed, st.pending, st.lost = st.seen[:0], st.gave[:0], st.failed[:0], st.pending[:0], st.lost[:0]
	s.runs.Put(st)
}

// segments gives the text that a class of rules looks at.
func (st *run) segments(c Class) [][]byte {
	switch c {
	case Body:
		return st.m.Text.Body()
	case RawBody:
		return st.m.Text.RawBody()
	case Full:
		st.held[0] = st.m.Text.Full()
		return st.held[:]
	}
	return st.m.Text.URITexts()
}

// runShown has our own rules look at what people see of a message, where SpamAssassin's view of it has other words: parts that it does not
// render, words that are written so that they aren't found, and of a long text the end, and what is shown of a page that hides so much that
// nothing else is within the bound.
func (st *run) runShown() {
	if shown, more := st.m.Text.Unmasked(); more {
		st.again = true
		st.runGroup(&st.s.body, shown)
		st.again = false
	}
}

// wants reports whether a rule is looked for; see runShown.
func (st *run) wants(r *Rule) bool {
	return !st.again || r.ours() && st.hits[r.id] == 0 && !slices.Contains(st.gave, r.id)
}

// group is the rules that look at the same segments.
type group struct {
	rules []*Rule
	set   *pattern.Set
}

// fewPatterns are looked for one by one where they say at which places they may begin.
const fewPatterns = 3

func (g *group) build(m *pattern.Memory, sample func() [][]byte) {
	ps := make([]*pattern.Pattern, len(g.rules))
	alone := 0
	for i, r := range g.rules {
		if ps[i] = r.pattern().pattern; ps[i].Narrow() {
			alone++
		}
	}
	if len(g.rules) < fewPatterns && alone == len(g.rules) {
		return
	}
	g.set = pattern.NewSet(ps, pattern.SetOptions{Memory: m, Sample: sample()})
}

// pattern gives the pattern of a rule that has one.
func (r *Rule) pattern() *patternTest {
	switch {
	case r.test.header != nil:
		return &r.test.header.patternTest
	case r.test.mime != nil:
		return &r.test.mime.patternTest
	}
	return r.test.pattern
}

// runGroup looks for all patterns of a group.
func (st *run) runGroup(g *group, segs [][]byte) {
	if len(segs) == 0 {
		return
	}
	if g.set == nil {
		for _, r := range g.rules {
			if st.wants(r) {
				st.look(r, segs, r.pattern().skip)
			}
		}
		return
	}
	st.group, st.segs = g, segs
	err := g.set.Scan(st.work, segs, st.tell)
	st.group, st.segs = nil, nil
	if err == nil {
		return
	}
	var gave *pattern.GaveUpError
	if errors.As(err, &gave) {
		for _, i := range gave.Patterns {
			switch r := g.rules[i]; {
			case !st.wants(r):
			case r.uses(): // its widest form has; with the captures it may come to an end
				st.pend(r, st.own(segs))
			default:
				st.gave = append(st.gave, r.id)
			}
		}
	}
}

// found takes note of a pattern of the group that is looked for: it stands in a segment.
func (st *run) found(i, seg int) {
	r, segs := st.group.rules[i], st.segs
	if !st.wants(r) {
		return
	}
	p := r.pattern()
	switch {
	case len(p.written.uses) > 0:
		st.pend(r, st.own(segs[max(seg, p.skip):]))
	case r.Class == MIMEHeader:
		st.count(r, segs[:seg+1], seg)
	case seg < p.skip:
		st.look(r, segs, p.skip)
	case p.multiple:
		st.count(r, segs, seg)
	default:
		st.hit(r, 1, segs[seg], "")
	}
}

// count counts a pattern that stands in segment from. It has hit, also where looking for it once more gives up before that is seen.
func (st *run) count(r *Rule, segs [][]byte, from int) {
	st.look(r, segs, from)
	if st.hits[r.id] == 0 {
		st.hit(r, 1, segs[from], "")
	}
}

// own gives segments that stay: those of a field are in a place that the next field takes.
func (st *run) own(segs [][]byte) [][]byte {
	if len(segs) == 1 {
		return slices.Clone(segs)
	}
	return segs
}

// look looks for one pattern, and counts where hits are counted.
func (st *run) look(r *Rule, segs [][]byte, from int) {
	p := r.pattern()
	if len(p.written.uses) > 0 {
		st.pend(r, st.own(segs[min(from, len(segs)):]))
		return
	}
	st.lookFor(r, p.pattern, segs, from)
}

func (st *run) lookFor(r *Rule, p *pattern.Pattern, segs [][]byte, from int) {
	n, most := 0, r.pattern().most
	search := p.Search(st.work, total(segs))
	for i := from; i < len(segs); i++ {
		if r.Class == MIMEHeader && n > 0 {
			break
		}
		c, err := search.Count(segs[i], most-n)
		if err != nil {
			st.gave = append(st.gave, r.id)
		}
		if c > 0 && n == 0 {
			st.hitBy(r, p, segs[i])
		}
		if n += c; n >= most || err != nil {
			break
		}
	}
	if n > 0 {
		st.hits[r.id] = float64(n)
	}
}

// total gives how many octets segments have.
func total(segs [][]byte) (n int) {
	for _, b := range segs {
		n += len(b)
	}
	return n
}

// hit notes that a rule has hit.
func (st *run) hit(r *Rule, value float64, in []byte, detail string) {
	st.hits[r.id] = value
	if in != nil || detail != "" {
		st.seen = append(st.seen, sight{id: r.id, in: in, detail: detail})
	}
}

// hitBy notes that a rule has hit, by a pattern that is its own, or its own with what others have captured.
func (st *run) hitBy(r *Rule, by *pattern.Pattern, in []byte) {
	st.hits[r.id] = 1
	if in != nil {
		st.seen = append(st.seen, sight{id: r.id, in: in, by: by})
	}
}

// runEvals calls the functions.
func (st *run) runEvals(ctx context.Context) error {
	for i, r := range st.s.evals {
		var began time.Time
		if st.sampled {
			began = time.Now()
		}
		n, detail := r.test.eval.check(st.m)
		if st.sampled {
			st.s.clock.add(r, time.Since(began))
		}
		if n != 0 {
			st.hit(r, float64(max(n, 1)), nil, detail)
		}
		if i%16 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// largeText is how many octets the texts of a message take in memory that are given back before others are waited for. What takes
// less is not counted by filter.Hold either.
const largeText = 1 << 20

// letGo gives back what was made of a large message, which nothing looks at any more: what is shown of the hits is looked up now.
func (st *run) letGo(ctx context.Context) error {
	if st.m.Text.Memory() < largeText {
		return nil
	}
	for i := range st.seen {
		if s := &st.seen[i]; s.in != nil {
			s.detail = string(s.text(st.s.rules[s.id], st.work))
			s.in, s.by = nil, nil
		}
	}
	clear(st.pending)
	st.held[0] = nil
	st.m.Forget()
	return filter.Hold(ctx, 0)
}

// report writes down what was found.
func (st *run) report(res *Result) {
	slices.SortFunc(st.seen, func(a, b sight) int { return a.id - b.id })
	n := 0
	for _, v := range st.hits {
		if v > 0 {
			n++
		}
	}
	res.Hits = make([]Hit, 0, n)
	k := 0
	for id, v := range st.hits {
		if !(v > 0) { // undecided is none either
			continue
		}
		r := st.s.rules[id]
		h := Hit{Rule: r, Count: max(int(v), 1), Times: r.times(v)}
		h.Score = st.s.Score(r) * float64(h.Times)
		for k < len(st.seen) && st.seen[k].id < id {
			k++
		}
		if k < len(st.seen) && st.seen[k].id == id && !r.Hidden() {
			h.Text = st.seen[k].text(r, st.work)
		}
		if r.Class == Meta && !r.Hidden() {
			h.Text = st.explain(r)
		}
		res.Hits = append(res.Hits, h)
		res.Score += h.Score
	}
	st.unknown(res)
	st.unanswered(res)
}

// times gives how often the score of a rule counts that has hit so often: of a pattern with tflags multiple each hit counts, up to
// maxhits. What a function or a meta comes to is its value, and no number of hits.
func (r *Rule) times(hits float64) int {
	if p := r.pattern(); p == nil || !p.multiple {
		return 1
	}
	return max(int(hits), 1)
}

// text gives what people are shown of a hit.
func (s *sight) text(r *Rule, w *pattern.Work) []byte {
	if s.in == nil {
		return []byte(cut(s.detail, maxShown))
	}
	by := s.by
	if p := r.pattern(); by == nil && p != nil {
		by = p.pattern
	}
	if by == nil {
		return s.in[:min(len(s.in), maxShown)]
	}
	search := by.Search(w, len(s.in))
	from, to, ok, _ := search.Find(s.in, 0)
	if !ok {
		return nil
	}
	return s.in[from:min(to, from+maxShown)]
}
