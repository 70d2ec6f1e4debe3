package rules

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// load loads one file; faults fail the test unless they are wanted.
func load(t testing.TB, text string, o Options) (*Set, []Problem) {
	t.Helper()
	s, problems, err := Load([]Source{{Name: "test.cf", Octets: []byte(text)}}, o)
	if err != nil {
		t.Fatal(err)
	}
	return s, problems
}

func mustLoad(t testing.TB, text string) *Set {
	t.Helper()
	s, problems := load(t, text, Options{})
	for _, p := range problems {
		if p.Severity != Note {
			t.Error(p)
		}
	}
	return s
}

func TestMetaValues(t *testing.T) {
	for _, c := range []struct {
		expr string
		want float64 // of A=1, B=0, N=5
	}{
		{"A", 1},
		{"A && B", 0},
		{"A || B", 1},
		{"!A", 0},
		{"!B", 1},
		{"!!N", 1},
		{"N && A", 1}, // Perl: the right operand
		{"A && N", 5}, //
		{"N || A", 5}, // the left one
		{"B || N", 5}, //
		{"A + N * 2", 11},
		{"(A + N) * 2", 12},
		{"N - A - A", 3},
		{"N / 2", 2.5},
		{"N * 4 / 10", 2},
		{"A + B + N > 5", 1},
		{"A + B + N > 6", 0},
		{"N >= 5", 1},
		{"N <= 4", 0},
		{"N < 6", 1},
		{"N == 5", 1},
		{"N != 5", 0},
		{"!N == B", 1},     // ! binds closer than ==
		{"A || B && B", 1}, // && closer than ||
		{"A == N > 4", 1},  // > closer than ==
		{"3 > 2 > 1", 1},   // as 3 > 2 && 2 > 1
		{"3 > 2 > 2", 0},
		{"N > A > B", 1},
		{"2 == 2 == 2", 1},
		{"N == 5 != A", 1},
		{"B < A == 1 < N < 6", 1},
		{"1 > 2 > (1 / 0)", 0}, // what comes behind is not asked
		{"2 * (1 < A < N) + 1", 1},
		{"2 * (B < A < N) + 1", 3},
		{"N ^ A", 4},      // bits
		{"A ^ B && B", 0}, // ^ closer than &&
		{"A ? N : B", 5},
		{"B ? N : A ? 7 : 8", 7},
		{"- A + N", 4},
		{"N > 2 && (A || B) && !B", 1},
		{"UNKNOWN", 0},
		{"!UNKNOWN", 1},
		{"()", 0},
		{"0", 0},
		{"1", 1},
		{"2.5", 2.5},
		{"local_tests_only", 1},
		{"rules_matching(__G*) > 1", 1},
		{"rules_matching(__X*)", 0},
	} {
		s, problems := load(t, "body A /a/\nbody B /b/\nbody N /n/\nbody __G1 /a/\nbody __G2 /a/\nmeta M "+c.expr, Options{})
		if len(problems) > 0 != strings.Contains(c.expr, "UNKNOWN") {
			t.Errorf("%s: %v", c.expr, problems)
		}
		m := s.Rule("M")
		hits := make([]float64, len(s.rules))
		for name, v := range map[string]float64{"A": 1, "N": 5, "__G1": 1, "__G2": 1} {
			hits[s.Rule(name).id] = v
		}
		if got, _ := value(m.test.meta, hits); got != c.want {
			t.Errorf("%s = %v, not %v", c.expr, got, c.want)
		}
	}
}

func TestMetasThatAreWrong(t *testing.T) {
	for _, c := range []struct{ expr, why string }{
		{"A B", "operator is missing"},
		{"A &&", "too early"},
		{"(A", "no )"},
		{"A)", "operator is missing"},
		{"A & B", "operator is missing"}, // no operator of metas, and passed over
		{"A+1", "operator is missing"},
		{"A && -1", "sign needs a blank"},
		{"A / B", "divides by zero"},
		{"A ? B", "no :"},
		{"$A", "names, numbers, operators"},
		{"A::B", "names, numbers, operators"},
		{"M", "needs itself"},
		{strings.Repeat("(", 200) + "A" + strings.Repeat(")", 200), "nested"},
		{strings.Repeat("!", 200) + "A", "nested"},
		{"", "what to look for"},
	} {
		s, problems := load(t, "meta M "+c.expr, Options{})
		if m := s.Rule("M"); m != nil && m.test.meta != nil {
			t.Errorf("%s was taken", c.expr)
		}
		found := false
		for _, p := range problems {
			found = found || p.Severity == Fault && strings.Contains(p.What, c.why)
		}
		if !found {
			t.Errorf("%s: no problem that says %q: %v", c.expr, c.why, problems)
		}
	}
}

