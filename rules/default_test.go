package rules

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/rules/eval"
	"github.com/postern-mail/postern/rules/text"
)

var update = flag.Bool("update", false, "write which default rules hit the messages of testdata/default.txtar")

// defaultFields are those that a case does not write itself.
var defaultFields = []struct{ name, body string }{
	{"From", "Jane Roe <jane@example.org>"},
	{"To", "John Miller <john@example.net>"},
	{"Subject", "a word about tomorrow"},
	{"Date", "Mon, 3 May 2021 10:00:00 +0200"},
	{"Message-ID", "<20210503100000.4711@mail.example.org>"},
	{"MIME-Version", "1.0"},
}

// caseMessage completes a case's message. A field whose body is "-" is left out.
func caseMessage(data []byte) []byte {
	header, body, _ := strings.Cut("\n"+string(data), "\n\n")
	var b strings.Builder
	for line := range strings.Lines(strings.TrimPrefix(header, "\n")) {
		if _, v, _ := strings.Cut(line, ":"); strings.TrimSpace(v) != "-" {
			b.WriteString(strings.TrimRight(line, "\n") + "\r\n")
		}
	}
	for _, f := range defaultFields {
		if !strings.Contains(strings.ToLower("\n"+header), "\n"+strings.ToLower(f.name)+":") {
			b.WriteString(f.name + ": " + f.body + "\r\n")
		}
	}
	return []byte(b.String() + "\r\n" + strings.ReplaceAll(body, "\n", "\r\n"))
}

// defaultSet loads our own rules as a site does that has named whom it protects.
func defaultSet(t testing.TB) *Set {
	t.Helper()
	site := Source{Name: "site.cf", Octets: []byte("postern_domains example.org\npostern_protected bank.example bankhaus.example bankexample.com\n" +
		"postern_executive Jane Doe <jane@example.org>\n")}
	set, problems, err := Load(append(Default(), site), Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Error(p)
	}
	return set
}

func runDefault(t testing.TB, set *Set, octets []byte) Result {
	t.Helper()
	c := mail.NewContent(mail.NewBlob(octets), mail.LineFaults{}, mail.Limits{})
	defer c.Release()
	r, err := set.Run(context.Background(), &eval.Mail{Text: text.Of(c, text.Options{})})
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range r.GaveUp {
		t.Errorf("%s gave up", g.Name)
	}
	return r
}

// TestDefaultRules: each of our rules hits a message that was written for it, and not others; no wanted message is called spam.
func TestDefaultRules(t *testing.T) {
	const file = "testdata/default.txtar"
	a, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	set := defaultSet(t)
	hit, missed := map[string]int{}, map[string]int{}
	var out []txtar.File
	for i, f := range a.Files {
		if f.Name == "hits" {
			continue
		}
		r := runDefault(t, set, caseMessage(f.Data))
		var names []string
		for _, h := range r.Hits {
			if !h.Rule.Hidden() {
				names = append(names, h.Rule.Name)
			}
		}
		got := strings.Join(names, " ") + "\n"
		out = append(out, f, txtar.File{Name: "hits", Data: []byte(got)})
		want := "?"
		if i+1 < len(a.Files) && a.Files[i+1].Name == "hits" {
			want = string(a.Files[i+1].Data)
		}
		if got != want && !*update {
			t.Errorf("%s: hits\n%swant\n%s", f.Name, got, want)
		}
		for _, rule := range set.Rules() {
			if slices.Contains(names, rule.Name) {
				hit[rule.Name]++
			} else {
				missed[rule.Name]++
			}
		}
		if strings.HasPrefix(f.Name, "wanted") && r.Score >= 2.5 {
			t.Errorf("%s: score %.1f: %s", f.Name, r.Score, got)
		}
	}
	var never []string
	for _, r := range set.Rules() {
		if !r.Hidden() && (hit[r.Name] == 0 || missed[r.Name] == 0) {
			never = append(never, r.Name)
		}
	}
	if len(never) > 0 {
		t.Errorf("rules that no message hits: %s", strings.Join(never, " "))
	}
	if *update {
		a.Files = out
		if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDefaultRulesAreOurs: the names can't meet SpamAssassin's, the files are whole, and no rule alone makes spam.
func TestDefaultRulesAreOurs(t *testing.T) {
	set := defaultSet(t)
	n := 0
	for _, r := range set.Rules() {
		if !strings.HasPrefix(r.Name, "P_") && !strings.HasPrefix(r.Name, "__P_") {
			t.Errorf("%s: our names begin with P_", r.Name)
		}
		if r.Hidden() {
			continue
		}
		n++
		if r.Description == "" {
			t.Errorf("%s has no description", r.Name)
		}
		if set.Score(r) >= 5 {
			t.Errorf("%s alone makes spam", r.Name)
		}
	}
	if n < 150 || n > 250 {
		t.Errorf("%d rules", n)
	}
	for _, s := range Default() {
		if !bytes.HasSuffix(s.Octets, []byte("\n")) || bytes.HasSuffix(s.Octets, []byte("\n\n")) {
			fmt.Println(s.Name)
			t.Errorf("%s does not end in one line end", s.Name)
		}
	}
}
