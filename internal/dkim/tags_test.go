package dkim

import (
	"fmt"
	"strings"
	"testing"
)

func TestParseTags(t *testing.T) {
	many := ""
	for i := range MaxTags {
		many += fmt.Sprintf("t%d=x;", i)
	}
	for name, c := range map[string]struct{ list, want string }{
		"two":                     {"a=1;b=2", "a=1|b=2"},
		"a semicolon at the end":  {"a=1;", "a=1"},
		"and blanks":              {"a=1; \r\n ", "a=1"},
		"white space":             {"\r\n\ta = 1 2\r\n\t3 ; b\t=\t", "a=1 2\r\n\t3|b="},
		"an equals sign in it":    {"b=aa==;", "b=aa=="},
		"case":                    {"a=1; A=2", "a=1|A=2"},
		"UTF-8":                   {"d=b\u00fccher.example", "d=b\u00fccher.example"},
		"as many as may be":       {many, strings.TrimSuffix(strings.ReplaceAll(many, ";", "|"), "|")},
		"twice":                   {"a=1; a=1", "error"},
		"twice, the first empty":  {"a=; a=1", "error"},
		"nothing":                 {"", "error"},
		"blanks":                  {" \t", "error"},
		"a semicolon":             {";", "error"},
		"an empty one":            {"a=1;;b=2", "error"},
		"an empty one at the end": {"a=1;;", "error"},
		"no equals sign":          {"a=1; b", "error"},
		"no name":                 {"=1", "error"},
		"a digit first":           {"1a=1", "error"},
		"a name of two words":     {"a b=1", "error"},
		"a name in UTF-8":         {"\u212a=1", "error"},
		"NUL":                     {"a=\x00", "error"},
		"DEL":                     {"a=\x7f", "error"},
		"malformed UTF-8":         {"a=\xff", "error"},
		"too many":                {many + "u=1", "error"},
	} {
		tags, err := ParseTags(c.list)
		var all []string
		for _, g := range tags {
			all = append(all, g.Name+"="+g.Value)
			if trim(c.list[g.Start:g.End]) != g.Value {
				t.Errorf("%s: %s= is not between %d and %d", name, g.Name, g.Start, g.End)
			}
		}
		got := strings.Join(all, "|")
		if err != nil {
			got = "error"
		}
		if got != c.want {
			t.Errorf("%s: got %q (%v), want %q", name, got, err, c.want)
		}
	}
}

func FuzzTags(f *testing.F) {
	f.Add("v=1; a=rsa-sha256; d=example.org;\r\n s=x; h=from : to; bh=aa=; b=a b\r\n\tc==")
	f.Add("v=DKIM1; k=rsa; p=")
	f.Add("=;==;b=;b=2")
	f.Add("a\x00=\xff; d=\u212a")
	f.Add("0=\xe2 \x80\x80")
	f.Fuzz(func(t *testing.T, list string) {
		tags, err := ParseTags(list)
		if len(tags) > MaxTags {
			t.Fatalf("%d tags", len(tags))
		}
		seen := map[string]bool{}
		var again strings.Builder
		for _, g := range tags {
			if seen[g.Name] || !isTagName(g.Name) || !isTagValue(g.Value) || strings.Contains(g.Value, ";") {
				t.Fatalf("tag %q = %q", g.Name, g.Value)
			}
			if seen[g.Name] = true; trim(list[g.Start:g.End]) != g.Value || list[g.Start-1] != '=' {
				t.Fatalf("tag %q is not between %d and %d", g.Name, g.Start, g.End)
			}
			again.WriteString(g.Name + "=" + g.Value + ";")
		}
		if err != nil {
			return
		}
		// What was read once reads the same when it is written down again.
		twice, err := ParseTags(again.String())
		if err != nil || len(twice) != len(tags) {
			t.Fatalf("%q: %d tags, then %d, %v", list, len(tags), len(twice), err)
		}
		for i := range tags {
			if tags[i].Name != twice[i].Name || tags[i].Value != twice[i].Value {
				t.Fatalf("%+v, then %+v", tags[i], twice[i])
			}
		}
	})
}

func TestCompactTo(t *testing.T) {
	for _, c := range []struct {
		s    string
		n    int
		want string
	}{
		{"", 3, ""},
		{"abc", 3, "abc"},
		{"abc", 2, "ab"},
		{"a\r\n b c", 3, "abc"},
		{"a b c", 2, "ab"},
		{"ab c", 2, "ab"},
		{" \t", 2, ""},
		{"\xc3 \xa4", 5, "\xc3\xa4"},
		{"\u010d \u0120", 5, "\u010d\u0120"},
		{"a\v b", 5, "a\vb"},
	} {
		if got := compactTo(c.s, c.n); got != c.want {
			t.Errorf("%q, %d: got %q, want %q", c.s, c.n, got, c.want)
		}
	}
}
