package rules

import (
	"strings"
	"testing"
)

const linked = `From: a@example.com
Subject: x
Content-Type: text/html

<p>See <a href="http://www.evil%2Eexample.com/login?x=1">https://bank.example/</a>,
<a href="http://good.example.org/a">the report</a>, <a href="http://good.example.org/a">once more</a>
and http://plain.example.net/b <img src="http://pixel.example.org/p.gif"></p>
`

// TestLinks: all conditions hold of one link, and of each for one of its texts.
func TestLinks(t *testing.T) {
	for _, c := range []struct{ conditions, want string }{
		{`raw =~ /evil%2E/`, "http://www.evil%2Eexample.com/login?x=1 shown as https://bank.example/"},
		{`cleaned =~ m!^http://www\.evil\.example\.com/!`, "http://www.evil%2Eexample.com/login?x=1 shown as https://bank.example/"},
		{`raw =~ m{^http://www\.evil\.}`, ""},
		{`text =~ /once more/`, "http://good.example.org/a shown as the report"},
		{`text =~ /REPORT/i type =~ /^a$/`, "http://good.example.org/a shown as the report"},
		{`text =~ /report/ raw =~ /evil/`, ""},
		{`text =~ /\bhttps:/  cleaned !~ /\bhttps:/`, "http://www.evil%2Eexample.com/login?x=1 shown as https://bank.example/"},
		{`type =~ /^img$/`, "http://pixel.example.org/p.gif"},
		{`type =~ /^parsed$/ text =~ /./`, ""},
		{`host =~ /^www\.evil\.example\.com$/ domain =~ /^example\.com$/`, "http://www.evil%2Eexample.com/login?x=1 shown as https://bank.example/"},
		{`host =~ /^example\.com$/`, ""},
		{`domain !~ /^example\.(?:com|org)$/`, "http://plain.example.net/b"},
		{`text !~ /./`, ""}, // none of those that have no text at all
		{`raw =~ /good/ raw =~ /pixel/`, "http://pixel.example.org/p.gif"},
		{`raw =~ /a\/ b|pixel/`, "http://pixel.example.org/p.gif"},
	} {
		s, problems := load(t, "uri_detail A "+c.conditions, Options{})
		if strings.Count(c.conditions, "raw") < 2 && len(problems) > 0 {
			t.Errorf("%s: %v", c.conditions, problems)
		}
		got := ""
		for _, h := range runOn(t, s, linked).Hits {
			got = string(h.Text)
		}
		if got != c.want {
			t.Errorf("%s: %q, not %q", c.conditions, got, c.want)
		}
	}
}

func TestLinksAsWritten(t *testing.T) {
	for _, c := range []struct {
		conditions string
		severity   Severity
		why        string
	}{
		{"x", Fault, "KEY =~"},
		{"uri =~ /x/", Fault, "none of raw, cleaned"},
		{"raw =~ x", Fault, "between delimiters"},
		{"raw =~ /x", Fault, "no / at its end"},
		{"raw =~ /x/ or text =~ /y/", Fault, "KEY =~"},
		{"raw =~ /x/e", Fault, "modifiers"},
		{"raw =~", Fault, "between delimiters"},
		{"raw =~ /(/", Fault, "not supported"},
		{"raw =~ /x/ raw !~ /y/", Inexact, "of several conditions on raw the last counts"},
	} {
		_, problems := load(t, "uri_detail A "+c.conditions, Options{})
		if len(problems) != 1 || problems[0].Severity != c.severity || !strings.Contains(problems[0].What, c.why) {
			t.Errorf("%s: %v", c.conditions, problems)
		}
	}
}

// TestLinksGiveUp: where the limit of steps is reached, the rule has given up.
func TestLinksGiveUp(t *testing.T) {
	s := mustLoad(t, `uri_detail A raw =~ /\.com\/(?:(\w+)\1?)+(?!;);/`)
	r := runOn(t, s, "Subject: x\n\nhttp://example.com/"+strings.Repeat("ab", 30)+";x\n")
	if len(r.GaveUp) != 1 || r.GaveUp[0].Name != "A" || len(r.Hits) != 0 {
		t.Errorf("%+v", r)
	}
}
