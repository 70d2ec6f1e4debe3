package rules

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/rules/eval"
	"github.com/postern-mail/postern/rules/text"
)

// mailOf makes a message of a text with LF line ends.
func mailOf(t testing.TB, s string) *eval.Mail {
	t.Helper()
	c := mail.NewContent(mail.NewBlob([]byte(strings.ReplaceAll(s, "\n", "\r\n"))), mail.LineFaults{}, mail.Limits{})
	t.Cleanup(c.Release)
	return &eval.Mail{Text: text.Of(c, text.Options{})}
}

func runOn(t testing.TB, s *Set, message string) Result {
	t.Helper()
	res, err := s.Run(context.Background(), mailOf(t, message))
	if err != nil {
		t.Fatal(err)
	}
	return res
}

const letter = `From: "Bob B." <bob@example.com>
To: Alice <alice@example.org>, carol@example.net
Subject: A number of things
Content-Type: multipart/mixed; boundary=b

--b
Content-Type: text/plain

one two three two
two and four

The second paragraph: http://www.example.com/path?x=alice@example.org

--b
Content-Type: text/html

<p>HTML <b>text</b> <a href="http://192.0.2.1/x">link</a></p>
--b
Content-Type: application/pdf; name="a.pdf"

x
--b--
`

// TestClasses: what rules of each class see, and how often they hit.
func TestClasses(t *testing.T) {
	for _, c := range []struct {
		rule string
		want int
		text string // what is shown
	}{
		{"body R /two three/", 1, "two three"},
		{"body R /TWO/", 0, ""},
		{"body R /TWO/i", 1, "two"},
		{"body R /two/\ntflags R multiple", 3, "two"},
		{"body R /two/\ntflags R multiple maxhits=2", 2, "two"},
		{"body R /number/", 1, "number"}, // the subject is the first paragraph
		{"body R /number/\ntflags R nosubject", 0, ""},
		{"body R /two two/", 1, "two two"}, // lines of a paragraph are one
		{"body R /four The/", 0, ""},       // paragraphs are not
		{"body R /HTML text link/", 1, "HTML text link"},
		{"rawbody R /<b>text<\\/b>/", 1, "<b>text</b>"},
		{"rawbody R /^two and/m", 1, "two and"},
		{"uri R m{^http://192\\.0\\.2\\.1/}", 1, "http://192.0.2.1/"},
		{"uri R /^http/\ntflags R multiple maxhits=2", 2, "http"},
		{"header __TO To:addr =~ /(?<TO>.+)/\nuri R m{x=%{TO}$}", 1, "http://www.example.com/path?x=alice@example.org"},
		{"header __TO From:addr =~ /(?<TO>.+)/\nuri R m{x=%{TO}$}", 0, ""},
		{"header __TO X-None =~ /(?<TO>.+)/\nuri R m{x=%{TO}$}", 0, ""},
		{"full R /boundary=b\\n\\n--b\\n/", 1, "boundary=b\n\n--b\n"},
		{"header R Subject =~ /number/", 1, "number"},
		{"header R subject =~ /number/", 1, "number"},
		{"header R Subject !~ /number/", 0, ""},
		{"header R Subject !~ /wombat/", 1, ""},
		{"header R X-None =~ /./", 0, ""},
		{"header R X-None !~ /./", 1, ""},
		{"header R X-None =~ /^$/", 1, ""}, // what is not there is empty to Perl
		{"header R X-None =~ /^abc$/ [if-unset: abc]", 1, ""},
		{"header R X-None !~ /^abc$/ [if-unset: abc]", 0, ""},
		{"header R exists:Subject", 1, ""},
		{"header R exists:X-None", 0, ""},
		{"header R From:addr =~ /^bob\\@example\\.com$/", 1, "bob@example.com"},
		{"header R ToCc =~ /[a-z]+\\@/\ntflags R multiple", 2, "alice@"},
		{"mimeheader R Content-Type =~ /pdf/", 1, "pdf"},
		{"mimeheader R Content-Type =~ /text/", 1, "text"},
		{"mimeheader R Content-Type !~ /text/", 0, ""},
		{"mimeheader R Content-Type !~ /zip/", 1, ""},
		{"mimeheader R Content-Type:raw =~ /name=\"a.pdf\"\\n/", 1, "name=\"a.pdf\"\n"},
		{"mimeheader R Content-Type =~ /text/\ntflags R range=1", 0, ""},
		{"mimeheader R Content-Type =~ /text/\ntflags R range=5-2", 0, ""},
		{"mimeheader R Content-Type =~ /plain\\ntext/\ntflags R concat", 1, "plain\ntext"},
		{"mimeheader R Content-ID =~ /none/ [if-unset: none]", 1, "none"},
		{"mimeheader R Content-Type =~ /t/\ntflags R multiple", 2, "t"}, // in the first part in which it hits
		{"body R /wombat/\nscore R 0", 0, ""},
		{"body R /two/\nscore R 0", 0, ""},
		{"meta R 2 * 3", 6, ""},
		{"meta R 1 / 2", 1, ""},
		{"meta R 0 - 3", 1, ""},
		{"body __A /two/\ntflags __A multiple\nmeta R __A * 2", 6, "two"},
	} {
		s := mustLoad(t, c.rule)
		res := runOn(t, s, letter)
		got, shown := 0, ""
		for _, h := range res.Hits {
			if h.Rule.Name == "R" {
				got, shown = h.Count, string(h.Text)
			}
		}
		if got != c.want {
			t.Errorf("%s: %d hits, not %d", c.rule, got, c.want)
		}
		if c.text != shown && !strings.Contains(c.rule, "%{") {
			t.Errorf("%s: shows %q, not %q", c.rule, shown, c.text)
		}
	}
}

