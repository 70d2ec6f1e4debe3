package rules

import (
	"slices"
	"strings"
	"testing"
)

// TestUnknownNames: what is said of rules that there are not, and what metas name in vain, is told with its line.
func TestUnknownNames(t *testing.T) {
	const rules = "body PRIZE_LINK /a/\nbody OTHER_1 /b/\n"
	const elsewhere = "ifplugin Mail::SpamAssassin::Plugin::Nothing\nbody THERE /c/\nendif\n"
	for _, c := range []struct{ lines, want string }{
		{"score PRIZE_LINK 2\ndescribe OTHER_1 x\ntflags OTHER_1 nice", ""},
		{"score PRIZE_LNIK 2", "test.cf:3: inexact: PRIZE_LNIK: score: there is no such rule; is PRIZE_LINK meant?"},
		{"score PRIZELINK 2", "test.cf:3: inexact: PRIZELINK: score: there is no such rule; is PRIZE_LINK meant?"},
		{"score PRIZE_LINKS 2\nscore PRIZE_LINKS 3", "test.cf:3: inexact: PRIZE_LINKS: score: there is no such rule; is PRIZE_LINK meant?"},
		{"score OTHER_2 2", "test.cf:3: note: OTHER_2: score: there is no such rule"},
		{"test GONE ok x", "test.cf:3: inexact: GONE: test: there is no such rule"},
		{"body A /a/\nscore B 1", "test.cf:4: note: B: score: there is no such rule"},
		{"describe GONE x", "test.cf:3: inexact: GONE: describe: there is no such rule"},
		{"tflags GONE nice", "test.cf:3: inexact: GONE: tflags: there is no such rule"},
		{"priority GONE 1", "test.cf:3: inexact: GONE: priority: there is no such rule"},
		{"replace_rules PRIZE_LINK GONE", "test.cf:3: inexact: GONE: replace_rules: there is no such rule"},
		{"urirhsbl GONE x.example A", "test.cf:3: inexact: GONE: urirhsbl: there is no such rule"},
		{"meta M PRIZE_LINK && !GONE && GONE", "test.cf:3: inexact: M: it names GONE: there is no such rule, and it counts as not hit"},
		{elsewhere + "meta M PRIZE_LINK && !THERE\ndescribe THERE x", ""},
		{"tflags OTHER_1 mulitple", `test.cf:3: inexact: OTHER_1: tflags: "mulitple" means nothing`},
		{"tflags OTHER_1 maxhits=x", `test.cf:3: inexact: OTHER_1: tflags: "maxhits=x" means nothing`},
		{"tflags OTHER_1 multiple maxhits=10 range=1-2 autolearn_force", ""},
	} {
		_, problems := load(t, rules+c.lines, Options{})
		var got []string
		for _, p := range problems {
			got = append(got, p.String())
		}
		if !slices.Equal(got, strings.FieldsFunc(c.want, func(r rune) bool { return r == '\n' })) {
			t.Errorf("%q: %q", c.lines, got)
		}
	}
}
