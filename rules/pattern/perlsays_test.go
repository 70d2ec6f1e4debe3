//go:build !race

package pattern

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// asked is how Perl is asked for what a pattern means: where its answer is not what its own words say, in other words. Each defect has
// its case in TestPerlDefects.
type asked struct {
	expr   string
	hidden []int32 // groups that Perl leaves set, or unsets, by how they are written
	refers bool    // to one of these: what matches hangs on it
}

var (
	breaks     = `(?:\x0D\x0A|(?!\x0D\x0A)\v)`
	lazily     = regexp.MustCompile(`[*+?}]\?`)
	bareBeyond = regexp.MustCompile(`(\[\^)?\\x\{100\}`)
)

// askFor tells how to ask Perl for a pattern.
func askFor(t testing.TB, expr string) (a asked) {
	t.Helper()
	tr, err := parse(expr, Options{})
	if err != nil {
		t.Fatal(err)
	}
	a.expr = expr
	var w groupWalk
	w.walk(tr.root, inside{})
	if w.breaks {
		a.expr = strings.ReplaceAll(a.expr, `\R`, breaks)
	}
	if lazily.MatchString(expr) {
		a.expr = bareBeyond.ReplaceAllStringFunc(a.expr, func(s string) string {
			if s[0] == '[' {
				return s
			}
			return `[^\x00-\xFF]`
		})
	}
	if w.empty {
		a.expr = "(?:|(?!))(?:" + a.expr + ")"
	}
	a.hidden = w.hidden
	a.refers = slices.ContainsFunc(w.refs, w.own)
	return a
}

// groupWalk looks for what Perl has a way of its own with.
type groupWalk struct {
	breaks   bool // a repeat of \R
	empty    bool // a look ahead for what may be empty
	hidden   []int32
	captures []groupAt // those that are hidden
	refs     []groupAt
}

// groupAt is a group or a reference, and what it stands in.
type groupAt struct {
	node  *node
	in    inside
	unset bool
}

// inside is what a node stands in.
type inside struct {
	looks []*node // that are negative
	open  []int32 // groups
	turns bool    // a repeat
	ways  bool    // an atomic group, or alternatives in a repeat
}

func (w *groupWalk) walk(n *node, in inside) {
	switch n.kind {
	case kindLook:
		if n.negative {
			in.looks = append(slices.Clone(in.looks), n)
		} else if !n.behind {
			w.empty = w.empty || n.subs[0].nullable()
		}
	case kindBackref, kindCond:
		w.refs = append(w.refs, groupAt{node: n, in: in})
	case kindAlt:
		in.ways = in.ways || in.turns
	case kindAtomic:
		in.ways = true
	case kindCapture:
		if len(in.looks) > 0 || in.ways {
			w.hide(groupAt{n, in, in.ways})
		}
		in.open = append(slices.Clone(in.open), n.n)
	case kindRepeat:
		body := n.subs[0]
		if lo, hi := body.width(); body.kind == kindCapture && n.min == 0 && lo == hi && in.turns {
			w.hide(groupAt{body, in, true})
		}
		w.breaks = w.breaks || body.isBreak()
		in.ways = in.ways || n.manner == possessive
		in.turns = in.turns || n.max != 1
	}
	for _, s := range n.subs {
		w.walk(s, in)
	}
}

func (w *groupWalk) hide(g groupAt) {
	w.captures, w.hidden = append(w.captures, g), append(w.hidden, g.node.n)
}

// own tells whether what Perl makes of a reference is its own affair.
func (w *groupWalk) own(r groupAt) bool {
	for _, h := range w.captures {
		within := len(h.in.looks) <= len(r.in.looks) && slices.Equal(h.in.looks, r.in.looks[:len(h.in.looks)])
		if slices.Contains(r.node.refs, h.node.n) && (h.unset || !within) {
			return true
		}
	}
	return slices.ContainsFunc(r.node.refs, func(g int32) bool { return slices.Contains(r.in.open, g) })
}

// isBreak tells whether a node is \R.
func (n *node) isBreak() bool {
	return n.kind == kindAtomic && n.subs[0].kind == kindAlt && string(n.subs[0].subs[0].text) == "\r\n"
}

