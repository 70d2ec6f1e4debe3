package bayes

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/internal/learner"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/mail/mailtest"
	"github.com/postern-mail/postern/rules/text"
)

// taught is a learner that knows two kinds of messages, and notes what it is offered.
type taught struct {
	*learner.Model
	offered []learner.Lesson
}

func (l *taught) Offer(x learner.Lesson) { l.offered = append(l.offered, x) }

func content(t testing.TB, n int, subject, body string) *mail.Content {
	t.Helper()
	raw := fmt.Sprintf("From: Someone <s%d@example.org>\r\nSubject: %s\r\nMessage-ID: <%d@example.org>\r\n\r\n%s\r\n", n, subject, n, body)
	c := mail.NewContent(mail.NewBlob([]byte(raw)), mail.LineFaults{}, mail.Limits{})
	t.Cleanup(c.Release)
	return c
}

const (
	hamBody  = "the minutes of our meeting about the budget are attached, please read them before Monday"
	spamBody = "cheap pills for you, buy now without a prescription and save very much money today"
)

func teach(t testing.TB, each int) *taught {
	t.Helper()
	l := &taught{Model: learner.New(learner.Options{Least: 50})}
	for n := range each {
		l.Learn(learner.FromMessage(text.Of(content(t, 2*n, "minutes", hamBody), text.Options{}), nil), false)
		l.Learn(learner.FromMessage(text.Of(content(t, 2*n+1, "pills", spamBody), text.Options{}), nil), true)
	}
	l.Fit()
	return l
}

