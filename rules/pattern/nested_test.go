package pattern

import (
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// nestedForms are patterns of about the same length with what they are made of as deep as is wanted.
var nestedForms = []struct {
	name  string
	write func(body string, depth int) string
}{
	{"alternatives, the long one last", func(body string, depth int) string {
		return strings.Repeat("(?:"+body+"|", depth) + "z" + strings.Repeat(")", depth)
	}},
	{"alternatives, the long one first", func(body string, depth int) string {
		return strings.Repeat("(?:z|", depth) + "z" + strings.Repeat(body+")", depth)
	}},
	{"many alternatives", func(body string, depth int) string {
		return strings.Repeat("(?:z|y|x|w|v|", depth) + "z" + strings.Repeat(body+")", depth)
	}},
	{"what may be missing", func(body string, depth int) string {
		return strings.Repeat("(?:", depth) + "z" + strings.Repeat(body+")?", depth)
	}},
	{"loops", func(body string, depth int) string {
		return strings.Repeat("(?:a?", depth) + "z" + strings.Repeat(body+")*", depth)
	}},
	{"groups", func(body string, depth int) string {
		return strings.Repeat("(", depth) + "z" + strings.Repeat(body+")", depth)
	}},
	{"groups in an alternative", func(body string, depth int) string {
		return "y|" + strings.Repeat("(", depth) + "z" + strings.Repeat(body+")", depth)
	}},
	{"groups that are referred to", func(body string, depth int) string {
		return strings.Repeat("(", depth) + "z" + strings.Repeat(body+")", depth) + `(?i)` + strings.Repeat(`\1`, 1000)
	}},
	{"looks", func(body string, depth int) string {
		return strings.Repeat("(?=", depth) + "z" + strings.Repeat(body+")", depth)
	}},
}

// TestNestedPatterns: what a pattern takes to be read, made into a program and an automaton, and searched for clues does not grow
// with how deep things stand within each other.
func TestNestedPatterns(t *testing.T) {
	const length, shallow, deep = 40_000, 10, 400
	for _, f := range nestedForms {
		for _, unit := range []string{"a[bc]", "ab", "a*", `\ba`, "(?:a|bc)", "(?i)a"} {
			var octets, looked [2]float64
			for i, depth := range []int{shallow, deep} {
				expr := f.write(strings.Repeat(unit, length/depth/len(unit)), depth)
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				root, links := nestedWork(t, expr)
				runtime.ReadMemStats(&after)
				octets[i] = float64(after.TotalAlloc-before.TotalAlloc) / float64(len(expr))
				looked[i] = float64(lookedAt(root, map[*node]bool{})) / float64(links)
			}
			if looked[1] > 1.5*looked[0]+1 {
				t.Errorf("%s of %q: each node is gone through %.1f times, and %.1f times where they are deep", f.name, unit, looked[0], looked[1])
			}
			if octets[1] > 2*octets[0]+500 {
				t.Errorf("%s of %q: %.0f octets for each, and %.0f where they are deep", f.name, unit, octets[0], octets[1])
			}
		}
	}
}

// nestedWork does all that is done with a pattern before a text is there. It gives the tree, and how many nodes it has.
func nestedWork(t *testing.T, expr string) (root *node, nodes int) {
	t.Helper()
	read, err := parse(expr, Options{})
	if err != nil {
		t.Fatalf("%.40s: %v", expr, err)
	}
	var first octets
	assemble(read)
	read.root.first(&first)
	read.root.width()
	start := read.root.anchored(atTextStart)
	read.root.regular()
	read.root.size()
	newRater(nil).watches(read, &first, start)
	for _, limits := range []expansion{loose, strict} {
		a := newNFA(limits)
		a.add(read, 0)
		a.asks()
	}
	var count func(n *node)
	count = func(n *node) {
		nodes++
		for _, s := range n.subs {
			count(s)
		}
	}
	count(read.root)
	return read.root, nodes
}

// lookedAt sums how many nodes right within others were gone through for what is known of these.
func lookedAt(n *node, seen map[*node]bool) (sum int) {
	if seen[n] {
		return 0
	}
	seen[n] = true
	if n.found != nil {
		sum = n.found.looked
	}
	for _, s := range n.subs {
		sum += lookedAt(s, seen)
	}
	return sum
}

// TestAsks compares what states ask for with what going through all of them says until nothing changes.
func TestAsks(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	asking := 0
	for range 2000 {
		var b strings.Builder
		open := 0
		for range 3 + r.IntN(20) {
			switch k := r.IntN(12); {
			case k < 5:
				b.WriteString([]string{"a", "[bc]", "a?", "(?:)", "x*"}[k])
			case k < 8:
				b.WriteString([]string{`\b`, "^", "(?m:^)"}[k-5])
			case k == 8:
				b.WriteString("|")
			case k < 11:
				b.WriteString("(?:")
				open++
			case open > 0:
				b.WriteString([]string{")", ")*", ")+", ")?", "){2}"}[r.IntN(5)])
				open--
			}
		}
		read, err := parse(b.String()+strings.Repeat(")*", open), Options{})
		if err != nil {
			continue // such as a count of nothing
		}
		a := newNFA(loose)
		a.add(read, 0)
		want := make([]uint8, len(a.states))
		for changed := true; changed; {
			changed = false
			for i, s := range a.states {
				is := want[i]
				switch s.kind {
				case stateSplit:
					is |= want[s.out] | want[s.other]
				case stateAssert:
					is |= want[s.out] | assertionAsks[s.arg]
				}
				changed, want[i] = changed || is != want[i], is
			}
		}
		got := a.asks()
		if !slices.Equal(got, want) {
			t.Fatalf("%s: %v, not %v", b.String(), got, want)
		}
		if slices.Max(got) > 0 {
			asking++
		}
	}
	if asking < 500 {
		t.Errorf("in %d patterns something is asked for: the others show nothing", asking)
	}
}
