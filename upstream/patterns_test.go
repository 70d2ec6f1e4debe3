package upstream

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postern-mail/postern/internal/lines"
	"github.com/postern-mail/postern/mail"
)

// fileOf makes a file of patterns, as if it were an hour old.
func fileOf(t testing.TB, text string) (*PatternFile, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "domains")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	at := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
	f, err := NewPatternFile(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return f, path
}

// TestTableWithFiles: an entry of a file counts where the rule that names the file stands.
func TestTableWithFiles(t *testing.T) {
	one, _ := fileOf(t, "\ufeff# ours\r\nExample.ORG # main\r\n*.example.org\nbücher.example\nboss@example.net\n\"odd one\"@example.net\nexample.org\n")
	two, _ := fileOf(t, "example.net\nexample.org\n*.deep.example.org\n")
	senders, _ := fileOf(t, "partner.example\nann@example.org\n")
	files := map[string]*PatternFile{"/one": one, "/two": two, "/senders": senders}
	table, err := NewTable([]Rule{
		{To: []string{"early.test", "x.example.org"}, Route: Route{Name: "early"}},
		{To: []string{"first.test", "/one"}, Files: files, Route: Route{Name: "one"}},
		{To: []string{"/two"}, Files: files, From: []string{"/senders"}, Route: Route{Name: "partners"}},
		{To: []string{"/two", "late.test"}, Files: files, Route: Route{Name: "two"}},
		{To: []string{"*"}, Route: Route{Name: "out"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		to, from  string
		relay     bool
		want      string // the route, "" for none
		entry     string // of a file
		line      int
		otherwise bool // it is not ours
	}{
		{to: "a@EXAMPLE.org", want: "one", entry: "example.org", line: 2},
		{to: "a@sub.example.org", want: "one", entry: "*.example.org", line: 3},
		{to: "a@x.deep.example.org", want: "one", entry: "*.example.org", line: 3},
		{to: "a@x.example.org", want: "early"},
		{to: "a@early.test", want: "early"},
		{to: "a@first.test", want: "one"},
		{to: "a@xn--bcher-kva.example", want: "one", entry: "xn--bcher-kva.example", line: 4},
		{to: `"Boss"@example.net`, want: "one", entry: "boss@example.net", line: 5},
		{to: `"odd\ one"@example.net`, want: "one", entry: "odd one@example.net", line: 6},
		{to: "ann@example.net", want: "two", entry: "example.net", line: 1},
		{to: "ann@example.net", from: "x@partner.example", want: "partners", entry: "example.net", line: 1},
		{to: "ann@example.net", from: "ANN@example.org", want: "partners", entry: "example.net", line: 1},
		{to: "ann@example.net", from: "bob@example.org", want: "two", entry: "example.net", line: 1},
		{to: "a@late.test", want: "two"},
		{to: "a@example.net", relay: true, want: "two", entry: "example.net", line: 1},
		{to: "a@elsewhere.test", relay: true, want: "out", otherwise: true},
		{to: "a@elsewhere.test"},
		{to: "a@sub.example.net"},
		{to: "a@org"},
		{to: "postmaster"},
		{to: "postmaster", relay: true},
	} {
		q := Query{Recipient: address(t, c.to), Relay: c.relay}
		if c.from != "" {
			q.From = address(t, c.from)
		}
		route, err := table.Route(q)
		m, err2 := table.Match(q)
		if (err == nil) != (c.want != "") || (err2 == nil) != (err == nil) {
			t.Errorf("%+v: %v; %v", c, err, err2)
			continue
		}
		if err != nil {
			continue
		}
		if route.Name != c.want || route.Ours == c.otherwise || table.rules[m.Rule].route.Name != c.want || m.Entry != c.entry || m.Line != c.line {
			t.Errorf("%+v: %+v, %+v", c, route, m)
		}
	}
	for domain, want := range map[string]bool{
		"example.org": true, "a.b.example.org": true, "example.net": true, "a.example.net": false, "late.test": true, "partner.example": false,
		"xn--bcher-kva.example": true, "org": false, "": false, "elsewhere.test": false,
	} {
		if table.Ours(domain) != want {
			t.Errorf("Ours(%q) is %v", domain, !want)
		}
	}
	if got := one.Domains(10); !slices.Equal(got, []string{"example.org", "xn--bcher-kva.example"}) || one.Entries() != 5 {
		t.Errorf("domains %q of %d", got, one.Entries())
	}
	if got := one.Domains(1); !slices.Equal(got, []string{"example.org"}) {
		t.Errorf("domains %q", got)
	}
	if _, err := NewTable([]Rule{{To: []string{"/one"}}}); err == nil {
		t.Error("a path without its file is a pattern")
	}
}

func TestPatternFileErrors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "domains")
	for _, c := range []struct{ name, text, want string }{
		{"star", "a.test\n*\n", path + `:2: "*": what takes every domain`},
		{"null sender", "<>\n", path + ":1: "},
		{"every local part", "@a.test\n", path + ":1: "},
		{"star within", "a.*.test\n", path + ":1: "},
		{"two on a line", "a.test b.test\n", path + ":1: "},
		{"address of a host", "10.test\n192.0.2.1\n", path + ":2: "},
		{"network", "*.0.2.1\n", path + ":1: "},
		{"no domain", "\n\na@\n", path + ":3: "},
		{"long line", "a.test\n" + strings.Repeat("x", lines.MaxLine+1), path + ":2: line longer"},
		{"empty", "", path + ": no entry in it"},
		{"comments only", "# a.test\n", path + ": no entry in it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			writeList(t, path, c.text, time.Now())
			if _, err := NewPatternFile(path, nil); err == nil || !strings.HasPrefix(err.Error(), "upstream: routes: "+c.want) {
				t.Errorf("%v", err)
			}
		})
	}
	if _, err := NewPatternFile(path+".missing", nil); err == nil {
		t.Error("a missing file")
	}
}