// TestGroupsOfWhatDoesNotMatch: a rule with !~ hits where its field does not match, named groups or not.
func TestGroupsOfWhatDoesNotMatch(t *testing.T) {
	for subject, want := range map[string]int{"wombat": 0, "other": 1} {
		s, _ := load(t, "header A Subject !~ /(?<NAME>wombat)/", Options{})
		if res := runOn(t, s, "Subject: "+subject+"\n\nx\n"); len(res.Hits) != want {
			t.Errorf("%s: %v", subject, res.Hits)
		}
	}
}

func TestFewAndManyAgree(t *testing.T) {
	// The same patterns alone, and beside so many that they are looked for together.
	var many strings.Builder
	for i := range 30 {
		fmt.Fprintf(&many, "body F%d /wombat%d/\nrawbody G%d /wombat%d/\nuri H%d /wombat%d/\nheader I%d Subject =~ /wombat%d/\n", i, i, i, i, i, i, i, i)
	}
	for _, rule := range []string{
		"body R /two/\ntflags R multiple", "body R /number/\ntflags R nosubject", "header R Subject !~ /number/", "header R Subject !~ /x/",
		"rawbody R /t/\ntflags R multiple maxhits=4", "uri R /example/", "header __TO To:addr =~ /(?<TO>.+)/\nuri R m{x=%{TO}$}",
		"header __TO To:addr =~ /(?<TO>.+)/\nheader R To =~ /%{TO}/",
	} {
		count := func(text string) int {
			for _, h := range runOn(t, mustLoad(t, text), letter).Hits {
				if h.Rule.Name == "R" {
					return h.Count
				}
			}
			return 0
		}
		if few, together := count(rule), count(rule+"\n"+many.String()); few != together {
			t.Errorf("%s: %d alone, %d beside others", rule, few, together)
		}
	}
}

func TestScoresAddUp(t *testing.T) {
	s := mustLoad(t, "body A /two/\nscore A 1.5\nbody B /two/\nscore B -0.25\nbody __C /two/\nscore __C 5\nbody D /wombat/\ntflags A multiple")
	res := runOn(t, s, letter)
	if res.Score != 4.25 || len(res.Hits) != 3 {
		t.Errorf("score %v of %v", res.Score, res.Hits)
	}
}

