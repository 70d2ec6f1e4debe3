package learner

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/rules/text"
)

func messageOf(t testing.TB, raw string) *text.Message {
	t.Helper()
	c := mail.NewContent(mail.NewBlob([]byte(strings.ReplaceAll(raw, "\n", "\r\n"))), mail.LineFaults{}, mail.Limits{})
	t.Cleanup(c.Release)
	return text.Of(c, text.Options{})
}

const plain = `From: "Bob Example" <bob@client.example>
Subject: the budget
Message-ID: <1@client.example>
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

Dear Ann, the budget f` + "\u00fc" + `r 2026 is at http://www.client.com/budget
and may be read before the meeting.
`

// encoded says the same as plain, in another encoding.
const encoded = `From: "Bob Example" <bob@client.example>
Subject: =?utf-8?q?the_budget?=
Message-ID: <1@client.example>
Content-Type: text/plain; charset=iso-8859-1
Content-Transfer-Encoding: quoted-printable

Dear Ann, the budget f=FCr 2026 is at http://www.client.com=
/budget
and may be read before the meeting.
`

// transport is what servers, lists and other filters put on top.
const transport = `Return-Path: <bounces@lists.example>
Received: from a.example (a.example [192.0.2.1]) by b.example; Thu, 1 Jan 2026 00:00:00 +0000
Authentication-Results: b.example; dkim=pass header.d=client.example
DKIM-Signature: v=1; a=rsa-sha256; d=client.example; s=x; h=from; bh=AAAA; b=BBBB
X-Spam-Status: Yes, score=12.3 required=5.0 tests=HTML_ONLY
X-Spam-Flag: YES
X-Bogosity: Spam, tests=bogofilter
Sender: budget-bounces@lists.example
List-Id: <budget.lists.example>
List-Unsubscribe: <http://lists.example/unsubscribe>
Precedence: list
Date: Thu, 1 Jan 2026 00:00:00 +0000
`

func TestDigestSurvivesTheWay(t *testing.T) {
	want := DigestOf(messageOf(t, plain))
	for name, raw := range map[string]string{"transport": transport + plain, "another encoding": encoded, "blank lines": plain + "\n\n"} {
		if DigestOf(messageOf(t, raw)) != want {
			t.Errorf("%s: another digest", name)
		}
	}
	for name, raw := range map[string]string{
		"author":  strings.Replace(plain, "bob@", "eve@", 1),
		"subject": strings.Replace(plain, "the budget", "a budget", 1),
		"id":      strings.Replace(plain, "<1@", "<2@", 1),
		"text":    strings.Replace(plain, "meeting", "party", 1),
	} {
		if DigestOf(messageOf(t, raw)) == want {
			t.Errorf("another %s, the same digest", name)
		}
	}
}

func TestWhatTellsCorporaApartIsNoFeature(t *testing.T) {
	want := FromMessage(messageOf(t, plain), nil).Features
	for name, raw := range map[string]string{
		"transport":        transport + plain,
		"the tag of lists": strings.Replace(plain, "Subject: ", "Subject: [budget] ", 1),
		"its footer":       plain + "_______________________________________________\nbudget mailing list\nhttp://lists.client.com/mailman/listinfo/budget\n",
		"Message-ID":       strings.Replace(plain, "1@client.example", "20260101.abc@mailer.example", 1),
		"year":             strings.Replace(plain, "2026", "1999", 1),
		"upper case":       strings.Replace(plain, "Dear Ann", "DEAR ANN", 1),
	} {
		if !slices.Equal(FromMessage(messageOf(t, raw), nil).Features, want) {
			t.Errorf("%s: other features", name)
		}
	}
	if !slices.Equal(FromMessage(messageOf(t, page), nil).Features, FromMessage(messageOf(t, strings.Replace(page, "http:", "https:", 1)), nil).Features) {
		t.Error("the scheme of a link: other features")
	}
}

// page is plain as HTML.
var page = strings.NewReplacer("text/plain", "text/html", "http://www.client.com/budget", `<a href="http://www.client.com/budget">here</a>`).Replace(plain)

