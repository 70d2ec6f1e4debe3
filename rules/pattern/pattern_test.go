package pattern

import (
	"maps"
	"math/rand/v2"
	"testing"
)

func TestFind(t *testing.T) {
	for _, c := range []struct {
		name, expr, text string
		o                Options
		start, end       int
	}{
		{"text", "b+", "abbb", Options{}, 1, 4},
		{"lazy", "b+?", "abbb", Options{}, 1, 2},
		{"alternatives in order", "a|ab", "ab", Options{}, 0, 1},
		{"loop", "(?:ab|a)*c", "abaabc", Options{}, 0, 6},
		{"lazy loop", "(?:ab|a)*?b", "aab", Options{}, 0, 3},
		{"loop of nothing", "(?:a|)*b", "aab", Options{}, 0, 3},
		{"count", "(?:ab){2,3}", "xabababab", Options{}, 1, 7},
		{"group refers to its own last turn", `(?:(a|b\1))+`, "aba", Options{}, 0, 3},
		{"dollar before a line feed", "a$", "a\n", Options{}, 0, 1},
		{"look behind", "(?<=ab|c)d", "abd", Options{}, 2, 3},
		{"look behind from as far as it may", `cb(?<=(.?b))\1`, "cbcb", Options{}, 0, 4},
		{"look behind for what never is", `(?<=a|(?!)+)b`, "ab", Options{}, 1, 2},
		{"an octal number where the groups come later", `\10x()()()()()()()()()()`, "\bx", Options{}, 0, 2},
		{"a reference where they came before", `(a)()()()()()()()()()(b)\11x`, "abbx", Options{}, 0, 4},
		{"not behind", "(?<!ab)d", "abdd", Options{}, 3, 4},
		{"atomic", "(?>a+)ab", "aaab", Options{}, -1, 0},
		{"possessive", "a++b", "aaab", Options{}, 0, 4},
		{"keep", `a\Kb`, "ab", Options{}, 1, 2},
		{"latin-1 folds", "\xe4", "\xc4", Options{IgnoreCase: true}, 0, 1},
		{"flags within", "(?i)a(?-i)b", "Ab", Options{}, 0, 2},
		{"verbose", "a b # no\n c", "abc", Options{Extended: true}, 0, 3},
		{"beyond an octet", `\x{201c}`, "\xe2\x80\x9c", Options{}, -1, 0},
		{"a character by its number", `\N{U+66}[\N{U+6f}-q]+`, "xfoo", Options{}, 1, 4},
		{"posix", "[[:alpha:]]+", "12ab", Options{}, 2, 4},
		{"at most", "^a{,2}$", "aa", Options{}, 0, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := Compile(c.expr, c.o)
			if err != nil {
				t.Fatal(err)
			}
			start, end, ok, err := p.Find([]byte(c.text), 0)
			if err != nil || ok != (c.start >= 0) || ok && (start != c.start || end != c.end) {
				t.Errorf("got %d %d %v %v, want %d %d", start, end, ok, err, c.start, c.end)
			}
		})
	}
}

func TestCount(t *testing.T) {
	for _, c := range []struct {
		expr, text string
		most, want int
	}{
		{"a", "banana", 0, 3},
		{"a", "banana", 2, 2},
		{"", "abc", 0, 4},
		{"a*", "baac", 0, 4},
		{`\b`, "ab cd", 0, 4},
		{"a?", "aa", 0, 3},
	} {
		n, err := MustCompile(c.expr, Options{}).Count([]byte(c.text), c.most)
		if n != c.want || err != nil {
			t.Errorf("%q in %q: %d %v, want %d", c.expr, c.text, n, err, c.want)
		}
	}
}

func TestSample(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, expr := range []string{`^a{3}\b\W(?i:xyz)[^a]\d+$`, `(["'])x\1`, `(?<=ab)c`, `(?!no)\w\w`, `(?=.*foo)bar`, `(?:a|bc){100}`} {
		p := MustCompile(expr, Options{})
		text, ok := p.Sample(r)
		if ok {
			ok, _ = p.Match(text)
		}
		if !ok {
			t.Errorf("no sample of %q: %q", expr, text)
		}
	}
	if text, ok := MustCompile(`a(?!)`, Options{}).Sample(r); ok {
		t.Errorf("a sample of what cannot match: %q", text)
	}
}

