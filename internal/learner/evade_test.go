package learner

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// Words of the made messages: those of everybody, and those of each class.
var (
	wordsOfAll = strings.Fields(`the and for you your with this that have from are can not but all will our please we is it to of in
		on be as at or an if so they their more about new time when what there which would only see last next day`)
	wordsOfHam = strings.Fields(`meeting budget minutes agenda project draft review colleague schedule department committee lecture
		garden children holiday dinner weekend train ticket library chapter printer compiler branch release patch server
		translation museum concert kitchen carpenter invoice quarter figures appendix spreadsheet`)
	wordsOfSpam = strings.Fields(`viagra pharmacy pills discount prescription casino jackpot winner lottery millions inheritance
		beneficiary transfer urgent congratulations replica watches luxury enlargement erection weight miracle guaranteed
		unlimited credit refinance mortgage bitcoin wallet doubled profits trader password suspended verify`)
)

// writer makes messages.
type writer struct{ *rand.Rand }

// prose gives so many words, half of them of a class.
func (w writer) prose(of []string, n int) string {
	var b strings.Builder
	for i := range n {
		words := wordsOfAll
		if w.IntN(2) == 0 {
			words = of
		}
		b.WriteString(words[w.IntN(len(words))])
		if i%11 == 10 {
			b.WriteString(".\n")
		} else {
			b.WriteByte(' ')
		}
	}
	return b.String() + "\n"
}

func (w writer) head() string {
	return fmt.Sprintf("From: <a%d@client%d.example>\nSubject: %s\nMessage-ID: <%d@x.example>\nMIME-Version: 1.0\n",
		w.IntN(1000), w.IntN(50), strings.TrimSpace(w.prose(wordsOfAll, 3)), w.Uint64())
}

func (w writer) links(n int) string {
	var b strings.Builder
	for range n {
		fmt.Fprintf(&b, "<a href=\"http://www.%s%d.com/%s/%s\">%s</a>\n", wordsOfHam[w.IntN(len(wordsOfHam))], w.IntN(1000),
			strings.ReplaceAll(strings.TrimSpace(w.prose(wordsOfHam, 10)), " ", "/"), wordsOfHam[w.IntN(len(wordsOfHam))], "see")
	}
	return b.String()
}

const utf8Part = "; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n"

func (w writer) plain(body string) string {
	return w.head() + "Content-Type: text/plain" + utf8Part + body
}

func (w writer) html(body string) string {
	return w.head() + "Content-Type: text/html" + utf8Part + "<html><body><p>" + body + "</p></body></html>\n"
}

// parts makes a multipart of parts, each of which begins with its subtype and a blank.
func (w writer) parts(kind string, parts ...string) string {
	var b strings.Builder
	b.WriteString(w.head() + "Content-Type: multipart/" + kind + "; boundary=b\n\n")
	for _, p := range parts {
		subtype, body, _ := strings.Cut(p, " ")
		if subtype == "html" {
			body = "<html><body><p>" + body + "</p></body></html>\n"
		}
		b.WriteString("--b\nContent-Type: text/" + subtype + utf8Part + body + "\n")
	}
	return b.String() + "--b--\n"
}

// calendar is a part with an event that is described so.
func calendar(text string) string {
	return "calendar BEGIN:VCALENDAR\nBEGIN:VEVENT\nDESCRIPTION:" + strings.ReplaceAll(text, "\n", "\n ") + "\nEND:VEVENT\nEND:VCALENDAR\n"
}

// each writes every word of a text that is of the class anew.
func each(text string, f func(string) string) string {
	words := strings.Fields(text)
	for i, x := range words {
		words[i] = f(x)
	}
	return strings.Join(words, " ")
}

// taught is a Model that was taught some hundred made messages, of both classes in the same forms.
func taught(t *testing.T, w writer) *Model {
	m := New(Options{})
	for n := range 400 {
		spam, of := n%2 == 1, wordsOfHam
		if spam {
			of = wordsOfSpam
		}
		body := w.prose(of, 40+w.IntN(100))
		var raw string
		switch n / 2 % 4 {
		case 0:
			raw = w.plain(body)
		case 1:
			raw = w.html(body)
		case 2:
			raw = w.parts("alternative", "plain "+body, "html "+body+w.links(1))
		case 3:
			raw = w.parts("mixed", "plain "+body, "html "+w.prose(wordsOfAll, 20))
		}
		m.Learn(FromMessage(messageOf(t, raw), nil), spam)
	}
	m.Fit()
	return m
}