func TestWhatIsLookedAt(t *testing.T) {
	for name, c := range map[string]struct {
		raw   string
		hits  []auth.RuleHit
		class string
		value string
	}{
		"the type of a part":  {plain, nil, "part", "text/plain"},
		"the host of a link":  {plain, nil, "host", "www.client.com"},
		"its domain":          {page, nil, "host", "client.com"},
		"the hit of a rule":   {plain, []auth.RuleHit{{Name: "HTML_ONLY"}}, "rule", "HTML_ONLY"},
		"the type of another": {page, nil, "part", "text/html"},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewGather()
			g.Mark(c.class, c.value, 1)
			want := g.Sample(Digest{}).Features[0]
			m := messageOf(t, c.raw)
			s := FromMessage(m, c.hits)
			if _, ok := slices.BinarySearch(s.Features, want); !ok {
				t.Error("it is not")
			}
			words := Words(m, c.hits, []Share{{want, 1}})
			if len(words) != 1 || words[0].Text != c.class+":"+c.value {
				t.Errorf("%+v", words)
			}
		})
	}
}

// TestReasonsAreWords puts runs of octets together that lie in the same word.
func TestReasonsAreWords(t *testing.T) {
	m := messageOf(t, plain)
	var shares []Share
	for _, f := range FromMessage(m, nil).Features {
		shares = append(shares, Share{f, 0.5})
	}
	words := Words(m, nil, shares)
	i := slices.IndexFunc(words, func(r Reason) bool { return r.Text == "budget" })
	if i < 0 || words[i].Weight != 1.5 { // budg, udge, dget
		t.Errorf("%+v", words)
	}
	if !slices.IsSortedFunc(words, func(a, b Reason) int { return int(b.Weight*2 - a.Weight*2) }) {
		t.Error("not the heaviest first")
	}
}

