package rules

import (
	"math"
	"strings"
	"testing"

	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/rules/eval"
	"github.com/postern-mail/postern/rules/text"
)

// teachingOf runs rules over a message, and gives what they say to a learner.
func teachingOf(t *testing.T, s *Set, message string) auth.Teaching {
	t.Helper()
	c := mail.NewContent(mail.NewBlob([]byte(strings.ReplaceAll(message, "\n", "\r\n"))), mail.LineFaults{}, mail.Limits{})
	defer c.Release()
	r, err := s.Run(t.Context(), &eval.Mail{Text: text.Of(c, s.Settings().Text())})
	if err != nil {
		t.Fatal(err)
	}
	return s.Teaching(&r)
}

// TestTeaching: which rules teach, on which side of the message, and by which scores.
func TestTeaching(t *testing.T) {
	const message = "From: A <a@friend.example>\nSubject: a number\nContent-Type: text/plain\n\nsome words http://x.com/words\n"
	const head, body = "header H Subject =~ /number/\nscore H 2\n", "body B /words/\nscore B 3\n"
	for _, c := range []struct {
		name, rules string
		o           Options
		want        auth.Tally
		force       bool
	}{
		{"nothing hits", "body B /wombat/\n", Options{}, auth.Tally{}, false},
		{"header and body", head + body, Options{}, auth.Tally{Points: 5, Header: 2, Body: 3, Score: 5}, false},
		{"a link, and raw text", "uri A /x/\nrawbody B /words/\n", Options{}, auth.Tally{Points: 2, Body: 2, Score: 2}, false},
		{"the whole message is no side", "full F /words/\nscore F 4\n", Options{}, auth.Tally{Points: 4, Score: 4}, false},
		{"a function of the header", "header F eval:check_for_missing_to_header()\n", Options{}, auth.Tally{Points: 1, Header: 1, Score: 1}, false},
		{"a function of the body", "body F eval:postern_words_below('50')\n", Options{}, auth.Tally{Points: 1, Body: 1, Score: 1}, false},
		{"noautolearn", head + body + "tflags B noautolearn\n", Options{}, auth.Tally{Points: 2, Header: 2, Score: 5}, false},
		{"userconf among others", head + body + "tflags H userconf nice net\n", Options{}, auth.Tally{Points: 3, Body: 3, Score: 5}, false},
		{"learn", head + body + "tflags B learn\n", Options{}, auth.Tally{Points: 2, Header: 2, Score: 5, Learned: 3}, false},
		{"a list of friends", "welcomelist_from *@friend.example\nheader W eval:check_from_in_welcomelist()\nscore W -100\ntflags W userconf nice noautolearn\n" + body, Options{}, auth.Tally{Points: 3, Body: 3, Score: -97}, false},
		{"force", body + "tflags B autolearn_force\n", Options{}, auth.Tally{Points: 3, Body: 3, Score: 3}, true},
		{"force of a rule that only serves others", "body __B /words/\ntflags __B autolearn_force\nmeta M __B\n", Options{}, auth.Tally{Points: 1, Body: 1, Score: 1}, false},
		{"force of one that is not to teach", body + "tflags B autolearn_force noautolearn\n", Options{}, auth.Tally{Score: 3}, false},
		{"a side by its flag", body + "tflags B autolearn_header\n" + head + "tflags H autolearn_body\n", Options{}, auth.Tally{Points: 5, Header: 3, Body: 2, Score: 5}, false},
		{"a meta has the sides of its rules", "header __H Subject =~ /number/\nbody __B /words/\nbody __C /wombat/\nmeta M __H && (__B || __C)\nscore M 3\n", Options{}, auth.Tally{Points: 3, Header: 1, Body: 2, Score: 3}, false},
		{"a meta of metas", "header __H Subject =~ /number/\nbody __B /words/\nmeta __M __H && __B\nmeta M __M && __B\nscore M 4\n", Options{}, auth.Tally{Points: 4, Header: 1, Body: 3, Score: 4}, false},
		{"a meta without sides", "full __F /words/\nmeta M __F\n", Options{}, auth.Tally{Points: 1, Score: 1}, false},
		{"scores without a learner", "header H Subject =~ /number/\nscore H 1 2 3 4\n", Options{Learner: true}, auth.Tally{Points: 1, Header: 1, Score: 3}, false},
		{"scores with the network, without a learner", "header H Subject =~ /number/\nscore H 1 2 3 4\n", Options{Learner: true, Network: true}, auth.Tally{Points: 2, Header: 2, Score: 4}, false},
		{"scores with the network", "header H Subject =~ /number/\nscore H 1 2 3 4\n", Options{Network: true}, auth.Tally{Points: 2, Header: 2, Score: 2}, false},
		{"one that scores beside a learner only", "header H Subject =~ /number/\nscore H 0 0 3 4\n", Options{Learner: true}, auth.Tally{Score: 3}, false},
		{"each hit counts", body + "tflags B multiple\n", Options{}, auth.Tally{Points: 6, Body: 6, Score: 6}, false},
		{"decimals", "body A /some/\nscore A 0.1\nbody B /words/\nscore B 0.2\n", Options{}, auth.Tally{Points: 0.3, Body: 0.3, Score: 0.3}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, problems := load(t, c.rules, c.o)
			for _, p := range problems {
				if p.Severity != Note {
					t.Error(p)
				}
			}
			if got, want := teachingOf(t, s, message), (auth.Teaching{Least: c.want, Most: c.want, Force: c.force}); got != want {
				t.Errorf("%+v, not %+v", got, want)
			}
		})
	}
}

// TestSides: what a list in the DNS says of hosts and domains is of neither side, as in SpamAssassin; of links it is of the body, as fields of parts are.
func TestSides(t *testing.T) {
	s, _ := load(t, "header A eval:check_rbl('a', 'a.example.')\naskdns B _SENDERDOMAIN_.b.example A 127.0.0.2\nurirhsbl C c.example. A\nbody C eval:check_uridnsbl('C')\nmimeheader D Content-Type =~ /x/\n", Options{Network: true})
	for name, want := range map[string]sides{"A": {}, "B": {}, "C": {body: 1}, "D": {body: 1}} {
		if got := s.Rule(name).sides; got != want {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// TestStockListsTeachNothing: nobody who is on a list of the site teaches by that, nor does a message that is for tests.
func TestStockListsTeachNothing(t *testing.T) {
	files := append(stockFiles(t), Source{Name: "local.cf", Octets: []byte("welcomelist_from *@friend.example\nblocklist_from *@foe.example\n")})
	s, _, err := Load(files, Options{})
	if err != nil {
		t.Fatal(err)
	}
	const rest = "To: b@example.org\nDate: Thu, 26 Nov 2026 12:00:00 +0000\nMessage-ID: <1@a.example>\nSubject: the minutes\n\nThe minutes of our meeting are here.\n"
	plain := teachingOf(t, s, "From: A <a@a.example>\n"+rest).Least
	for name, c := range map[string]struct {
		message    string
		least, top float64 // of the score
	}{
		"a friend": {"From: A <a@friend.example>\n" + rest, -200, -90},
		"a foe":    {"From: A <a@foe.example>\n" + rest, 90, 200},
		"GTUBE":    {"From: A <a@a.example>\n" + rest + "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X\n", 900, 1100},
	} {
		if got := teachingOf(t, s, c.message).Most; got.Score < c.least || got.Score > c.top || math.Abs(got.Points-plain.Points) > 0.01 {
			t.Errorf("%s: %+v; without %+v", name, got, plain)
		}
	}
}
