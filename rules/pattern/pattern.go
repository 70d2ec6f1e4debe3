// Package pattern matches Perl regular expressions over octets, one by one or many at once; it knows nothing of mail, of
// characters beyond Latin-1, or of rules.
//
// A pattern means what it means to Perl 5.36 under (?aa) where pattern and text are strings of octets: \s, \w, \d and the
// POSIX classes know ASCII, /i folds ASCII and Latin-1, "$" holds before a line feed that ends the text, "." takes no line
// feed, an escape that Perl does not know stands for its letter (\Q and \E too, since they belong to Perl's strings and not to
// its patterns), and a code point beyond 255 matches nothing. Not supported, and named by Error: code, recursion, control
// verbs but (*FAIL), properties and names of characters, \X, \b{…}, conditionals on anything but a group, look behind of more
// than 255 octets.
//
// Pattern finds by going back and forth as Perl does, within a limit of steps. Set scans for many patterns in one pass, with
// the same answers. What all that may cost for one message is bounded by a Work, what sets may hold by a Memory.
package pattern

import "bytes"

// Options are Perl's flags after a pattern. The zero value is none.
type Options struct {
	IgnoreCase bool // /i
	DotAll     bool // /s
	MultiLine  bool // /m
	Extended   bool // /x

	// Steps bounds one search, one Count, or what one Scan spends on the pattern, besides a share for each octet of the text; 0 is
	// DefaultSteps.
	Steps int
}

// Pattern is a compiled pattern. It is safe for concurrent use.
type Pattern struct {
	expr    string
	options Options
	prog    *program
	names   []string
	first   octets // what a match may begin with; every octet where it may be empty
	only    int    // the one octet of first, -1 where there are more
	least   int    // octets of the shortest match
	most    int    // octets of the longest, or infinite
	start   bool   // matches at the start of the text only
	line    bool   // matches at the start of a line only
	regular bool   // it may have an exact automaton
	warned  *Error
	steps   int
}

// Compile reads a pattern, without delimiters and flags behind. The error is an *Error.
func Compile(expr string, o Options) (*Pattern, error) {
	t, err := parse(expr, o)
	if err != nil {
		return nil, err
	}
	p := &Pattern{expr: expr, options: o, prog: assemble(t), steps: o.Steps, warned: t.warned}
	if p.steps <= 0 {
		p.steps = DefaultSteps
	}
	p.names = make([]string, t.groups+1)
	copy(p.names[1:], t.names)
	if t.root.first(&p.first) {
		p.first = classAny
	}
	if p.only = -1; p.first.count() == 1 {
		p.only = int(p.first.all()[0])
	}
	p.least, p.most = t.root.width()
	p.start = t.root.anchored(atTextStart)
	p.line = !p.start && t.root.anchored(atLineStart)
	p.regular = t.root.regular() && t.root.size() <= exactStates
	return p, nil
}

// MustCompile is Compile for patterns that are known to be right; it panics where one is not.
func MustCompile(expr string, o Options) *Pattern {
	p, err := Compile(expr, o)
	if err != nil {
		panic(err)
	}
	return p
}

// Warning gives the first thing in the pattern that Perl warns of, though it takes it; nil for none. Not all is found.
func (p *Pattern) Warning() *Error { return p.warned }

// String gives the text of the pattern.
func (p *Pattern) String() string { return p.expr }

// Options gives the flags with which the pattern was compiled.
func (p *Pattern) Options() Options { return p.options }

// Names gives the name of each group, by its number; empty where it has none, as group 0, the whole match.
func (p *Pattern) Names() []string { return p.names }

// Find gives the first match that begins at octet from or later: leftmost, and of those the one that Perl takes. What stands
// before from is seen by \b, ^ and looks behind. The error is ErrSteps, or nil.
func (p *Pattern) Find(b []byte, from int) (start, end int, ok bool, err error) {
	m := machines.Get().(*machine)
	defer m.release()
	ok, err = p.search(m, b, from, 0, p.limit(len(b)))
	if !ok {
		return 0, 0, false, err
	}
	return m.slots[0], m.slots[1], true, nil
}

// FindSubmatch is Find with the groups: loc[2*g] and loc[2*g+1] are the start and the end of group g, or -1.
func (p *Pattern) FindSubmatch(b []byte, from int) (loc []int, ok bool, err error) {
	m := machines.Get().(*machine)
	defer m.release()
	if ok, err = p.search(m, b, from, 0, p.limit(len(b))); !ok {
		return nil, false, err
	}
	return append([]int(nil), m.slots[:2*(p.prog.groups+1)]...), true, nil
}

// Match tells whether the pattern matches anywhere in b.
func (p *Pattern) Match(b []byte) (bool, error) {
	_, _, ok, err := p.Find(b, 0)
	return ok, err
}

// Count gives how many matches do not overlap, as a loop over Perl's /…/g counts them, and stops at most where most is more
// than zero. With an error it is what was counted so far.
func (p *Pattern) Count(b []byte, most int) (n int, err error) {
	m := machines.Get().(*machine)
	defer m.release()
	return p.count(m, b, most, p.limit(len(b)))
}

// count is Count within so many steps. What it leaves of them is in m.
func (p *Pattern) count(m *machine, b []byte, most, steps int) (n int, err error) {
	from, till := 0, 0
	m.steps = steps
	for from <= len(b) {
		ok, err := p.search(m, b, from, till, m.steps)
		if !ok {
			return n, err
		}
		if n++; most > 0 && n >= most {
			break
		}
		// Perl: after a match without an octet, the next may begin at the same place, but has to take one.
		end := m.slots[1]
		till = end
		if end == m.slots[0] {
			till = end + 1
		}
		from = end
	}
	return n, nil
}

// Narrow tells whether a match may begin at the start of the text or of a line only: it is soon found whether there is one.
func (p *Pattern) Narrow() bool { return p.start || p.line }

// single tells whether each match is one octet: there is no shorter way than to go through the text for it.
func (p *Pattern) single() bool { return p.least == 1 && p.most == 1 }

// limit gives how many steps are allowed over so many octets.
func (p *Pattern) limit(octets int) int { return p.steps + defaultStepsPerOctet*octets }

// begins gives the first place of b[pos:to] at which a match may begin, to where there is none.
func (p *Pattern) begins(b []byte, pos, to int) int {
	if p.only >= 0 {
		if n := bytes.IndexByte(b[pos:to], byte(p.only)); n >= 0 { //nolint:gosec // an octet
			return pos + n
		}
		return to
	}
	for pos < to && !p.first.has(b[pos]) {
		pos++
	}
	return pos
}

// search looks for a match that begins at from or later and ends at till or later. What it leaves of the steps is in m.
func (p *Pattern) search(m *machine, b []byte, from, till, steps int) (bool, error) {
	m.reset(p.prog, b, from, till, steps)
	last := len(b) - p.least
	if p.start {
		last = min(last, 0)
	}
	every := p.first == classAny
	for pos := max(from, 0); pos <= last; pos++ {
		if p.line && pos > 0 && b[pos-1] != '\n' {
			next := bytes.IndexByte(b[pos:], '\n')
			if pos += next + 1; next < 0 || pos > last {
				break
			}
		}
		if !every {
			if pos = p.begins(b, pos, len(b)); pos > last {
				break
			}
			if p.line && pos > 0 && b[pos-1] != '\n' {
				continue
			}
		}
		if _, ok, err := m.at(pos); ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}
