package rules

import (
	"fmt"
	"strings"
	"testing"

	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/rules/eval"
	"github.com/postern-mail/postern/rules/text"
)

// many writes a line for each number below n.
func many(n int, format string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format+"\n", i)
	}
	return b.String()
}

// alternatives is a message of a text and a page.
func alternatives(plain, html string) string {
	return "From: a@b.example\nContent-Type: multipart/alternative; boundary=\"b\"\n\n--b\nContent-Type: text/plain\n\n" + plain +
		"\n--b\nContent-Type: text/html\n\n" + html + "\n--b--\n"
}

// TestDecoys: what stands beside a lure, however much it is, does not hide it.
func TestDecoys(t *testing.T) {
	lure := `<html><body>Please <a href="http://paypal.evil.example/x">look</a></body></html>`
	set := defaultSet(t)
	for name, m := range map[string]struct{ message, rule string }{
		"a text of 600 links":                   {alternatives(many(600, "http://www%d.example.org/"), lure), "P_BRAND_LINK"},
		"a text of 6000 links":                  {alternatives(many(6000, "http://a.example/%d"), lure), "P_BRAND_LINK"},
		"a text of 6000 hosts":                  {alternatives(many(6000, "http://a%d.example/"), lure), "P_BRAND_LINK"},
		"a page of 6000 links, another":         {alternatives("", many(6000, `<a href="http://a.example/%d">x</a>`)+"\n--b\nContent-Type: text/html\n\n"+lure), "P_BRAND_LINK"},
		"a text of 80 000 octets before it":     {"\n\n" + many(1000, "Nothing is to be seen here, and this line has the number %06d.......") + "\nPlease scan the QR code.\n", "P_SCAN_CODE"},
		"a page of as many that nobody sees":    {"Content-Type: text/html\n\n<div style=\"display:none\">" + many(1000, "<p>Nothing is to be seen here, and this line has the number %06d</p>") + "</div><p>Please scan the QR code.</p>" + many(1000, "<p>Nor is there anything behind it, and this line has the number %06d</p>"), "P_SCAN_CODE"},
		"words that are random, behind as many": {"\n\n" + many(1000, "Nothing is to be seen here, and this line has the number %06d.......") + many(300, "xkcdfg and qwrtzp of a1b2c3d are lkjhgf and the wrtzpq of b%03dc4d5e"), "P_RANDOM_WORDS"},
	} {
		t.Run(name, func(t *testing.T) {
			if !hits(runDefault(t, set, readCase(t, []byte(m.message))), m.rule) {
				t.Errorf("%s does not hit", m.rule)
			}
		})
	}
}

func hits(r Result, name string) bool {
	for _, h := range r.Hits {
		if h.Rule.Name == name {
			return true
		}
	}
	return false
}