func build(t testing.TB, l Learner, change func(*config)) filter.Filter {
	t.Helper()
	var d Desk
	spec, f, err := d.Factory().New(filter.Env{Name: "bayes", Kinds: []string{"spf", "bayes"}, Log: slog.New(slog.DiscardHandler)}, func(v any) error {
		if change != nil {
			change(v.(*config))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(spec.Symbols) != 4 || !spec.Phases.Has(filter.Data) {
		t.Errorf("%+v", spec)
	}
	if l != nil {
		d.Use(l)
	}
	return f
}

func run(t testing.TB, f filter.Filter, in *filter.Input) (filter.Result, filter.Finding) {
	t.Helper()
	r, err := f.Check(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Findings) != 1 || r.Propose != filter.Continue {
		t.Fatalf("%+v", r)
	}
	return r, r.Findings[0]
}

func TestFindings(t *testing.T) {
	l := teach(t, 60)
	for name, c := range map[string]struct {
		learner       Learner
		words         bool
		subject, body string
		symbol        string
		detail        string
	}{
		"no learner":    {nil, true, "pills", spamBody, symUntrained, ""},
		"not ready":     {teach(t, 40), true, "pills", spamBody, symUntrained, ""},
		"spam":          {l, true, "pills", spamBody, symSpam, `pills`},
		"ham":           {l, true, "minutes", hamBody, symHam, `budget`},
		"nothing known": {l, true, "", "", symUnsure, "probability of 0."},
		"no words":      {l, false, "pills", spamBody, symSpam, "spam with a probability of "},
	} {
		t.Run(name, func(t *testing.T) {
			f := build(t, c.learner, func(cfg *config) { cfg.Words = c.words })
			_, got := run(t, f, &filter.Input{Content: content(t, 1000, c.subject, c.body)})
			if got.Symbol != c.symbol || !strings.Contains(got.Detail, c.detail) || got.Strength <= 0 || got.Strength > 1 {
				t.Errorf("%+v", got)
			}
			if !c.words && strings.Contains(got.Detail, "pill") {
				t.Errorf("it shows words: %s", got.Detail)
			}
		})
	}
}

// TestPoints: what the learner says counts as much as it is sure, within bounds.
func TestPoints(t *testing.T) {
	for odds, want := range map[float64]float64{0: 0, 0.4: 0, -0.4: 0, 0.5: 1, 2.5: 5, 6: 12, 12: 12, -0.5: -1, -2: -4, -5: -5, -8: -6, -12: -6} {
		if got := Points(odds); math.Abs(got-want) > 0.001 {
			t.Errorf("odds of e^%v add %v, want %v", odds, got, want)
		}
	}
}

func TestContentThatCannotBeReadIsUnknown(t *testing.T) {
	f := build(t, teach(t, 60), nil)
	c := mail.NewContent(mail.NewFileBlob(broken{}, 1000), mail.LineFaults{}, mail.Limits{})
	defer c.Release()
	if r, err := f.Check(t.Context(), &filter.Input{Content: c}); err == nil {
		t.Errorf("%+v", r)
	}
}

type broken struct{}

func (broken) ReadAt([]byte, int64) (int, error) { return 0, errors.New("disk") }
func (broken) Close() error                      { return nil }

// says is what rules say of a message to a learner, where all of them may teach.
func says(points float64) *auth.Teaching {
	return surely(auth.Tally{Points: points, Header: points / 2, Body: points / 2, Score: points})
}

// surely is what rules say that have all come to an end.
func surely(t auth.Tally) *auth.Teaching {
	return &auth.Teaching{Stage: "rules", Least: t, Most: t}
}

// thresholds of tests.
func autolearnOf(ham, spam float64) autolearn { return autolearn{&ham, &spam} }

func TestRulesTeach(t *testing.T) {
	waive := func(what string) []auth.Waiver {
		return []auth.Waiver{{Domain: "friend.example", Waives: []string{what}}}
	}
	listed := func(points float64) *auth.Teaching { return surely(auth.Tally{Score: points}) }
	for name, c := range map[string]struct {
		rules  *auth.Teaching
		off    bool
		relay  bool
		user   string
		waived []auth.Waiver
		fate   filter.Fate
		body   string
		taught bool
		spam   bool
	}{
		"sure spam, refused":       {rules: says(12), fate: filter.Refused, body: "something new", taught: true, spam: true},
		"sure spam, taken":         {rules: says(12), fate: filter.Taken, body: "something new", taught: true, spam: true},
		"sure spam, in doubt":      {rules: says(12), fate: filter.Doubted, body: "something new", taught: true, spam: true},
		"sure ham, taken":          {rules: says(-1), fate: filter.Taken, body: "something new", taught: true},
		"sure ham, refused":        {rules: says(-1), fate: filter.Refused, body: "something new"},
		"sure ham, held":           {rules: says(-1), fate: filter.Held, body: "something new"},
		"sure ham, in doubt":       {rules: says(-1), fate: filter.Doubted, body: "something new"},
		"sure spam, held":          {rules: says(12), fate: filter.Held, body: "something new", taught: true, spam: true},
		"ham, to come again":       {rules: says(-1), fate: filter.Unfinished, body: "something new"},
		"ham, known as spam":       {rules: says(-1), fate: filter.Taken, body: spamBody},
		"spam, known as ham":       {rules: says(12), fate: filter.Refused, body: hamBody},
		"to come again":            {rules: says(12), fate: filter.Unfinished, body: "something new"},
		"in doubt":                 {rules: says(3), fate: filter.Taken, body: "something new"},
		"no rule ran":              {fate: filter.Taken, body: "something new"},
		"known well":               {rules: says(12), fate: filter.Refused, body: spamBody},
		"a client that may relay":  {rules: says(12), relay: true, fate: filter.Refused, body: "something new"},
		"a user":                   {rules: says(-1), user: "u", fate: filter.Taken, body: "something new"},
		"off unless it is written": {rules: says(12), off: true, fate: filter.Refused, body: "something new"},
		"a friend by a list":       {rules: listed(-100), fate: filter.Taken, body: "something new"},
		"a foe by a list":          {rules: listed(100), fate: filter.Refused, body: "something new"},
		"the score is waived":      {rules: says(12), waived: waive("score"), fate: filter.Taken, body: "something new"},
		"rules are waived":         {rules: says(12), waived: waive("rules"), fate: filter.Taken, body: "something new"},
		"the learner is waived":    {rules: says(12), waived: waive("bayes"), fate: filter.Taken, body: "something new"},
		"something else is waived": {rules: says(12), waived: waive("dmarc"), fate: filter.Taken, body: "something new", taught: true, spam: true},
		"a waiver makes no ham":    {rules: says(1), waived: waive("score"), fate: filter.Taken, body: "something new"},
		"ham, the score is waived": {rules: says(-1), waived: waive("score"), fate: filter.Taken, body: "something new", taught: true},
	} {
		t.Run(name, func(t *testing.T) {
			l := teach(t, 60)
			f := build(t, l, func(cfg *config) {
				if !c.off {
					cfg.Autolearn = autolearnOf(-0.5, 10)
				}
			})
			in := &filter.Input{Session: &filter.Session{Relay: c.relay, User: c.user}, Transaction: &filter.Transaction{}, Content: content(t, 1000, "pills", c.body)}
			if c.rules != nil {
				in.Transaction.Record(auth.RulesTeach.Of(*c.rules), auth.Waivers.Of(c.waived))
			}
			r, _ := run(t, f, in)
			if r.Settle != nil {
				r.Settle(c.fate)
			}
			if (len(l.offered) == 1) != c.taught || len(l.offered) > 1 {
				t.Fatalf("%d lessons", len(l.offered))
			}
			if c.taught && (l.offered[0].Spam != c.spam || l.offered[0].How != learner.FromRules || time.Since(l.offered[0].When) > time.Hour) {
				t.Errorf("%+v", l.offered[0])
			}
		})
	}
}

// TestAutolearn: what SpamAssassin asks for beside its thresholds.
// TestPoliciesTeach: of a message that several policies ask about, each by its own rules, there is one lesson at most.
func TestPoliciesTeach(t *testing.T) {
	spam, ham := *says(12), *says(-3)
	for name, c := range map[string]struct {
		said []auth.Teaching
		want string
	}{
		"the same":           {[]auth.Teaching{spam, spam, spam}, "[true]"},
		"the same ham":       {[]auth.Teaching{ham, ham}, "[false]"},
		"the contrary":       {[]auth.Teaching{ham, spam}, "[]"},
		"the contrary later": {[]auth.Teaching{spam, spam, ham}, "[]"},
		"one is not sure":    {[]auth.Teaching{*says(3), spam}, "[true]"},
	} {
		t.Run(name, func(t *testing.T) {
			l := teach(t, 10)
			message, kept := content(t, 1000, "news", "nobody has heard of this before"), new(filter.Kept)
			var settle []func(filter.Fate)
			for _, said := range c.said {
				f := build(t, l, func(cfg *config) { cfg.Autolearn = autolearnOf(-0.5, 10) })
				in := &filter.Input{Session: &filter.Session{}, Transaction: &filter.Transaction{}, Content: message, Kept: kept}
				in.Transaction.Record(auth.RulesTeach.Of(said))
				if r, _ := run(t, f, in); r.Settle != nil {
					settle = append(settle, r.Settle)
				}
			}
			for _, f := range settle {
				f(filter.Taken)
			}
			classes := []bool{}
			for _, lesson := range l.offered {
				classes = append(classes, lesson.Spam)
			}
			if got := fmt.Sprint(classes); got != c.want || len(settle) == 0 {
				t.Errorf("%d are to be told; lessons that it is spam: %s, want %s", len(settle), got, c.want)
			}
		})
	}
}

func TestAutolearn(t *testing.T) {
	all := func(t auth.Tally) auth.Teaching { return *surely(t) }
	safe := func(t auth.Tally) auth.Teaching { return auth.Teaching{Least: t, Most: t, Force: true} }
	cut := func(t auth.Tally) auth.Teaching { return auth.Teaching{Least: t, Most: t, Partial: true} }
	spam := auth.Tally{Points: 12, Header: 3, Body: 3, Score: 12}
	for name, c := range map[string]struct {
		rules         auth.Teaching
		teaches, spam bool
	}{
		"spam":                                     {all(spam), true, true},
		"not enough":                               {all(auth.Tally{Points: 11.999, Header: 6, Body: 5, Score: 11.999}), false, false},
		"hardly any of the header":                 {all(auth.Tally{Points: 12, Header: 2.9, Body: 9, Score: 12}), false, false},
		"hardly any of the body":                   {all(auth.Tally{Points: 12, Header: 9, Body: 2.9, Score: 12}), false, false},
		"all of the body, and safe":                {safe(auth.Tally{Points: 12, Body: 12, Score: 12}), true, true},
		"safe, and not enough":                     {safe(auth.Tally{Points: 6, Body: 6, Score: 6}), false, false},
		"spam of a friend":                         {all(auth.Tally{Points: 12, Header: 6, Body: 6, Score: -88}), false, false},
		"spam that is none with all rules":         {all(auth.Tally{Points: 12, Header: 6, Body: 6, Score: 4.9}), false, false},
		"spam that a rule was taught to be none":   {all(auth.Tally{Points: 12, Header: 6, Body: 6, Score: 10.9, Learned: -1.1}), false, false},
		"spam, and a rule that was taught is mild": {all(auth.Tally{Points: 12, Header: 6, Body: 6, Score: 11, Learned: -1}), true, true},
		"ham":                                     {all(auth.Tally{}), true, false},
		"spam that was not seen all":              {cut(spam), false, false},
		"ham that was not seen all":               {cut(auth.Tally{}), false, false},
		"ham of a foe":                            {all(auth.Tally{Score: 100}), false, false},
		"ham that a rule was taught to be spam":   {all(auth.Tally{Score: 3.5, Learned: 3.5}), false, false},
		"ham, and a rule that was taught is mild": {all(auth.Tally{Score: 1, Learned: 1}), true, false},
		"as much as the threshold of ham":         {all(auth.Tally{Points: 0.1, Score: 0.1}), false, false},

		"spam whatever a list says":               {auth.Teaching{Least: spam, Most: auth.Tally{Points: 20, Header: 9, Body: 5, Score: 20}}, true, true},
		"spam unless a list speaks for it":        {auth.Teaching{Least: auth.Tally{Points: 7, Header: 3, Body: 3, Score: 7}, Most: spam}, false, false},
		"spam, its side unless a list says no":    {auth.Teaching{Least: auth.Tally{Points: 12, Header: 2, Body: 3, Score: 12}, Most: spam}, false, false},
		"spam by lists that speak for it in part": {auth.Teaching{Least: auth.Tally{Points: 12, Header: 3, Body: 3, Score: 4}, Most: spam}, false, false},
		"ham unless a list says no":               {auth.Teaching{Most: auth.Tally{Points: 2, Score: 2}}, false, false},
		"ham unless a list of the site says no":   {auth.Teaching{Most: auth.Tally{Score: 100}}, false, false},
		"ham whatever a list says":                {auth.Teaching{Least: auth.Tally{Points: -5, Score: -5}}, true, false},
	} {
		spam, ok := Autolearn{0.1, 12}.Of(c.rules)
		if ok != c.teaches || ok && spam != c.spam {
			t.Errorf("%s: teaches %v, spam %v", name, ok, spam)
		}
	}
}

// TestRulesTeachWithoutMarks: the lesson is of the message without marks; what can't be had without them is none.
func TestRulesTeachWithoutMarks(t *testing.T) {
	bare := content(t, 1000, "pills", "something new")
	for name, c := range map[string]struct {
		bare   Bare
		taught bool
		fails  bool
	}{
		"marked":        {func(*mail.Content) (*mail.Content, error) { return bare.Retain(), nil }, true, false},
		"too big":       {func(*mail.Content) (*mail.Content, error) { return nil, nil }, false, false},
		"can't be read": {func(*mail.Content) (*mail.Content, error) { return nil, errors.New("disk") }, false, true},
		"breaks off then": {func(*mail.Content) (*mail.Content, error) {
			return mailtest.BreakingContent(t, "Subject: x\r\nContent-Type: text/html\r\n\r\n<a href='http://a.com/'>x</a>\r\n").Retain(), nil
		}, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			l := teach(t, 60)
			var d Desk
			d.Use(l)
			d.Unmark(c.bare)
			_, f, err := d.Factory().New(filter.Env{}, func(v any) error { v.(*config).Autolearn = autolearnOf(-0.5, 10); return nil })
			if err != nil {
				t.Fatal(err)
			}
			in := &filter.Input{Session: &filter.Session{}, Transaction: &filter.Transaction{}, Content: content(t, 1000, "[SPAM] pills", "something new")}
			hits := []auth.RuleHit{{Name: "A_RULE", Score: 12, Count: 1}}
			in.Transaction.Record(auth.RuleHits.Of(hits), auth.RulesTeach.Of(*says(12)))
			r, err := f.Check(t.Context(), in)
			if (err != nil) != c.fails {
				t.Fatal(err)
			}
			if r.Settle != nil {
				r.Settle(filter.Refused)
			}
			if (len(l.offered) == 1) != c.taught {
				t.Fatalf("%d lessons", len(l.offered))
			}
			want := learner.FromMessage(text.Of(bare, text.Options{}), hits)
			if c.taught && (l.offered[0].Digest != want.Digest || !slices.Equal(l.offered[0].Features(nil), want.Features)) {
				t.Error("the lesson is of another message")
			}
		})
	}
}

func TestConfiguration(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*config)
		kinds  []string
		fault  string
	}{
		"defaults":            {func(*config) {}, nil, ""},
		"two of them":         {func(*config) {}, []string{"bayes", "spf", "bayes"}, "there is one learner"},
		"least too low":       {func(c *config) { c.Least = 1 }, nil, "least: 1; allowed: 20 to"},
		"too few samples":     {func(c *config) { c.Samples = 199 }, nil, "samples: 199; allowed: as many as least (200)"},
		"half life":           {func(c *config) { c.HalfLife = time.Hour }, nil, "half_life: 1h0m0s; allowed: 1d to"},
		"unsure of spam":      {func(c *config) { c.Autolearn = autolearnOf(0, 5) }, nil, "autolearn: spam: 5; allowed: from 6"},
		"unsure of ham":       {func(c *config) { c.Autolearn = autolearnOf(2, 12) }, nil, "autolearn: ham: 2; allowed: up to 1"},
		"no number":           {func(c *config) { c.Autolearn = autolearnOf(math.NaN(), 12) }, nil, "autolearn: ham: NaN; allowed"},
		"only the other half": {func(c *config) { c.Autolearn.Spam = autolearnOf(0, 12).Spam }, nil, "autolearn: spam: 12 alone; allowed: ham"},
		"only half of it":     {func(c *config) { c.Autolearn.Ham = autolearnOf(0, 12).Ham }, nil, "autolearn: ham: 0 alone; allowed: spam"},
		"nothing is ham":      {func(c *config) { c.Autolearn = autolearnOf(0, 6) }, nil, ""},
		"sure rules":          {func(c *config) { c.Autolearn = autolearnOf(-1, 12) }, nil, ""},
		"as others have it":   {func(c *config) { c.Autolearn = autolearnOf(0.1, 12) }, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var d Desk
			_, _, err := d.Factory().New(filter.Env{Kinds: c.kinds}, func(v any) error { c.change(v.(*config)); return nil })
			if (err == nil) != (c.fault == "") || err != nil && !strings.Contains(err.Error(), c.fault) {
				t.Errorf("%v", err)
			}
		})
	}
	o, err := LearnerOptions(func(v any) error { v.(*config).Samples = 500; return nil })
	if err != nil || o.Samples != 500 || o.Least != 200 {
		t.Errorf("%+v, %v", o, err)
	}
}

func BenchmarkCheck(b *testing.B) {
	l := teach(b, 60)
	f := build(b, l, func(c *config) { c.Words = false })
	in := &filter.Input{Content: content(b, 1, "pills", strings.Repeat(hamBody+"\r\n"+spamBody+"\r\n", 30))}
	for b.Loop() {
		if _, err := f.Check(b.Context(), in); err != nil {
			b.Fatal(err)
		}
	}
}

// TestContentThatBreaksIsUnknown: what can't be read after the structure was is not found clean.
func TestContentThatBreaksIsUnknown(t *testing.T) {
	c := mailtest.BreakingContent(t, "Subject: x\r\nContent-Type: text/html\r\n\r\n<a href='http://a.com/'>x</a>\r\n")
	if r, err := build(t, teach(t, 60), nil).Check(t.Context(), &filter.Input{Phase: filter.Data, Content: c}); err == nil {
		t.Errorf("found %v", r.Findings)
	}
}