func TestTagsOfLists(t *testing.T) {
	for in, want := range map[string]string{
		"the budget":                          "the budget",
		"[list] the budget":                   "the budget",
		"Re: [list] the budget":               "Re: the budget",
		"[list] Re: [a] Fwd: [b] c":           "Re: Fwd: c",
		"[" + strings.Repeat("x", 50) + "] y": "[" + strings.Repeat("x", 50) + "] y",
		"[unclosed":                           "[unclosed",
		"Attention: money":                    "Attention: money",
		"":                                    "",
	} {
		if got := tagless(in); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
	if got := tagless(strings.Repeat("a:", 10_000)); len(got) > 30_000 {
		t.Errorf("%d octets", len(got))
	}
}

func TestWordsOfSubjects(t *testing.T) {
	features := func(s string) []uint32 {
		g := NewGather()
		g.Words("subject", []byte(s))
		return g.Sample(Digest{}).Features
	}
	for name, c := range map[string]struct {
		a, b string
		same bool
	}{
		"numbers":       {"invoice 4711 of 2026", "invoice 1147 of 1999", true},
		"case":          {"FREE Money", "free money", true},
		"days":          {"minutes of Monday, 3 March", "minutes of Friday, 5 June", true},
		"marks between": {"free -- money", "free, money", true},
		"words":         {"free money", "free beer", false},
		"order":         {"money free", "free money", false},
		"prices":        {"for $100", "for 100", false},
	} {
		if slices.Equal(features(c.a), features(c.b)) != c.same {
			t.Errorf("%s: %q and %q: the same: %v", name, c.a, c.b, !c.same)
		}
	}
	if n := len(features(strings.Repeat("x", 10_000))); n != 1 {
		t.Errorf("%d features of one word", n)
	}
	if n := len(features(strings.Repeat("\u5b89\u5168", 20))); n < 2 || n > 4 {
		t.Errorf("%d features of a run of two characters", n)
	}
}

func TestTextsAreReadAsTheyLook(t *testing.T) {
	for name, c := range map[string]struct {
		in, out string
		did     disguise
	}{
		"plain":                         {"the budget\nof \t 2026", "the budget\nof   2026", 0},
		"Cyrillic":                      {"\u043f\u0440\u0438\u0432\u0435\u0442, \u0441\u043e\u0440\u0430", "\u043f\u0440\u0438\u0432\u0435\u0442, \u0441\u043e\u0440\u0430", 0},
		"Latin with Cyrillic":           {"p\u0430yp\u0430l", "paypal", mixed},
		"at the end":                    {"so \u0440aypal\u0435", "so paypale", mixed},
		"accents":                       {"cr\u00e9dit na\u00efve", "cr\u00e9dit na\u00efve", 0},
		"a unit":                        {"5 \u03bcm", "5 \u03bcm", 0},
		"no width":                      {"pay\u200bpal", "paypal", invisible},
		"no width between words":        {"\u200c\u00a0\u200c\u00a0pay", "  pay", 0},
		"no width in Persian":           {"\u0645\u06cc\u200c\u0631\u0648\u0645", "\u0645\u06cc\u0631\u0648\u0645", 0},
		"the letters of mathematicians": {"\U0001d40f\U0001d41a\U0001d432", "Pay", styled},
		"fullwidth":                     {"\uff30\uff41\uff59", "Pay", 0},
		"blanks":                        {"a" + strings.Repeat(" ", 100) + "b", "a" + strings.Repeat(" ", maxBlank) + "b", 0},
		"octets that are no UTF-8":      {"a\xff\xd0b", "a\xff\xd0b", 0},
	} {
		if out, did := fold([]byte(c.in)); string(out) != c.out || did != c.did {
			t.Errorf("%s: %q, %b", name, out, did)
		}
	}
	for in, want := range map[string]string{
		"f r e e money": " free ", "so v.i.a.g.r.a is": " viagra ", "a b c": "", "a b-c d e": "", "plan b, c or d": "", "x y z w1": "", "w x y z1": "", "": "",
		"c l i c k h e r e": " clickhere ",
	} {
		if got := string(spacedOut([]byte(in))); got != want {
			t.Errorf("%q: %q", in, got)
		}
	}
}

// TestWhatIsMuchLeavesRoom: none of what a message has thousands of keeps the rest from being looked at.
func TestWhatIsMuchLeavesRoom(t *testing.T) {
	long := strings.NewReplacer("From: ", "From: "+strings.Repeat("x1 y2 z3 ", 300), "Subject: ", "Subject: "+strings.Repeat("a1 b2 c3 ", 300)).Replace(page)
	var links strings.Builder
	for i := range 500 {
		fmt.Fprintf(&links, "<a href=\"http://h%d.com/%x/%x\">x</a>\n", i, i*7919*7919*7919, i*104729*104729)
	}
	long = strings.Replace(long, "Dear", links.String()+strings.Repeat("padding of a text. ", 3000)+"Dear", 1)
	var hits []auth.RuleHit
	for i := range 1000 {
		hits = append(hits, auth.RuleHit{Name: fmt.Sprintf("RULE_%d", i)})
	}
	s := FromMessage(messageOf(t, long), hits)
	if len(s.Features) > maxFeatures {
		t.Errorf("%d features", len(s.Features))
	}
	for _, want := range []string{"meeting", "before the"} {
		g := NewGather()
		g.Grams("", []byte(want))
		for _, f := range g.Sample(Digest{}).Features {
			if _, ok := slices.BinarySearch(s.Features, f); !ok {
				t.Errorf("nothing of %q", want)
			}
		}
	}
	g := NewGather()
	g.Mark("host", "h499.com", 1)
	g.Mark("part", "text/html", 1)
	for _, f := range g.Sample(Digest{}).Features {
		if _, ok := slices.BinarySearch(s.Features, f); !ok {
			t.Error("the last link, or the part, is not looked at")
		}
	}
}

// TestDigestOfBigFilesIsBounded: of a file the beginning is looked at.
func TestDigestOfBigFilesIsBounded(t *testing.T) {
	with := func(n int, last string) Digest {
		return DigestOf(messageOf(t, strings.Replace(plain, "text/plain; charset=utf-8", "application/octet-stream", 1)+strings.Repeat("x", n)+last+"\n"))
	}
	if with(100, "a") == with(100, "b") {
		t.Error("other files have one digest")
	}
	if with(2*maxFile, "a") != with(2*maxFile, "b") {
		t.Error("more than the beginning is looked at")
	}
}