// TestFieldsOfFilters: what a message says that filters have found is seen in the header as it came alone, and in parts of it. So SpamAssassin
// has it with each of these rules.
func TestFieldsOfFilters(t *testing.T) {
	const message = `Received: from out.example.com (out.example.com [203.0.113.7]) by mx.example.org (Postfix) with ESMTP id B; Fri, 27 Nov 2026 06:00:04 +0000
X-Spam-Flag: YES
X-spam-Status : YES
  more
X-Spam: YES
From: a@example.com
Subject: Hello
X-Spam-Relays-External: [ ip=192.0.2.4 ]
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=b

--b
Content-Type: text/plain
X-Spam-Part: YES

x
--b--
`
	for rule, want := range map[string]bool{
		"header R X-Spam-Flag =~ /YES/":                                 false,
		"header R X-Spam-Flag:raw =~ /YES/":                             false,
		"header R X-Spam-Flag !~ /YES/":                                 true,
		"header R X-Spam-Flag =~ /^NO$/ [if-unset: NO]":                 true,
		"header R exists:X-Spam-Flag":                                   false,
		"header R X-Spam-Status =~ /YES/":                               false,
		"header R X-Spam =~ /YES/":                                      true,
		"header R X-Spam-Relays-External =~ /192\\.0\\.2\\.4/":          false,
		"header R X-Spam-Relays-External =~ /203\\.0\\.113\\.7/":        true,
		"header R ALL =~ /X-Spam-|more/i":                               false,
		"header R ALL =~ /X-Spam:/":                                     true,
		"header R ALL:raw =~ /X-Spam-Flag/":                             true,
		"header R ALL-EXTERNAL =~ /X-Spam-/":                            false,
		"header R ALL-EXTERNAL:raw =~ /X-Spam-/":                        true,
		"header R eval:check_header_count_range('X-Spam-Flag','1','9')": false,
		"full R /X-Spam-Flag/":                                          true,
		"mimeheader R X-Spam-Flag =~ /YES/":                             false,
		"mimeheader R X-Spam-Flag:raw =~ /YES/":                         false,
		"mimeheader R ALL =~ /X-Spam-Flag/":                             false,
		"mimeheader R ALL:raw =~ /X-Spam-Flag/":                         false,
		"mimeheader R X-Spam-Part =~ /YES/":                             true,
	} {
		if got := len(runOn(t, mustLoad(t, rule), message).Hits) > 0; got != want {
			t.Errorf("%s: %v", rule, got)
		}
	}
}

// TestEachHitCounts: where the hits of a pattern are counted, the score counts for each. What a meta or a function comes to is no number
// of hits. SpamAssassin has given these scores.
func TestEachHitCounts(t *testing.T) {
	for _, c := range []struct {
		rule         string
		count, times int
		score        float64
	}{
		{"body R /two/\ntflags R multiple", 3, 3, 4.5},
		{"body R /two/\ntflags R multiple maxhits=2", 2, 2, 3},
		{"body R /two/\ntflags R maxhits=2", 1, 1, 1.5},
		{"body R /two/\ntflags R multiple,maxhits=2", 2, 2, 3},
		{"body R /two/\ntflags R multiple maxhits=0", 3, 3, 4.5},
		{"full R /two/\ntflags R multiple maxhits=0", 1, 1, 1.5},
		{"header R ToCc =~ /[a-z]+\\@/\ntflags R multiple maxhits=0", 1, 1, 1.5},
		{"mimeheader R Content-Type =~ /t/\ntflags R multiple maxhits=0", 1, 1, 1.5},
		{"rawbody R /two/\ntflags R multiple", 3, 3, 4.5},
		{"full R /two/\ntflags R multiple", 3, 3, 4.5},
		{"uri R /^http/\ntflags R multiple maxhits=2", 2, 2, 3},
		{"header R ToCc =~ /[a-z]+\\@/\ntflags R multiple", 2, 2, 3},
		{"header __A To:addr =~ /^(?<NAME>alice)/\nbody R /%{NAME}/\ntflags R multiple", 1, 1, 1.5},
		{"body R /t(?<NAME>w)o/\ntflags R multiple\nbody __A /%{NAME}/", 3, 3, 4.5},
		{"mimeheader R Content-Type =~ /t/\ntflags R multiple", 2, 2, 3},
		{"mimeheader R Content-Type !~ /zip/\ntflags R multiple", 1, 1, 1.5},
		{"body __A /two/\ntflags __A multiple\nmeta R __A * 2\ntflags R multiple", 6, 1, 1.5},
		{"body R eval:html_tag_exists('a')\ntflags R multiple", 1, 1, 1.5},
		{"uri_detail R raw =~ /./\ntflags R multiple", 1, 1, 1.5},
	} {
		s := mustLoad(t, c.rule+"\nscore R 1.5")
		res := runOn(t, s, letter)
		for _, h := range res.Hits {
			if h.Rule.Name == "R" && (h.Count != c.count || h.Times != c.times || h.Score != c.score) {
				t.Errorf("%s: %d hits, which count %d times, %g together", c.rule, h.Count, h.Times, h.Score)
			}
		}
		if res.Score != c.score {
			t.Errorf("%s: a score of %g, not %g", c.rule, res.Score, c.score)
		}
	}
}