// TestPatternFileChanges: a change counts without a new table; what is broken or cut short leaves what was there.
func TestPatternFileChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "domains")
	synctest.Test(t, func(t *testing.T) {
		at := time.Now().Add(-24 * time.Hour)
		write := func(text string) {
			t.Helper()
			at = at.Add(time.Minute)
			writeList(t, path, text, at)
			time.Sleep(lines.CheckEvery)
		}
		write("a.test\nb.test\nc.test\nd.test\n")
		var told []string
		f, err := NewPatternFile(path, func(err error) { told = append(told, fmt.Sprint(err)) })
		if err != nil {
			t.Fatal(err)
		}
		table, err := NewTable([]Rule{{To: []string{path}, Files: map[string]*PatternFile{path: f}, Route: Route{Upstream: "inside"}}})
		if err != nil {
			t.Fatal(err)
		}
		check := func(what, ours string, part string) {
			t.Helper()
			got := ""
			for _, d := range []string{"a", "b", "c", "d", "e"} {
				_, err := table.Route(Query{Recipient: address(t, "x@"+d+".test")})
				if (err == nil) != table.Ours(d+".test") {
					t.Errorf("%s: %s: %v", what, d, err)
				}
				if err == nil {
					got += d
				}
			}
			if got != ours || (f.Err() == nil) != (part == "") || part != "" && !strings.Contains(f.Err().Error(), part) {
				t.Errorf("%s: %q, %v", what, got, f.Err())
			}
		}
		check("at first", "abcd", "")
		write("a.test\nb.test\nc.test\nd.test\ne.test\n")
		check("one more", "abcde", "")
		write("a.test\nb.test\nc.test\nd.test\n*\n")
		check("broken", "abcde", ":5: ")
		write("")
		check("empty", "abcde", "no entry in it")
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		time.Sleep(lines.CheckEvery)
		check("missing", "abcde", "no such file")
		write("a.test\nb.test\nc.test\ne.test\n")
		check("a fifth fewer", "abce", "")
		write("a.test\n")
		check("far fewer", "abce", "1 entries, 4 are in force: over 20 % fewer; if that is right: touch "+path+TakeSuffix)
		if err := f.Renew(); err == nil {
			t.Error("a renewal took too few")
		}
		writeList(t, path+TakeSuffix, "", at)
		time.Sleep(lines.CheckEvery)
		check("the word was given", "a", "")
		if len(told) != 6 { // broken, empty, missing, well again, far fewer, well again
			t.Errorf("told %q", told)
		}
	})
}

// FuzzPatterns: no file breaks the parser, and the set takes what one of its lines takes by itself, and no more.
func FuzzPatterns(f *testing.F) {
	f.Add([]byte("a.test # c\n*.b.test\nx@c.test\n"), "x@c.test")
	f.Add([]byte("\ufeffbücher.test\r\n\"a b\"@c.test\r\n#"), `"a\ b"@c.test`)
	f.Add([]byte("*.test\n*.b.test\nb.test"), "x@deep.b.test")
	f.Add([]byte("[192.0.2.1]\n*.2.1]"), "x@[192.0.2.1]")
	f.Add([]byte("*\n"), "x@y")
	f.Fuzz(func(t *testing.T, in []byte, to string) {
		p, err := parsePatterns("domains", bytes.NewReader(in))
		if (p == nil) == (err == nil) {
			t.Fatalf("%v, %v", p, err)
		}
		a, err := mail.ParseAddress(to)
		if p == nil || err != nil {
			return
		}
		want, ours := 0, false
		_ = lines.Each("domains", bytes.NewReader(in), func(n int, entry, _ string) error {
			one, err := parsePattern(entry)
			if err != nil {
				t.Fatal(err)
			}
			if one.fits(a) {
				want++
			}
			ours = ours || one.fits(a) || one.kind == isAddress && one.at == a.Domain()
			return nil
		})
		entry, line := p.find(a)
		if a.Domain() == "" {
			want, ours = 0, false
		}
		if p.has(a) != (want > 0) || (line > 0) != (want > 0) || (entry != "") != (want > 0) || a.Domain() != "" && p.ours(a.Domain()) != ours {
			t.Errorf("%s: %d lines fit, has %v, found %q in line %d, ours %v", a, want, p.has(a), entry, line, p.ours(a.Domain()))
		}
	})
}

// BenchmarkTable shows what files of patterns cost a recipient, and that they cost nothing where there are none.
func BenchmarkTable(b *testing.B) {
	var text strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&text, "d%d.example\n", i)
	}
	f, _ := fileOf(b, text.String())
	files := map[string]*PatternFile{"/many": f}
	rule := Rule{To: []string{"example.org", "*.example.org"}, Route: Route{Name: "main"}}
	for _, c := range []struct {
		name, to string
		rules    []Rule
	}{
		{"none", "a@sub.example.org", []Rule{rule}},
		{"100k", "a@d4711.example", []Rule{{To: []string{"/many"}, Files: files}, rule}},
		{"100k-missed", "a@sub.example.org", []Rule{{To: []string{"/many"}, Files: files}, rule}},
	} {
		table, err := NewTable(c.rules)
		if err != nil {
			b.Fatal(err)
		}
		q := Query{Recipient: address(b, c.to)}
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := table.Route(q); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
