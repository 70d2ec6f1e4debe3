package rules

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/postern-mail/postern/rules/eval"
	"github.com/postern-mail/postern/rules/pattern"
	"github.com/postern-mail/postern/rules/text"
)

// patternTest is a pattern over segments of text.
type patternTest struct {
	pattern  *pattern.Pattern // of one that uses captures its widest form, which matches wherever it does, whatever these are
	written  written
	multiple bool
	most     int // hits that count
	skip     int // segments at the start that it does not look at
}

// headerTest is a test of a field.
type headerTest struct {
	selector text.Selector
	exists   bool
	negated  bool
	missing  bool // it hits where the field is not there
	unset    []byte
	patternTest
}

// evalTest is the call of a function.
type evalTest struct {
	check eval.Check
}

// captures reports whether other rules use what its groups hold.
func (r *Rule) captures() bool {
	switch {
	case r.test.header != nil:
		return r.test.header.written.captures && !r.test.header.negated // what does not match captures nothing
	case r.test.mime != nil:
		return r.test.mime.written.captures && !r.test.mime.negated
	case r.test.pattern != nil:
		return r.test.pattern.written.captures
	}
	return false
}

// compileRules compiles all rules that run but metas. The others are looked at as well where that tells people what is not supported.
func compileRules(l *loader, s *Set) {
	for _, r := range s.rules {
		if err := l.compile(r, s); err != nil {
			severity := Inexact
			if errors.Is(err, errWritten) {
				severity = Fault
			}
			l.tell(r.At, severity, r.Name, "%v", err)
			r.never = err.Error()
		}
	}
	l.tellUncaptured(s)
}

// tellUncaptured names the rules that wait for a capture which no rule has: they never hit.
func (l *loader) tellUncaptured(s *Set) {
	captured := map[string]bool{} // by a rule that runs
	for _, r := range s.rules {
		if !r.captures() {
			continue
		}
		for _, name := range r.pattern().written.names {
			captured[name] = captured[name] || r.active
		}
	}
	for _, r := range s.rules {
		if p := r.pattern(); r.active && p != nil {
			for i, name := range p.written.uses {
				if slices.Contains(p.written.uses[:i], name) {
					continue
				}
				if active, known := captured[name]; !known {
					r.never = fmt.Sprintf("it never hits: no rule captures %%{%s}, with a group (?<%s>…) of its pattern", name, name)
				} else if !active {
					r.never = fmt.Sprintf("it never hits: no rule that runs captures %%{%s}", name)
				} else {
					continue
				}
				l.tell(r.At, Inexact, r.Name, "%s", r.never)
			}
		}
	}
}

var errWritten = errors.New("it never hits")

func (l *loader) compile(r *Rule, s *Set) (err error) {
	switch r.Class {
	case Header:
		r.test.header, err = l.compileHeader(r)
	case Body, URI, RawBody, Full:
		if l.rules[r.Name].links {
			r.test.links, err = l.compileLinks(r)
			return err
		}
		var w written
		if w, err = readPattern(r.Text); err != nil {
			return err
		}
		var p patternTest
		if p, err = l.compilePattern(r, w); err != nil {
			return err
		}
		if r.Class == Body && r.Flag("nosubject") {
			p.skip = 1
		}
		r.test.pattern = &p
	case MIMEHeader:
		r.test.mime, err = l.compileMIME(r)
	case Eval:
		r.test.eval, err = compileEval(r, s)
	case Network:
		if r.test.network, err = l.compileNetwork(r); err != nil {
			r.test.network = nil
		}
	}
	return err
}

func (l *loader) compilePattern(r *Rule, w written) (p patternTest, err error) {
	p.written = w
	p.multiple, p.most = r.hitsFlag()
	if l.replace.rules[r.Name] && r.Class != MIMEHeader { // as in SpamAssassin, where these come too late for it
		if p.written.expr, err = l.replace.apply(w.expr); err != nil {
			return p, err
		}
	}
	p.pattern, err = compileWritten(&p.written)
	return p, err
}

// compileWritten compiles a pattern; of one that uses captures its widest form. What Perl warns of SpamAssassin takes no pattern with,
// and %{NAME} is plain text where it asks that.
func compileWritten(w *written) (*pattern.Pattern, error) {
	expr := w.plain()
	p, err := pattern.Compile(expr, w.options)
	if err == nil {
		if warned := p.Warning(); warned != nil {
			return nil, fmt.Errorf("%w: SpamAssassin takes no pattern with %s, as at %q", errWritten, warned.Reason, cut(expr[warned.Offset:], 30))
		}
		if w.names = p.Names(); len(w.uses) > 0 {
			expr = w.widest()
			p, err = pattern.Compile(expr, w.options)
		}
	}
	var e *pattern.Error
	if errors.As(err, &e) {
		return nil, fmt.Errorf("%w: its pattern is not supported at %q: %s", errWritten, cut(expr[min(e.Offset, len(expr)):], 30), e.Reason)
	}
	return p, err
}

func (l *loader) compileHeader(r *Rule) (*headerTest, error) {
	c, err := readHeader(r.Text, headerForm)
	if err != nil {
		return nil, err
	}
	h := &headerTest{exists: c.exists, negated: c.negated}
	if h.selector, err = text.ParseSelector(c.field); err != nil || c.exists {
		return h, err
	}
	if h.patternTest, err = l.compilePattern(r, c.pattern); err != nil {
		return nil, err
	}
	if h.negated && c.pattern.captures {
		l.tell(r.At, Inexact, r.Name, "what its groups capture is not kept: a field that does not match has nothing in them")
	}
	// Perl takes what is not there for an empty text, unless [if-unset: …] says for which.
	matches, err := h.pattern.Match([]byte(c.unset))
	if err != nil {
		return nil, fmt.Errorf("[if-unset]: %w", err)
	}
	h.missing, h.unset = matches != h.negated, []byte(c.unset)
	return h, nil
}

func compileEval(r *Rule, s *Set) (*evalTest, error) {
	name, args, err := readCall(r.Text)
	if err != nil {
		return nil, err
	}
	f, ok := s.functions[name]
	if !ok {
		if !r.active {
			return nil, nil
		}
		return nil, fmt.Errorf("it never hits: there is no function %s here", name)
	}
	if want, is := eval.KeywordOf(name), r.keyword.String(); want != "" && is != want && !(want == "body" && r.keyword == RawBody) {
		return nil, fmt.Errorf("it never hits: %s is for rules of the kind %s, not %s", name, want, is)
	}
	if raw, differs := eval.RawBody()[name]; differs && r.keyword == RawBody {
		f = raw
	}
	check, err := f.Compile(s.settings, args)
	if errors.Is(err, eval.ErrAbsent) && !r.active {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("it never hits: %s", strings.TrimPrefix(err.Error(), "eval: "))
	}
	return &evalTest{check}, nil
}