func TestScan(t *testing.T) {
	var ps []*Pattern
	for _, e := range []string{"b", "x", "^a", `(?:a+)+$`, "c$"} {
		ps = append(ps, MustCompile(e, Options{}))
	}
	got := map[int]int{}
	if err := NewSet(ps, SetOptions{}).Scan(nil, [][]byte{[]byte("abc"), []byte("xc")}, func(p, s int) { got[p] = s }); err != nil {
		t.Fatal(err)
	}
	if want := map[int]int{0: 0, 1: 1, 2: 0, 4: 0}; !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestSetsFollowReferences asks sets for patterns with references to groups whose text the pattern of the group does not tell.
func TestSetsFollowReferences(t *testing.T) {
	for _, c := range []struct{ name, expr, text string }{
		{"the second of two groups of a number", `x(?|(ab)|(cd))y\1`, "xcdycd"},
		{"the last of three", `x(?|(ab)|(cd)|(ef(g)))y\1z`, "xefgyefgz"},
		{"a border of a word within the group", `(a\b)--\1b`, "a--ab"},
		{"the start within the group", `(^a)-+\1`, "a---a"},
		{"the start of a line within the group", `((?m:^)ab)c\1`, "abcab"},
		{"the end of a line within the group", `(?m)(ab$)\n\1c`, "ab\nabc"},
		{"not a border", `(\Bab)-\1`, "xab-ab"},
		{"within a look", `((?=ab\b)ab)-\1c`, "ab-abc"},
		{"a group that is set in a look", `(?=(ab\b))ab-\1c`, "ab-abc"},
		{"a reference within the group", `(b)((a\b)-\1)-\2c`, "ba-b-a-bc"},
	} {
		p := MustCompile(c.expr, Options{})
		if !askSets(t, setsOf(p), p, c.text) {
			t.Errorf("%s: no match", c.name)
		}
	}
}

// TestSetsWithAlternativesOfBothKinds: of a pattern some alternatives wait for their texts, others share an automaton that cannot tell
// exactly, and both may be met in one segment.
func TestSetsWithAlternativesOfBothKinds(t *testing.T) {
	p := MustCompile("\\v\\10|a*+(?|[^a]{,2}\\v+){2,}?|(?|-)${ 1, 2 }(?>\xe9\\x{100}\\A)+", Options{})
	if !askSets(t, setsOf(p), p, "B\xc9b-\r\n{,}\r\na1") {
		t.Error("no match")
	}
}

var spare = MustCompile("nothing like this", Options{})

// setsOf gives sets that look for a pattern: as they choose, and by an automaton.
func setsOf(p *Pattern) [2]*Set {
	ps := []*Pattern{p, spare, spare}
	shared := &Set{patterns: ps, exactly: make([]lazyDFA, len(ps)), memory: NewMemory(0)}
	var ways []way
	for i, p := range ps {
		t := p.tree()
		ways = append(ways, way{int32(i), t.root, t.groups})
	}
	shared.group(ways)
	return [2]*Set{NewSet(ps, SetOptions{}), shared}
}

// askSets compares the answers of sets with that of Find.
func askSets(t *testing.T, sets [2]*Set, p *Pattern, text string) (matches bool) {
	t.Helper()
	matches, err := p.Match([]byte(text))
	if err != nil {
		return false
	}
	for i, s := range sets {
		found := false
		err := s.Scan(nil, [][]byte{[]byte(text)}, func(i, _ int) { found = found || i == 0 })
		if matches != found || err != nil {
			t.Errorf("%q in %q: set %d: got %v %v, want %v", p, text, i, found, err, matches)
		}
	}
	return matches
}

// TestNumbersOfNoCharacter: an empty number is refused, and one beyond the last character; one beyond 0xFF is taken, and is no octet.
func TestNumbersOfNoCharacter(t *testing.T) {
	for expr, ok := range map[string]bool{
		`\N{U+}`: false, `[\N{U+}]`: false, `a|\N{U+110000}`: false, `[\N{U+110000}]`: false, `\o{}`: false,
		`a|\N{U+10FFFF}`: true, `[a\N{U+100}]`: true, `a|\x{}`: true,
	} {
		p, err := Compile(expr, Options{})
		if (err == nil) != ok {
			t.Errorf("%s: %v", expr, err)
			continue
		}
		if ok {
			if _, _, hit, err := p.Find([]byte("xa"), 0); !hit || err != nil {
				t.Errorf("%s does not match: %v", expr, err)
			}
			if _, _, hit, err := p.Find([]byte("\xff\xf4\x8f\xbf"), 0); hit || err != nil {
				t.Errorf("%s matches an octet: %v", expr, err)
			}
		}
	}
}

// TestWarning: what Perl 5.36 warns of when it compiles a pattern, and what it does not.
func TestWarning(t *testing.T) {
	for warns, all := range map[bool][]string{
		false: {`{FDOM}`, `(?:{F})`, `a|{b`, `a{,3}`, `^{x}`, `a*{x}`, `a++{x}`, `a\{b}`, `(?s)^{x`, `x{ 2}`, `a{2}+`, `a{0,3}?`, `[\w-]`, `[-\w]`, `[a-z-9]`, `(?:a|)*`, `(?:a?)+`, `(?:\b|a)*`, `(?=a)?`, `\b?`, `[a:]`, `[:a-z]`},
		true:  {`\%{FDOM}|x`, `a{FDOM}`, `a{`, `a{}`, `[a]{x}`, `(a){x}`, `a{1,x}`, `.{x}`, `${x}`, `x{2,3,}`, `{{x}`, `\A{x}`, `(?=a){x}`, `(?m)^{x`, `[\w-.]`, `[a-\d]`, `[[:alpha:]-z]`, `[\d-\w]`, `a{2}?`, `a{0,0}?`, `a{3,1}`, `(?:)*`, `(?:^)*`, `\b*`, `(?=a)+`, `(?:a{0})*`, `(?:\b|^){2,}`, `[:alpha:]`, `[=a=]`, `[.a.]`},
	} {
		for _, expr := range all {
			p, err := Compile(expr, Options{})
			if err != nil {
				t.Errorf("%s: %v", expr, err)
			} else if w := p.Warning(); (w != nil) != warns {
				t.Errorf("%s: %v", expr, w)
			}
		}
	}
}