func TestMetasInACircleAreFalse(t *testing.T) {
	s, problems := load(t, "body A /a/\nmeta X A || Y\nmeta Y A || Z\nmeta Z A || X\nmeta W A || !X\n", Options{})
	if len(problems) != 4 {
		t.Errorf("problems: %v", problems)
	}
	hits := decide(s, "A")
	for _, name := range []string{"X", "Y", "Z", "W"} {
		if hits[name] {
			t.Errorf("%s hits", name)
		}
	}
}

// TestMetasThatDivide: as in SpamAssassin, what divides by zero where nothing has hit is never taken, be there no zero in a message; what
// does in one message does not hit there, nor does what names it.
func TestMetasThatDivide(t *testing.T) {
	s, problems := load(t, "body A /a/\nbody B /b/\nmeta BARE A / B\nmeta OTHER !BARE\nmeta SOME B && A / B\nmeta LESS 1 / (1 - A)\n"+
		"meta NOTLESS !LESS\nmeta MORE (A > 0) || NOTLESS\nmeta SAFE A || B\nmeta DIES A && !(1 / B)\nmeta NOTDIES !DIES\n", Options{})
	if len(problems) != 1 || problems[0].Rule != "BARE" || problems[0].Severity != Fault {
		t.Errorf("problems: %v", problems)
	}
	for _, c := range []struct{ hit, want string }{
		{"", "LESS NOTDIES OTHER"},
		{"A", "A OTHER SAFE"},
		{"B", "B LESS NOTDIES OTHER SAFE"},
		{"A B", "A B NOTDIES OTHER SAFE SOME"},
	} {
		got := slices.Sorted(maps.Keys(decide(s, strings.Fields(c.hit)...)))
		if strings.Join(got, " ") != c.want {
			t.Errorf("where %q hits: %s, want %s", c.hit, got, c.want)
		}
	}
}

// decide runs the metas of a set where rules have hit, and lists what then counts as hit.
func decide(s *Set, names ...string) map[string]bool {
	st := s.newRun()
	for _, n := range names {
		st.hits[s.Rule(n).id] = 1
	}
	st.runMetas()
	all := map[string]bool{}
	for id, v := range st.hits {
		if v > 0 {
			all[s.rules[id].Name] = true
		}
	}
	return all
}

func TestMetasStandInAnyOrder(t *testing.T) {
	s := mustLoad(t, "meta D C\nmeta C B\nmeta B A\nbody A /a/\n")
	if got := decide(s, "A"); len(got) != 4 {
		t.Errorf("hit: %v", got)
	}
}

// TestUndecidedMetas: what a meta without a score, or a rule that does not run, does to those that name it.
func TestUndecidedMetas(t *testing.T) {
	for _, c := range []struct {
		name, rules string
		want        bool // M hits where A has
	}{
		{"a rule without a score counts as not hit", "score B 0\nmeta M A && !B", true},
		{"so does a network rule", "header B eval:check_rbl('x', 'y.example.')\nmeta M A && !B", true},
		{"a meta without a score that is false", "meta Z B\nscore Z 0\nmeta M A && !Z", true},
		{"a meta without a score that is true is undecided", "meta Z A\nscore Z 0\nmeta M A && !Z", false},
		{"and is no hit either", "meta Z A\nscore Z 0\nmeta M A && Z", false},
		{"a meta without a score that needs what does not run", "body C /c/\nscore C 0\nmeta Z C\nscore Z 0\nmeta M A && !Z", false},
		{"and all that need it", "body C /c/\nscore C 0\nmeta Z C\nscore Z 0\nmeta Y A && !Z\nmeta M A && !Y", false},
		{"a meta with a score that needs what does not run", "body C /c/\nscore C 0\nmeta Z C\nmeta M A && !Z", true},
	} {
		s, _ := load(t, "body A /a/\nbody B /b/\n"+c.rules, Options{})
		if got := decide(s, "A"); got["M"] != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}
