package agreement

import (
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/peertest/spamassassin"
	"github.com/postern-mail/postern/rules"
)

func load(t *testing.T, cf string) *rules.Set {
	t.Helper()
	s, problems, err := rules.Load([]rules.Source{{Name: "test.cf", Octets: []byte(cf)}}, rules.Options{})
	if err != nil || len(problems) > 0 {
		t.Fatal(err, problems)
	}
	return s
}

// TestDifferencesAreSeen: what one side finds and the other does not, another count and another score are told, and count.
func TestDifferencesAreSeen(t *testing.T) {
	s := load(t, "body ONE /one/\nscore ONE 3\nbody TWO /two/\ntflags TWO multiple\nscore TWO 2\nbody __THREE /three/\n")
	m, ok := spamassassin.Prepare("a", []byte("Subject: a\n\none two two three\n"))
	if !ok {
		t.Fatal("not taken")
	}
	for _, c := range []struct {
		name             string
		theirs           spamassassin.Verdict
		both, ours, them int
		counts           int
		hits, score, say int
	}{
		{"the same", spamassassin.Verdict{Score: 7, Hits: map[string]float64{"ONE": 1, "TWO": 2, "__THREE": 1}}, 3, 0, 0, 0, 1, 1, 1},
		{"ours", spamassassin.Verdict{Score: 4, Hits: map[string]float64{"TWO": 2, "__THREE": 1}}, 2, 1, 0, 0, 0, 0, 0},
		{"theirs", spamassassin.Verdict{Score: 8, Hits: map[string]float64{"ONE": 1, "TWO": 2, "__THREE": 1, "FOUR": 1}}, 3, 0, 1, 0, 0, 0, 1},
		{"a count", spamassassin.Verdict{Score: 7, Hits: map[string]float64{"ONE": 1, "TWO": 1, "__THREE": 1}}, 3, 0, 0, 1, 1, 1, 1},
	} {
		r := Compare(t, s, []spamassassin.Message{m}, []spamassassin.Verdict{c.theirs})
		if got := r.Sum(false); got != (Sums{c.both, c.ours, c.them, c.counts}) {
			t.Errorf("%s: %+v", c.name, got)
		}
		if r.SameHits != c.hits || r.SameScore != c.score || r.SameWord != c.say {
			t.Errorf("%s: %+v", c.name, r)
		}
		if differs := c.ours+c.them+c.counts > 0; differs == (r.Details() == "") || !strings.Contains(r.Table(), "| TWO | ") {
			t.Errorf("%s:\n%s%s", c.name, r.Details(), r.Table())
		}
	}
}

func TestMade(t *testing.T) {
	s := load(t, "header A X-Foo =~ /^ab+c$/\nheader B Subject:raw =~ /xyz/\nbody C /one [0-9]{3}/\nuri D /^http:\\/\\/a\\.example\\.com/\nheader E ALL =~ /x/\nmeta F A && B\nrawbody G /<b>/\n")
	for _, c := range []struct {
		rule string
		made bool
	}{{"A", true}, {"B", true}, {"C", true}, {"D", true}, {"E", false}, {"F", false}, {"G", true}} {
		rule := s.Rule(c.rule)
		m, ok := Made(s, rule)
		if ok != c.made {
			t.Errorf("%s: %v", c.rule, ok)
			continue
		}
		if texts := Texts(s, rule); c.made && len(texts) < samples {
			t.Errorf("%s: %q", c.rule, texts)
		}
		if !ok {
			continue
		}
		r := Compare(t, s, []spamassassin.Message{m}, []spamassassin.Verdict{{}})
		if r.Rules[c.rule] == nil {
			t.Errorf("%s does not hit %s", c.rule, m.LF)
		}
	}
}
