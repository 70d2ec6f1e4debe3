package rules

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
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

// caseMail is a case of the file: a message, and how it came.
type caseMail struct {
	octets  []byte
	options text.Options
	facts   []filter.Fact
}

// readCase completes a case's message. A field whose body is "-" is left out. Return-Path is the envelope's sender, Case-Client
// the address, the name ("-" for none) and the HELO of who brought it, Case-SPF what SPF found of the domain of the return path, Case-DKIM
// a domain whose signature verifies, Case-DMARC what DMARC found: a gateway knows them, and the message has no such fields.
func readCase(t testing.TB, data []byte) (c caseMail) {
	t.Helper()
	header, body, _ := strings.Cut("\n"+string(data), "\n\n")
	var b strings.Builder
	for line := range strings.Lines(strings.TrimPrefix(header, "\n")) {
		name, v, _ := strings.Cut(line, ":")
		v = strings.TrimSpace(v)
		var err error
		switch {
		case name == "Return-Path":
			c.options.From, err = mail.ParsePath(v)
			c.options.HasEnvelope = true
		case name == "Case-Client":
			words := append(strings.Fields(v), "", "")
			c.options.Client = text.Client{Name: strings.TrimPrefix(words[1], "-"), Helo: words[2], ESMTP: true, By: "mx.example.net"}
			c.options.Client.Addr, err = netip.ParseAddr(words[0])
		case name == "Case-SPF":
			c.facts = append(c.facts, auth.SPF.Of(auth.SPFResult{Result: auth.Result(v), Domain: c.options.From.Domain(), Identity: "mailfrom", Mechanism: "mx"}))
		case name == "Case-DKIM":
			c.facts = append(c.facts, auth.DKIM.Of([]auth.DKIMResult{{Result: auth.Pass, Domain: v, KeyBits: 2048}}))
		case name == "Case-DMARC":
			c.facts = append(c.facts, auth.DMARC.Of(auth.DMARCResult{Result: auth.Result(v), From: "author.example", Record: "v=DMARC1"}))
		case v != "-" || strings.HasPrefix(line, " "):
			b.WriteString(strings.TrimRight(line, "\n") + "\r\n")
		}
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
	}
	for _, f := range defaultFields {
		if !strings.Contains(strings.ToLower("\n"+header), "\n"+strings.ToLower(f.name)+":") {
			b.WriteString(f.name + ": " + f.body + "\r\n")
		}
	}
	c.octets = []byte(b.String() + "\r\n" + strings.ReplaceAll(body, "\n", "\r\n"))
	return c
}

// defaultSet loads our own rules as a site does that has named whom it protects.
func defaultSet(t testing.TB) *Set {
	t.Helper()
	site := Source{Name: "site.cf", Octets: []byte("util_rb_tld example com net org info biz top xyz club app dev ly gl de fr shop\npostern_domains example.org\npostern_protected bank.example bankhaus.example bankexample.com\n" +
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

func runDefault(t testing.TB, set *Set, m caseMail) Result {
	t.Helper()
	c := mail.NewContent(mail.NewBlob(m.octets), mail.LineFaults{}, mail.Limits{})
	defer c.Release()
	o := set.Settings().Text() // in which .example is a top-level domain, so that links go there
	o.From, o.HasEnvelope, o.Client = m.options.From, m.options.HasEnvelope, m.options.Client
	in := &filter.Input{Session: &filter.Session{}, Transaction: &filter.Transaction{From: m.options.From}, Content: c}
	for _, box := range mail.ParseMailboxes(c.Header().Get("To")) {
		if a, err := mail.ParseAddress(box.Address); err == nil {
			in.Transaction.Recipients = append(in.Transaction.Recipients, a)
		}
	}
	in.Transaction.Record(m.facts...)
	r, err := set.Run(context.Background(), &eval.Mail{Text: text.Of(c, o), In: in})
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range r.GaveUp {
		t.Errorf("%s gave up", g.Name)
	}
	return r
}

// maxWanted is what wanted mail has to stay below: little more than half of what makes spam, so that other filters have something to say too.
const maxWanted = 2.8

// maxLoud is what wanted mail has to stay below that limits, urges or threatens as spam does. Even where the sender is proven it is not told from
// a phish but by who that is, which other filters know.
const maxLoud = 3.6

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
		r := runDefault(t, set, readCase(t, f.Data))
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
		most := maxWanted
		if strings.HasPrefix(f.Name, "wanted, loud") {
			most = maxLoud
		}
		if strings.HasPrefix(f.Name, "wanted") && r.Score >= most {
			t.Errorf("%s: score %.1f: %s", f.Name, r.Score, got)
		}
		if testing.Verbose() {
			t.Logf("%s: score %.1f", f.Name, r.Score)
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
	if n < 150 || n > 260 {
		t.Errorf("%d rules", n)
	}
	for _, s := range Default() {
		if !bytes.HasSuffix(s.Octets, []byte("\n")) || bytes.HasSuffix(s.Octets, []byte("\n\n")) {
			fmt.Println(s.Name)
			t.Errorf("%s does not end in one line end", s.Name)
		}
	}
}
