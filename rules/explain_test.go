package rules

import (
	"strings"
	"testing"
)

// TestExplain: a meta shows what the rules in it have matched.
func TestExplain(t *testing.T) {
	for _, c := range []struct{ rules, want string }{
		{"body __A /two three/\nbody __B /four/\nmeta R __A && __B", "two three ... four"},
		{"body __A /two three/\nbody __B /four/\nmeta R __B || __A", "four ... two three"},
		{"body __A /two three/\nbody __B /four/\nmeta __C __A + __X\nmeta R __C && __B", "two three ... four"},
		{"body __A /two three/\nbody __B /nothing/\nmeta R __A && !__B", "two three"},
		{"body __A /two three/\nbody __B /nothing/\nbody __D /four/\nmeta R __A && !(__B && __D)", "two three"},
		{"body __A /two three/\nbody __D /four/\nmeta R !(!__A) && __D", "two three ... four"},
		{"body __A /two three/\nbody __B /t.o thre/\nbody __C /one/\nbody __D /four/\nmeta R __A + __B + __C + __D > 3", "two three ... two thre"},
		{"body __A /two three/\nbody __B /two three/\nbody __D /four/\nmeta R __A + __B + __D > 2", "two three ... four"},
		{"header __A exists:Subject\nbody __D /four/\nmeta R __A && __D", "four"},
		{"header __A exists:Subject\nmeta R __A", ""},
		{"body __X /nothing/\nmeta R !__X", ""},
	} {
		s, problems, err := Load([]Source{{Name: "x.cf", Octets: []byte(c.rules + "\n")}}, Options{})
		if err != nil {
			t.Fatal(err, problems)
		}
		found := false
		for _, h := range runOn(t, s, letter).Hits {
			if h.Rule.Name == "R" {
				found = true
				if string(h.Text) != c.want {
					t.Errorf("%q shows %q, want %q", c.rules, h.Text, c.want)
				}
			}
		}
		if !found {
			t.Errorf("%q does not hit", c.rules)
		}
	}
}

// TestExplainLong: two long texts are both seen.
func TestExplainLong(t *testing.T) {
	s, _, err := Load([]Source{{Name: "x.cf", Octets: []byte("body __A /a{200}/\nbody __B /b{200}/\nmeta R __A && __B\nmeta R2 __B\n")}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	r := runOn(t, s, "Subject: x\n\n"+strings.Repeat("a", 200)+" "+strings.Repeat("b", 200)+"\n")
	want := map[string]string{"R": strings.Repeat("a", 57) + " ... " + strings.Repeat("b", 57), "R2": strings.Repeat("b", maxShown)}
	for _, h := range r.Hits {
		if w := want[h.Rule.Name]; !h.Rule.Hidden() && string(h.Text) != w {
			t.Errorf("%s shows %q, want %q", h.Rule.Name, h.Text, w)
		}
	}
}

// TestDefaultRulesExplain: metas of our own rules say what is in the message, too.
func TestDefaultRulesExplain(t *testing.T) {
	set := defaultSet(t)
	for rule, c := range map[string]struct{ message, want string }{
		"P_LINK_BROKEN":     {"Content-Type: text/html\n\n<html><body><a href=\"http:/evil.example/x\">x</a></body></html>", `href="http:/e`},
		"P_SELL":            {"\n\nLower your payments: out of debt in a month. Apply now.", "out of debt ... Apply now"},
		"P_FEE_FOREIGN":     {"\n\nMein verstorbener Mann hat 8,5 Millionen Euro hinterlassen.", "Millionen Euro ... verstorbener"},
		"P_FROM_CLOUD_HOST": {"Return-Path: <www-data@vps-4711>\n\nx", "www-data@vps-4711"},
		"P_WEB_SCRIPT":      {"X-Mailer: PHP/7.4\n\nx", "PHP/7"},
	} {
		found := false
		for _, h := range runDefault(t, set, readCase(t, []byte(c.message))).Hits {
			if h.Rule.Name == rule {
				found = true
				if !strings.HasPrefix(string(h.Text), c.want) {
					t.Errorf("%s shows %q, want %q", rule, h.Text, c.want)
				}
			}
		}
		if !found {
			t.Errorf("%s does not hit", rule)
		}
	}
}