// TestFlagsOfFunctions: fields of parts and details of links are asked for by functions in SpamAssassin, and so do not run beside no network
// where tflags says net, nor take replace_rules.
func TestFlagsOfFunctions(t *testing.T) {
	for rules, want := range map[string]int{
		"mimeheader R Content-Type =~ /text/\ntflags R net":                       0,
		"mimeheader R Content-Type =~ /text/\ntflags R learn":                     0,
		"uri_detail R raw =~ /example/\ntflags R net":                             0,
		"uri R /example/\ntflags R net":                                           1,
		"replace_tag T text\nmimeheader R Content-Type =~ /<T>/\nreplace_rules R": 0,
		"replace_tag T number\nheader R Subject =~ /<T>/\nreplace_rules R":        1,
	} {
		s, _ := load(t, rules, Options{})
		if got := len(runOn(t, s, letter).Hits); got != want {
			t.Errorf("%s: %d rules hit", rules, got)
		}
	}
}

func TestRulesThatAreOff(t *testing.T) {
	s, _ := load(t, "body AB /two/\nbody AC /two/\nbody B /two/\nmeta M !AB", Options{Disabled: []string{"A*"}})
	var got []string
	for _, h := range runOn(t, s, letter).Hits {
		got = append(got, h.Rule.Name)
	}
	if strings.Join(got, " ") != "B M" {
		t.Errorf("hit: %v", got)
	}
}

// TestStepsEnd: a pattern that goes back and forth is named, and takes nothing else along.
func TestStepsEnd(t *testing.T) {
	s := mustLoad(t, "body A /(?:a*)*(?=b)\\1?c()/\nbody B /aaa/\nheader N Subject !~ /^(?:a|a|aa)*(?=z)z()\\1/")
	res := runOn(t, s, "Subject: "+strings.Repeat("a", 900)+"\n\n"+strings.Repeat("a", 20000)+"\n")
	names := map[string]bool{}
	for _, h := range res.Hits {
		names[h.Rule.Name] = true
	}
	if !names["B"] {
		t.Error("the other rule is lost")
	}
	for _, r := range res.GaveUp {
		if names[r.Name] {
			t.Errorf("%s gave up and hit", r.Name)
		}
	}
	t.Logf("gave up: %v", ruleList(res.GaveUp))
}

func ruleList(all []*Rule) (names []string) {
	for _, r := range all {
		names = append(names, r.Name)
	}
	return names
}

func TestRunEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := mustLoad(t, "body A /a/").Run(ctx, mailOf(t, letter)); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// TestRunsSideBySide: a set serves many messages at once, and nothing of one is found in another.
func TestRunsSideBySide(t *testing.T) {
	s := mustLoad(t, "header __TO To:addr =~ /(?<TO>.+)/\nbody R /%{TO}/\nbody S /secret\\d/\nuri U /example/\nmeta M R && S")
	var wait sync.WaitGroup
	for g := range 8 {
		wait.Go(func() {
			for i := range 50 {
				want := 0
				text := fmt.Sprintf("To: a%d-%d@example.com\n\nnothing\n", g, i)
				if i%2 == 0 {
					want = 4
					text = fmt.Sprintf("To: a%d-%d@example.com\n\nsecret1 a%d-%d@example.com\n", g, i, g, i)
				}
				res, err := s.Run(context.Background(), mailOf(t, text))
				n := 0
				for _, h := range res.Hits {
					if h.Rule.Name != "U" {
						n++
					}
				}
				if err != nil || n != max(want, 1) {
					t.Errorf("%d %d: %v, %v", g, i, res.Hits, err)
				}
			}
		})
	}
	wait.Wait()
}

func TestTry(t *testing.T) {
	s, _ := load(t, "body A /abc/\nheader B Subject !~ /x/\nmeta C A\ntest A ok xabcx\ntest A fail abd\ntest A ok abd\ntest B ok abc\ntest C ok abc\ntest D ok abc", Options{})
	var got []string
	for _, l := range s.Tests() {
		ok, err := s.Try(l)
		got = append(got, fmt.Sprint(ok, err != nil))
	}
	if want := "true false,true false,false false,true false,false true,false true"; strings.Join(got, ",") != want {
		t.Errorf("%v", got)
	}
}

func TestDefaultRulesAreExact(t *testing.T) {
	s, problems, err := Load(Default(), Options{})
	if err != nil || len(problems) > 0 || len(s.Rules()) < 10 {
		t.Errorf("%d rules, %v, %v", len(s.Rules()), problems, err)
	}
	for _, r := range s.Rules() {
		if !r.Hidden() && r.Description == "" {
			t.Errorf("%s has no description", r.Name)
		}
	}
}
