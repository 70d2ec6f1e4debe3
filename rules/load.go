package rules

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/postern-mail/postern/rules/eval"
	"github.com/postern-mail/postern/rules/pattern"
	"github.com/postern-mail/postern/rules/text"
)

// Options say how rules are loaded.
type Options struct {
	Network bool // tests that ask the network run beside these, so that the scores of sets 1 and 3 count
	Learner bool // a learner runs beside these, so that the scores of sets 2 and 3 count

	Disabled []string // rules that do not run, as if their score were 0; * stands for anything
	Plugins  []string // plugins that count as loaded beside Debian's default ones, without "Mail::SpamAssassin::Plugin::"

	// Networks tells that it is said elsewhere whose Received fields are believed: what the files say of it does nothing.
	Networks bool

	// Open reads a file that another one includes; nil allows none.
	Open func(name string) ([]byte, error)
}

// learnerScores is between a set of scores without a learner and that with one.
const learnerScores = 2

// scoreSet gives the set of scores that counts.
func (o *Options) scoreSet() int {
	n := 0
	if o.Network {
		n = 1
	}
	if o.Learner {
		n += learnerScores
	}
	return n
}

// Set is what was loaded: rules that run together. It is safe for concurrent use.
type Set struct {
	rules    []*Rule // by id
	byName   map[string]*Rule
	scoreSet int
	settings *eval.Settings
	tests    []TestLine

	captures  []*Rule // rules whose groups others use, in the order of their class
	headers   []headerGroup
	body      group
	uri       group
	raw       group
	full      group
	mime      []mimeGroup
	links     []*Rule
	evals     []*Rule
	network   []*Rule
	skip      map[string]bool // domains that links are not asked about
	metas     []*Rule         // each behind those that it needs
	always    []uint64        // metas that come to something where nothing has hit, by their place in metas
	users     [][]int32       // places in metas of those that name a rule, by its id
	needs     needs
	clock     clock
	runs      sync.Pool // of *run
	functions map[string]eval.Function

	trusted, internal, msa text.Networks // as the files say

	passed map[string]bool // rules behind an if that does not hold
	wanted map[string]bool // plugins that the files have asked for and got
}

// needs says which texts of a message are used at all.
type needs struct {
	body, uri, raw, full bool
	shown                bool // what people see of it: our own rules
}

// Load reads files of rules in their order and makes a set of them. Problems come in the order of files and lines; what is behind one
// that is Inexact still does what can be done. The error is of files that pass all bounds.
func Load(sources []Source, o Options) (*Set, []Problem, error) {
	l := newLoader(o)
	for _, src := range sources {
		if err := l.read(src, nil); err != nil {
			return nil, l.problems, err
		}
	}
	s := l.set()
	l.sortProblems(sources)
	return s, l.problems, nil
}

