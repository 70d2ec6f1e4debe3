package rules

import (
	"strings"
	"testing"
)

// captors capture for TestCaptures.
const captors = `
header __D From:addr =~ /\@(?<DOM>[a-z.]+)$/
header __N X-None =~ /(?<NONE>.+)/
header __U X-None =~ /(?<UNSET>u\w+)/ [if-unset: unset text]
mimeheader __M Content-Type =~ /name="(?<FILE>\w+)\./
mimeheader __MM Content-Type =~ /(?<TOP>\w+)\//
tflags __MM multiple
mimeheader __MN Content-Type !~ /(?<NEVER>zip)/
body __C1 /(?<ONE>tw)o/
body __C2 /%{ONE}o (?<CHAIN>thr)ee/
header __C4 From:addr =~ /^(?<X2>bob)\@%{DOM}$/
uri __C3 m{x=(?<IN_URI>\w+)\@}
`

// TestCaptures: patterns with what other rules have captured, in every place. Each case says how often SpamAssassin 4.0.1 hits, with
// these rules and this message.
func TestCaptures(t *testing.T) {
	for _, c := range []struct {
		rule string
		want int
		what string
	}{
		{`header R To:addr =~ /%{DOM}/`, 0, "elsewhere"},
		{`header R X-None =~ /%{DOM}/`, 0, "a field that is not there"},
		{`header R X-None =~ /^%{UNSET}$/ [if-unset: unset]`, 1, "a field that is not there, and has a text in its place"},
		{`header R X-None !~ /%{DOM}/`, 1, "a field that is not there does not match"},
		{`header R From:addr !~ /%{DOM}/`, 0, "it matches"},
		{`header R To:addr !~ /%{DOM}/`, 1, "it does not"},
		{`header R To:addr !~ /%{NONE}/`, 0, "nobody knows what it should not match"},
		{`header R From:addr =~ /b%{DOM}?$/`, 0, "one that may be missing"},
		{`header R From:addr =~ /\@%{DOM}{1}$/`, 1, "repeated"},
		{`header R From:addr =~ /(?<!%{DOM})$/`, 0, "not behind"},
		{`header R From:addr =~ /(?<!x%{DOM})$/`, 1, "not behind something else"},
		{`header R From:addr =~ /^[%{DOM}b@]+$/`, 1, "in a class"},
		{`header R From:addr =~ /\@(?!%{DOM})/`, 0, "not ahead"},
		{`header R From:addr =~ /b(?!%{DOM})/`, 1, "not ahead, where it stands further on"},
		{`header R From:addr =~ /^(?>bob\@%{DOM})$/`, 1, "without a way back"},
		{`header R From:addr =~ /^(?:b|o|\@|%{DOM})++$/`, 1, "possessive"},
		{`header R From:addr =~ /^(?!.*%{NONE})bob/`, 0, "nothing captured, and not ahead"},
		{`header R Subject =~ /%{FILE} number/i`, 1, "of a field of parts"},
		{`header R Subject =~ /%{NEVER}|number/`, 0, "of a field of parts that does not match"},
		{`body R /%{ONE}o/;tflags R multiple maxhits=2`, 2, "counted"},
		{`body R /%{CHAIN}ee/`, 1, "of a rule that uses a capture itself"},
		{`body R /%{ONE}%{NONE}|two/`, 0, "one of two holds nothing"},
		{`body R /%{DOM}%{DOM}|www\.%{DOM}/`, 1, "two side by side"},
		{`uri R m{^http://(?!www\.%{DOM})}`, 1, "of a link, not ahead"},
		{`uri R m{^http://www\.%{DOM}}`, 1, "of a link"},
		{`full R /%{IN_URI}.%{DOM}/`, 0, "of a link, in the whole message"},
		{`rawbody R /(?=<b>%{TOP})<b>/`, 0, "ahead"},
		{`rawbody R /two(?= %{CHAIN}ee)/`, 1, "ahead in the raw text"},
		{`header R From:addr =~ /^(?<X3>bob)\@%{DOM}$/`, 1, "captures and uses"},
		{`header R From:name =~ /^%{X2}/i`, 1, "of a rule of the same kind"},
		{`header R From:addr =~ /^[[:alpha:]%{DOM}@]+$/`, 1, "in a class with a POSIX class"},
		{`header R Content-Type =~ /%{TOP}\/mixed/`, 1, "of several parts"},
	} {
		s, problems := load(t, captors+strings.ReplaceAll(c.rule, ";", "\n"), Options{})
		for _, p := range problems {
			if p.Severity == Fault {
				t.Errorf("%s: %v", c.rule, p)
			}
		}
		got := 0
		for _, h := range runOn(t, s, letter).Hits {
			if h.Rule.Name == "R" {
				got = h.Count
			}
		}
		if got != c.want {
			t.Errorf("%s: %s: %d hits, want %d", c.what, c.rule, got, c.want)
		}
	}
}