// TestHostsLeftOut: where there are more hosts than are looked at, that is said.
func TestHostsLeftOut(t *testing.T) {
	set := defaultSet(t)
	for n, cut := range map[int]bool{900: false, 1100: true} {
		c := mail.NewContent(mail.NewBlob(readCase(t, []byte("From: a@b.example\n\n"+many(n, "http://a%d.example/"))).octets), mail.LineFaults{}, mail.Limits{})
		m := &eval.Mail{Text: text.Of(c, set.Settings().Text())}
		if _, err := set.Run(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		if got := m.Text.Cut()&text.CutLinks != 0; got != cut {
			t.Errorf("%d hosts: links cut: %v", n, got)
		}
		c.Release()
	}
}

// TestLongTexts: rules of others see of a long text what they see in SpamAssassin.
func TestLongTexts(t *testing.T) {
	set, problems, err := Load(append(Default(), Source{Name: "ours.cf", Octets: []byte("body OURS /scan the QR code/\n")}), Options{})
	if err != nil || len(problems) > 0 {
		t.Fatal(err, problems)
	}
	r := runDefault(t, set, readCase(t, []byte("\n\n"+many(1000, "Nothing is to be seen here, and this line has the number %06d.......")+"\nPlease scan the QR code.\n")))
	if hits(r, "OURS") || !hits(r, "P_SCAN_CODE") {
		t.Errorf("hits: %v", r.Hits)
	}
}

// TestOwnRules: a site's file is no file of ours, whatever it is called.
func TestOwnRules(t *testing.T) {
	set, problems, err := Load(append(Default(), Source{Name: folder + "x.cf", Octets: []byte("body OURS /scan the QR code/\n")}), Options{})
	if err != nil || len(problems) > 0 {
		t.Fatal(err, problems)
	}
	if set.Rule("OURS").ours() || !set.Rule("P_SCAN_CODE").ours() {
		t.Errorf("ours: %v, %v", set.Rule("OURS").ours(), set.Rule("P_SCAN_CODE").ours())
	}
}

// TestLongTextsAndCaptures: of a long text that is looked at twice, a rule that waits for captures counts and shows its first hits only.
func TestLongTextsAndCaptures(t *testing.T) {
	rule := "header __P_NAME From:addr =~ /^(?<NAME>\\w+)/\nbody P_NAMED /%{NAME} was (here|there)/\ntflags P_NAMED multiple\n"
	ours := Default()[0]
	ours.Octets = []byte(rule)
	set, problems, err := Load([]Source{ours}, Options{})
	if err != nil || len(problems) > 0 {
		t.Fatal(err, problems)
	}
	filler := many(1000, "Nothing is to be seen here, and this line has the number %06d.......")
	for text, want := range map[string]struct {
		count int
		text  string
	}{
		"bob was here, bob was there, bob was here\n\n" + filler:                              {3, "bob was here"},
		"bob was here\n\n" + filler + "\nbob was there, bob was there, bob was there\n":       {1, "bob was here"},
		"joe was here\n\n" + filler + "\nbob was there, bob was there, bob was there\n":       {3, "bob was there"},
		"joe was here\n\n" + filler + "\njoe was there, joe was there, joe was there, bob.\n": {0, ""},
	} {
		count, shown := 0, ""
		for _, h := range runDefault(t, set, readCase(t, []byte("From: bob@b.example\n\n"+text))).Hits {
			if h.Rule.Name == "P_NAMED" {
				count, shown = h.Count, string(h.Text)
			}
		}
		if count != want.count || shown != want.text {
			t.Errorf("%.40q: %d times, %q; want %d, %q", text, count, shown, want.count, want.text)
		}
	}
}

// TestMasks: our own rules find words as people read them, wherever and in whichever signs they stand; rules of others find what they find
// in SpamAssassin.
func TestMasks(t *testing.T) {
	set, problems, err := Load(append(Default(), Source{Name: "ours.cf", Octets: []byte("body OURS /verify your account/i\n")}), Options{})
	if err != nil || len(problems) > 0 {
		t.Fatal(err, problems)
	}
	const (
		html = "Content-Type: text/html; charset=utf-8\n\n"
		beg  = "Please verify your account within 24 hours."
	)
	into := func(sign string) string {
		return strings.NewReplacer("verify", "ve"+sign+"rify", "your", "yo"+sign+"ur", "account", "ac"+sign+"count").Replace(beg)
	}
	for name, c := range map[string]struct {
		message string
		others  bool // rules of others find it, too
	}{
		"as it is":                       {html + beg, true},
		"signs without width":            {html + into("\u200b"), false},
		"soft hyphens":                   {html + into("&shy;"), false},
		"what is not displayed":          {html + into("<b style=\"display:none\">x</b>"), false},
		"boxes within the line":          {html + into("<div style=\"display:inline\">"), false},
		"a calendar":                     {"Content-Type: text/calendar\n\nBEGIN:VCALENDAR\nBEGIN:VEVENT\nDESCRIPTION:" + beg + "\nEND:VEVENT\nEND:VCALENDAR\n", false},
		"a calendar that is not said so": {"Content-Type: application/ics\n\nBEGIN:VCALENDAR\nBEGIN:VEVENT\nDESCRIPTION:" + beg + "\nEND:VEVENT\nEND:VCALENDAR\n", false},
		"a page of another type":         {"Content-Type: application/xhtml+xml\n\n<html><body>" + beg + "</body></html>", false},
		"a page that is attached":        {"Content-Type: application/octet-stream; name=\"a.html\"\n\n<html><body>" + beg + "</body></html>", true},
		"for one client alone":           {html + "<!--[if mso]>" + beg + "<![endif]-->", false},
	} {
		t.Run(name, func(t *testing.T) {
			r := runDefault(t, set, readCase(t, []byte("From: a@b.example\n"+c.message)))
			if !hits(r, "P_VERIFY_ACCOUNT") || hits(r, "OURS") != c.others {
				t.Errorf("ours: %v, others: %v", hits(r, "P_VERIFY_ACCOUNT"), hits(r, "OURS"))
			}
		})
	}
	for _, name := range []string{"PayPal", "P\u200bay\u00adPal", "PаyPаl", "ＰａｙＰａｌ", "PạyPạl"} {
		if r := runDefault(t, set, readCase(t, []byte("From: "+name+" <a@b.example>\n\nHi.\n"))); !hits(r, "P_BRAND_NAME") {
			t.Errorf("%q is no brand", name)
		}
	}
}