// TestSpamIsFoundBehindDecoys: whatever stands around it or how it is written, spam is found that is in plain sight of people.
func TestSpamIsFoundBehindDecoys(t *testing.T) {
	w := writer{rand.New(rand.NewPCG(7, 7))}
	m := taught(t, w)
	ham, spam := func(n int) string { return w.prose(wordsOfHam, n) }, func() string { return w.prose(wordsOfSpam, 120) }
	homoglyphs := strings.NewReplacer("a", "\u0430", "e", "\u0435", "o", "\u043e", "c", "\u0441")
	styled := func(s string) string {
		return strings.Map(func(r rune) rune {
			if r >= 'a' && r <= 'z' {
				return 0x1D41A + r - 'a'
			}
			return r
		}, s)
	}
	between := func(s, mark string) string {
		return each(s, func(x string) string { return strings.Join(strings.Split(x, ""), mark) })
	}
	for _, c := range []struct{ name, raw string }{
		{"nothing", w.plain(spam())},
		{"decoy in the plain text", w.parts("alternative", "plain "+ham(900), "html "+spam())},
		{"a calendar of decoys behind it", w.parts("mixed", "plain "+spam(), calendar(ham(900)))},
		{"a calendar of decoys behind a page", w.parts("mixed", "html "+spam(), calendar(ham(900)))},
		{"a calendar in its place", w.parts("alternative", "plain "+spam(), calendar(ham(900)))},
		{"a calendar that has it", w.parts("mixed", "plain see the invitation", calendar(spam()))},
		{"twelve decoys before it", w.parts("mixed", strings.Split(strings.Repeat("plain "+ham(80)+"\x00", 12)+"html "+spam(), "\x00")...)},
		{"a decoy that is not displayed", w.html(`<div style="display:none">` + ham(900) + "</div>" + spam())},
		{"a decoy in the colour of the page", w.html(`<font color="#ffffff">` + ham(900) + "</font>" + spam())},
		{"a decoy without size", w.html(spam() + `<p style="font-size:0">` + ham(900) + "</p>")},
		{"a decoy in the title", strings.Replace(w.html(spam()), "<body>", "<head><title>"+ham(400)+"</title></head><body>", 1)},
		{"many parts before it", w.parts("mixed", strings.Split(strings.Repeat("plain a\x00", 60)+"html "+spam(), "\x00")...)},
		{"a wall of links before it", w.html(w.links(100) + spam())},
		{"a wall of links behind it", w.html(spam() + w.links(100))},
		{"blanks before it", w.plain(strings.Repeat(" \t\n", 3000) + spam())},
		{"blanks around it", w.plain(strings.Repeat(" \t\n", 5000) + spam() + strings.Repeat(" \t\n", 5000))},
		{"nothing that is seen around it", w.plain(strings.Repeat("\u200b", 7000) + spam() + strings.Repeat("\u200b", 7000))},
		{"many parts around it", w.parts("mixed", strings.Split(strings.Repeat("plain a\x00", 30)+"html "+spam()+strings.Repeat("\x00plain a", 30), "\x00")...)},
		{"one word before it, again and again", w.plain(strings.Repeat("meeting ", 1000) + spam())},
		{"a long author", strings.Replace(w.plain(spam()), "From: ", "From: \""+strings.ReplaceAll(ham(180), "\n", "\n ")+"\" ", 1)},
		{"a subject of many words", strings.Replace(w.plain(spam()), "Subject: ", "Subject: "+strings.ReplaceAll(ham(400), "\n", "\n "), 1)},
		{"letters of other scripts", w.plain(homoglyphs.Replace(spam()))},
		{"letters of mathematicians", w.plain(styled(spam()))},
		{"no width between letters", w.plain(between(spam(), "\u200b"))},
		{"soft hyphens", w.html(between(spam(), "&shy;"))},
		{"letter by letter", w.plain(between(spam(), " "))},
		{"dots between letters", w.plain(between(spam(), "."))},
	} {
		if odds := m.Score(FromMessage(messageOf(t, c.raw), nil)); odds < 1 {
			t.Errorf("%s: odds of %.2f", c.name, odds)
		}
	}
	// Where as much in plain sight is what wanted mail says, there is no telling; it is called wanted by odds of 3 to 1 at most.
	for _, c := range []struct{ name, raw string }{
		{"as much before it", w.plain(ham(120) + spam())},
		{"as much behind it", w.plain(spam() + ham(120))},
		{"three times as much behind it", w.plain(spam() + ham(360))},
		{"seven times as much in a part before it", w.parts("mixed", "plain "+ham(900), "html "+spam())},
	} {
		if odds := m.Score(FromMessage(messageOf(t, c.raw), nil)); odds < -math.Log(3) {
			t.Errorf("%s: odds of %.2f", c.name, odds)
		}
	}
	for n := range 20 {
		raw := w.plain(ham(100))
		switch n % 4 {
		case 2: // the line that lists of mail show
			raw = w.html(`<div style="display:none">` + ham(10) + "</div>" + ham(100))
		case 1, 3:
			raw = w.parts("alternative", "plain "+ham(400), "html "+ham(400)+w.links(50))
		}
		if odds := m.Score(FromMessage(messageOf(t, raw), nil)); odds > -2 {
			t.Errorf("wanted mail: odds of %.2f", odds)
		}
	}
}