// visible takes the hidden groups off an answer.
func (a asked) visible(answer string) string {
	at := strings.Fields(answer)
	for _, g := range a.hidden {
		if i := 1 + 2*int(g); i+1 < len(at) {
			at[i], at[i+1] = "_", "_"
		}
	}
	return strings.Join(at, " ")
}

// TestPerlDefects has a case of each place where Perl does not do what it says, or does one thing or the other by how a pattern is written.
// We do the same each time, and askFor asks Perl in other words, or leaves the group out.
func TestPerlDefects(t *testing.T) {
	perl := startPerl(t)
	for _, c := range []struct {
		why, expr, text string
		want            string // matches, and the groups of the first
	}{
		// perlrebackslash: \R is (?>\x0D\x0A|\v). Perl counts the octets of a repeated one as if each were a turn.
		{"the way back from a repeated break leads between CR and LF", `\R?\n`, "\r\n", "1 1 2"},
		{"and past the place where it began", `a\R?\r\n`, "a\r\n", "1 0 3"},
		{"a lazy one takes LF alone", `\R??b`, "a\r\nb", "1 1 4"},
		{"behind too", `a(?<=\R?)`, "a\r\n", "1 0 1"},
		// A match is looked for only where what the look may begin with stands.
		{"a look ahead for what may be empty is taken to need its octets", `(?=\w?)\D`, "a-b", "3 0 1"},
		// The mark that the repeat is lazy waits for the next one, where the first does not begin.
		{"a lazy repeat before a character that no octet is makes the next one lazy", `(?:a{2,}?\x{100}|\w+)`, "ba", "1 0 2"},
		// (?!(a*)b) and (?!(?:(a)){1}b) leave the group unset.
		{"a group in a negative look stays set where it is plain", `(?!(a)b)a`, "ac", "1 0 1 -1 -1"},
		// (?:(a+)?b){2} and (?:(a(b))?c){2} leave it set.
		// (?:(?=(a))ab|\w){4} does not.
		{"an alternative that failed keeps what its groups took over an earlier turn", `(?:(a)b|ac)+`, "abac", "1 0 4 0 1"},
		{"so does a possessive repeat where what is before it takes less", `\w*(bc?)*+1`, "a1b", "1 0 2 -1 -1"},
		// ((?:\1b)?)c does not.
		{"a group that is open has held what it would have held", `((?:\1b)??)c`, "bc", "1 1 2 1 1"},
		{"no turn of a group of fixed width unsets what an earlier one took", `(?:(a)?b){2}`, "abb", "1 0 3 0 1"},
	} {
		p := MustCompile(c.expr, Options{})
		if got := ours(p, c.text); got != c.want {
			t.Errorf("%s: %q: got %s, want %s", c.why, c.expr, got, c.want)
		}
		a := askFor(t, c.expr)
		n, refusal := perl.pattern(t, a.expr)
		if refusal != "" {
			t.Fatalf("%q: %s", a.expr, refusal)
		}
		if said := a.visible(perl.match(t, n, c.text)); !a.refers && said != a.visible(c.want) {
			t.Errorf("%s: %q: perl says %s when asked for %q", c.why, c.expr, said, a.expr)
		}
		if n, _ := perl.pattern(t, c.expr); perl.match(t, n, c.text) == c.want {
			t.Errorf("%s: %q: this perl does not do it: ask it in the pattern's own words", c.why, c.expr)
		}
	}
	for expr, want := range map[string]string{
		`(?!(a)b\1)a`: "[1] false", `(?!(a)b)a\1`: "[1] true", `(?:(a)?b){2}\1`: "[1] true", `(?:(a)b)?(?=(c))`: "[] false", `(a)?b`: "[] false",
		`(?:(a)|b)+`: "[1] false", `(?:(a)c|b)`: "[] false", `((?>a)b)+\1`: "[] false", `(?>(a)b)+\1`: "[1] true", `(a|b\1)+`: "[] true",
	} {
		if a := askFor(t, expr); fmt.Sprint(a.hidden, a.refers) != want {
			t.Errorf("%q: %v %v, want %s", expr, a.hidden, a.refers, want)
		}
	}
}