// sortProblems puts what was found late where it belongs.
func (l *loader) sortProblems(sources []Source) {
	place := map[string]int{}
	for i, s := range sources {
		place[s.Name] = i
	}
	slices.SortStableFunc(l.problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(place[a.File], place[b.File]), strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	if l.untold > 0 {
		at := l.problems[len(l.problems)-1].Position
		l.problems = append(l.problems, Problem{Position: at, Severity: Fault, What: fmt.Sprintf("and %d problems more", l.untold)})
	}
}

// set makes the set of all that was read.
func (l *loader) set() *Set {
	s := &Set{
		byName: make(map[string]*Rule, len(l.order)), scoreSet: l.o.scoreSet(), settings: l.settings, tests: l.tests, functions: eval.Functions(),
	}
	s.passed, s.wanted = l.passed, l.wanted
	l.withinTrusted()
	s.trusted, s.internal, s.msa = l.networks["trusted_networks"], l.networks["internal_networks"], l.networks["msa_networks"]
	for _, name := range l.order {
		d := l.rules[name]
		r := &Rule{
			Name: name, Class: d.class, Text: d.text, Description: l.descriptions[name], Flags: l.flags[name],
			Priority: l.priorities[name], At: d.at, id: len(s.rules), keyword: d.word, own: d.own,
		}
		r.sides = sidesOf(r)
		r.Scores = l.scoresOf(r)
		r.off = l.off(r, s.scoreSet)
		r.active = r.off == ""
		s.rules = append(s.rules, r)
		s.byName[name] = r
	}
	s.skip = l.unasked
	compileRules(l, s)
	l.compileMetas(s)
	l.tellUnknown(s)
	s.indexMetas()
	s.group()
	return s
}

// scoresOf gives the scores of a rule: those that were set, or the default.
func (l *loader) scoresOf(r *Rule) [4]float64 {
	if given, ok := l.scores[r.Name]; ok {
		return given
	}
	f := 1.0
	if strings.HasPrefix(r.Name, "T_") {
		f = 0.01
	}
	if r.Flag("nice") {
		f = -f
	}
	return [4]float64{f, f, f, f}
}

// off says why a rule does not run, "" where it does.
func (l *loader) off(r *Rule, scoreSet int) string {
	byEval := func(flag string) bool { // fields of parts and details of links are functions in SpamAssassin
		return (r.Class == Eval || r.Class == MIMEHeader || l.rules[r.Name].links) && r.Flag(flag)
	}
	switch {
	case slices.ContainsFunc(l.o.Disabled, func(glob string) bool { return matchGlob(glob, r.Name) }):
		return "it is named in off"
	case !l.o.Network && (r.Class == Network || byEval("net")):
		return "it asks the network, which the set of scores that counts leaves out"
	case !l.o.Learner && byEval("learn"):
		return "it asks the learner, which the set of scores that counts leaves out"
	case r.Scores[scoreSet] == 0:
		return "it has no score in the set that counts"
	}
	return ""
}

// matchGlob reports whether a name is one that a text with * and ? means.
func matchGlob(glob, name string) bool {
	// Where a * took too little it takes one octet more: no more than one star has to be remembered.
	star, from := -1, 0
	g, n := 0, 0
	for n < len(name) {
		switch {
		case g < len(glob) && glob[g] == '*':
			star, from = g, n
			g++
		case g < len(glob) && (glob[g] == '?' || glob[g] == name[n]):
			g++
			n++
		case star >= 0:
			from++
			g, n = star+1, from
		default:
			return false
		}
	}
	return strings.Trim(glob[g:], "*") == ""
}

// Rules lists all rules in the order of their definition. The slice is not to be changed.
func (s *Set) Rules() []*Rule { return s.rules }

// Rule gives the rule of a name, nil for none.
func (s *Set) Rule(name string) *Rule { return s.byName[name] }

// Score gives what a hit of a rule counts in this set, one of several where these are counted: 0 for rules that only serve others.
func (s *Set) Score(r *Rule) float64 {
	if r.Hidden() {
		return 0
	}
	return r.Scores[s.scoreSet]
}

// Active reports whether a rule runs.
func (s *Set) Active(r *Rule) bool { return r.active }

// Off says why a rule does not run, "" where it does.
func (s *Set) Off(r *Rule) string { return r.off }

// Settings gives what the files set beside rules.
func (s *Set) Settings() *eval.Settings { return s.settings }

// Tests lists the lines "test" of the files.
func (s *Set) Tests() []TestLine { return s.tests }

// maxTables bounds the tables of all patterns of a set, in octets.
const maxTables = 32 << 20

// group sorts the rules that run by what they look at.
func (s *Set) group() {
	bySelector := map[text.Selector]int{}
	for _, r := range s.rules {
		if !r.active {
			continue
		}
		switch r.Class {
		case Header:
			if r.test.header == nil {
				continue
			}
			if r.captures() {
				s.captures = append(s.captures, r)
				continue
			}
			sel := r.test.header.selector
			i, ok := bySelector[sel]
			if !ok {
				i = len(s.headers)
				bySelector[sel] = i
				s.headers = append(s.headers, headerGroup{selector: sel})
			}
			s.headers[i].add(r)
		case Body, URI, RawBody, Full:
			if r.test.links != nil {
				s.links = append(s.links, r)
			}
			if r.test.pattern == nil {
				continue
			}
			g, need := s.groupOf(r.Class)
			*need = true
			if r.captures() {
				s.captures = append(s.captures, r)
				continue
			}
			g.rules = append(g.rules, r)
		case MIMEHeader:
			switch {
			case r.test.mime == nil:
			case r.captures():
				s.captures = append(s.captures, r)
			default:
				s.groupMIME(r)
			}
		case Eval:
			if r.test.eval != nil {
				s.evals = append(s.evals, r)
			}
		case Network:
			if r.test.network != nil {
				s.network = append(s.network, r)
			}
		}
	}
	s.build()
	s.clock.spent = make([]spent, len(s.rules))
	slices.SortStableFunc(s.captures, func(a, b *Rule) int { return cmp.Compare(a.turn(), b.turn()) })
}

// build makes the sets of patterns.
func (s *Set) build() {
	s.needs.shown = slices.ContainsFunc(s.body.rules, (*Rule).ours)
	tables := pattern.NewMemory(maxTables)
	a := newSample(s)
	defer a.release()
	for i := range s.headers {
		g := &s.headers[i]
		g.build(tables, func() [][]byte { return a.header(g.selector) })
	}
	for i := range s.mime {
		g := &s.mime[i]
		g.build(tables, func() [][]byte { return a.mime(g.field) })
	}
	for _, c := range []Class{Body, URI, RawBody, Full} {
		g, _ := s.groupOf(c)
		g.build(tables, func() [][]byte { return a.class(c) })
	}
}

// groupOf gives the group of a class that looks at segments.
func (s *Set) groupOf(c Class) (*group, *bool) {
	switch c {
	case Body:
		return &s.body, &s.needs.body
	case URI:
		return &s.uri, &s.needs.uri
	case RawBody:
		return &s.raw, &s.needs.raw
	}
	return &s.full, &s.needs.full
}
