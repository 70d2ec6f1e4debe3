package pipeline

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
)

func authBody(t testing.TB, id string, facts ...filter.Fact) string {
	in := &filter.Input{Transaction: &filter.Transaction{}}
	in.Transaction.Record(facts...)
	return authResults(in, StampOptions{AuthservID: id, Plan: mustCompile(t, parse(t, "spf mail gives=spf", "dkim data gives=dkim"))})
}

func TestAuthResults(t *testing.T) {
	good := auth.DKIMResult{Result: auth.Pass, Domain: "d.example", Selector: "s1", Algorithm: "rsa-sha256", Prefix: "abcdEFGH"}
	spf := func(r auth.SPFResult) []filter.Fact { return []filter.Fact{auth.SPF.Of(r)} }
	dkim := func(r ...auth.DKIMResult) []filter.Fact { return []filter.Fact{auth.DKIM.Of(r)} }
	for _, c := range []struct {
		name  string
		facts []filter.Fact
		want  string
	}{
		{"nothing checked", nil, "; none"},
		{
			"spf", spf(auth.SPFResult{Result: auth.SoftFail, Identity: "mailfrom", Sender: "a.b+c@y.example", Reason: "matched ~all"}),
			";\n\tspf=softfail (matched ~all) smtp.mailfrom=a.b+c@y.example",
		},
		{"helo", spf(auth.SPFResult{Result: auth.None, Identity: "helo", Sender: "host.y.example"}), ";\n\tspf=none smtp.helo=host.y.example"},
		{"address literal", spf(auth.SPFResult{Result: auth.None, Identity: "helo", Sender: "[192.0.2.1]"}), ";\n\tspf=none smtp.helo=\"[192.0.2.1]\""},
		{"quoted local part", spf(auth.SPFResult{Result: auth.Fail, Identity: "mailfrom", Sender: `"a b"@y.example`}), ";\n\tspf=fail smtp.mailfrom=\"\\\"a b\\\"@y.example\""},
		{
			"injection", spf(auth.SPFResult{Result: auth.Fail, Identity: "helo", Sender: "x;\r\n\tdkim=pass\x00é", Reason: "x)\r\nX: y (\\"}),
			";\n\tspf=fail (x] X: y [?) smtp.helo=\"x;???dkim=pass??\"",
		},
		{"unknown word", spf(auth.SPFResult{Result: "pass; dkim=pass", Identity: "mailfrom"}), ";\n\tspf=permerror"},
		{
			"signatures", dkim(good, auth.DKIMResult{Result: auth.Fail, Domain: "e.example", Selector: "s2", Algorithm: "ed25519-sha256", Prefix: "a/b+c=", Reason: "body hash did not verify"}),
			";\n\tdkim=pass header.d=d.example header.s=s1 header.a=rsa-sha256\n\theader.b=abcdEFGH;\n" +
				"\tdkim=fail (body hash did not verify) header.d=e.example header.s=s2\n\theader.a=ed25519-sha256 header.b=\"a/b+c=\"",
		},
		{"unsigned", dkim(), ";\n\tdkim=none"},
		{"could not tell", []filter.Fact{{Key: "dkim", Value: unknown{}}}, "; none"},
		{"both", append(spf(auth.SPFResult{Result: auth.Pass, Identity: "mailfrom", Sender: "@y.example"}), dkim()...), ";\n\tspf=pass smtp.mailfrom=@y.example;\n\tdkim=none"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := strings.ReplaceAll(authBody(t, "mx.example.org", c.facts...), "\r\n", "\n")
			if want := "mx.example.org" + c.want; got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// What the plan of the early phases found is written only where the plan of the message has that check.
func TestAuthResultsOfThePlanAlone(t *testing.T) {
	in := &filter.Input{Transaction: &filter.Transaction{}}
	in.Transaction.Record(auth.SPF.Of(auth.SPFResult{Result: auth.Pass}), auth.DKIM.Of(nil))
	for _, c := range []struct{ name, stage, want string }{
		{"both", "both data gives=spf,dkim", "mx.example.org;\r\n\tspf=pass;\r\n\tdkim=none"},
		{"spf", "spf data gives=spf", "mx.example.org;\r\n\tspf=pass"},
		{"dkim", "dkim data gives=dkim", "mx.example.org;\r\n\tdkim=none"},
		{"neither", "parts data gives=parts", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := authResults(in, StampOptions{AuthservID: "mx.example.org", Plan: mustCompile(t, parse(t, c.stage))}); got != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
	in = &filter.Input{Transaction: &filter.Transaction{}}
	in.Transaction.Record(auth.SPF.Of(auth.SPFResult{Result: auth.Pass}))
	o := StampOptions{AuthservID: "mx.example.org", Plan: mustCompile(t, parse(t, "dkim data gives=dkim"))}
	if got := authResults(in, o); got != "mx.example.org; none" {
		t.Errorf("got %q where the plan's own check told nothing", got)
	}
}

func TestSignaturesAreCapped(t *testing.T) {
	var all []auth.DKIMResult
	for i := range 30 {
		r := auth.DKIMResult{Result: auth.Fail, Selector: fmt.Sprint(i)}
		if i == 25 {
			r.Result = auth.Pass
		}
		all = append(all, r)
	}
	got := authBody(t, "mx.example.org", auth.DKIM.Of(all))
	if n := strings.Count(got, "dkim="); n != maxSignatures || !strings.HasSuffix(got, "dkim=pass header.s=25") {
		t.Errorf("%d signatures: %s", n, got)
	}
}

// body is the grammar of RFC 8601 2.2, as far as we use it.
var bodyGrammar = func() *regexp.Regexp {
	const (
		cfws  = `(?:(?:\r\n)?[ \t](?:\([!-'*-\[\]-~ ]*\))?|\r\n\t|\((?:[!-'*-\[\]-~ ]|\r\n[\t ])*\))*`
		token = "[!#$%&'*+\\-.0-9A-Z^_`a-z{|}~]+"
		quote = `"(?:[ !#-\[\]-~]|\\["\\])*"`
		value = `(?:(?:(?:` + token + `)?@)?` + token + `|` + quote + `)`
	)
	result := `;` + cfws + `(?:none|(?:spf|dkim)=[a-z]+(?:` + cfws + `(?:smtp\.(?:mailfrom|helo)|header\.[dsab])=` + value + `)*` + cfws + `)`
	return regexp.MustCompile(`^` + value + `(?:` + result + `)+$`)
}()

// Whatever the facts hold, the field is well formed, and says nothing that they do not.
func TestAuthResultsAreWellFormed(t *testing.T) {
	word := rapid.Custom(func(t *rapid.T) string {
		return rapid.OneOf(rapid.String(), rapid.StringMatching(`[a-z;"\\()\r\n\t =@.]{0,300}`),
			rapid.SampledFrom([]string{"x@y.example", "pass", "a\r\nX-Spam-Flag: NO", "\xff\xfe", "(", "\\"})).Draw(t, "word")
	})
	rapid.Check(t, func(rt *rapid.T) {
		w := func() string { return word.Draw(rt, "w") }
		spf := auth.SPFResult{Result: auth.Result(w()), Identity: w(), Sender: w(), Reason: w(), Domain: w()}
		sigs := make([]auth.DKIMResult, rapid.IntRange(0, 12).Draw(rt, "n"))
		for i := range sigs {
			sigs[i] = auth.DKIMResult{Result: auth.Result(w()), Domain: w(), Selector: w(), Algorithm: w(), Prefix: w(), Reason: w()}
		}
		body := authBody(t, "mx.example.org", auth.SPF.Of(spf), auth.DKIM.Of(sigs))
		if !bodyGrammar.MatchString(body) {
			rt.Fatalf("not well formed: %q", body)
		}
		for _, line := range strings.Split(body, "\r\n") {
			if len(line) > 998 || strings.ContainsAny(line, "\r\n\x00") || strings.TrimSpace(line) == "" {
				rt.Fatalf("bad line %q", line)
			}
		}
		if !bearing("mx.example.org")(body) {
			rt.Fatalf("we do not know our own field: %q", body)
		}
	})
}

func TestBearing(t *testing.T) {
	for _, c := range []struct {
		name, id, body string
		want           bool
	}{
		{"plain", "mx.example.org", " mx.example.org; spf=pass", true},
		{"other", "mx.example.org", " other.example; spf=pass", false},
		{"no blank", "mx.example.org", "mx.example.org;spf=pass", true},
		{"case", "mx.example.org", " MX.Example.ORG; spf=pass", true},
		{"encoded word", "mx.example.org", " =?utf-8?q?=6Dx.example.org?=; dkim=pass", true},
		{"encoded word in base64", "mx.example.org", " =?utf-8?b?bXguZXhhbXBsZS5vcmc=?=; dkim=pass", true},
		{"encoded word of another", "mx.example.org", " =?utf-8?q?=6Dy.example.org?=; dkim=pass", false},
		{"our own name in capitals", "MX.Example.org", " mx.example.org; spf=pass", true},
		{"folded", "mx.example.org", "\r\n\t mx.example.org\r\n ;\r\n spf=pass", true},
		{"comment before", "mx.example.org", " (hi) mx.example.org; spf=pass", true},
		{"nested comments", "mx.example.org", " (a (b (c)) d)(e)\r\n (f) mx.example.org (g) ; spf=pass", true},
		{"comment with quoted pairs", "mx.example.org", ` (a \) \( ;) mx.example.org; spf=pass`, true},
		{"comment attached", "mx.example.org", " mx.example.org(x); spf=pass", true},
		{"quoted", "mx.example.org", ` "mx.example.org"; spf=pass`, true},
		{"quoted pairs", "mx.example.org", ` "m\x.ex\ample.org"; spf=pass`, true},
		{"quoted in pieces", "mx.example.org", ` mx."example".org; spf=pass`, true},
		{"quoted pairs without quotes", "mx.example.org", ` mx\.example.org; spf=pass`, true},
		{"blanks within", "mx.example.org", " mx . example (x) . org; spf=pass", true},
		{"quoted with a semicolon", "mx.example.org", ` "mx.example.org; spf=pass"; none`, true},
		{"version", "mx.example.org", " mx.example.org 1; spf=pass", true},
		{"version and comments", "mx.example.org", " mx.example.org (v) 12 (x); spf=pass", true},
		{"version of a split name", "mx.example.org", " mx. example.org 1; spf=pass", true},
		{"slash version", "mx.example.org", " mx.example.org/1; spf=pass", true},
		{"final dot", "mx.example.org", " mx.example.org.; spf=pass", true},
		{"final dot of ours", "mx.example.org.", " mx.example.org; spf=pass", true},
		{"no semicolon", "mx.example.org", " mx.example.org", true},
		{"results at once", "mx.example.org", " mx.example.org spf=pass", true},
		{"U-labels", "xn--mx-yka.example", " mxü.example; spf=pass", true},
		{"U-labels in capitals", "xn--mx-yka.example", " MXÜ.example; spf=pass", true},
		{"U-labels and results at once", "xn--mx-yka.example", " mxü.example spf=pass; x", true},
		{"ours in U-labels", "mxü.example", " xn--mx-yka.EXAMPLE; spf=pass", true},
		{"unclosed comment", "mx.example.org", " (x mx.example.org; spf=pass", true},
		{"unclosed quote", "mx.example.org", ` "x mx.example.org; spf=pass`, true},
		{"for a reader without nested comments", "mx.example.org", " (a (b) mx.example.org; spf=pass) other.example; none", true},
		{"for a reader without quoted pairs", "mx.example.org", ` (a \) mx.example.org; spf=pass) other.example; none`, true},
		{"longer name before", "mx.example.org", " smx.example.org; spf=pass", false},
		{"subdomain", "mx.example.org", " a.mx.example.org; spf=pass", false},
		{"longer name after", "mx.example.org", " mx.example.organic; spf=pass", false},
		{"domain below", "mx.example.org", " mx.example.org.example; spf=pass", false},
		{"digit is no version", "mx", " mx2; spf=pass", false},
		{"only in the results", "mx.example.org", " other.example; spf=pass smtp.mailfrom=x@mx.example.org", false},
		{"only in a later comment", "mx.example.org", " other.example; (mx.example.org) none", false},
		{"longer, then ours", "mx.example.org", " (a.mx.example.org mx.example.org) b; none", true},
		{"empty", "mx.example.org", "", false},
		{"only comments", "mx.example.org", " (x)", false},
		{"no id", "", " ; spf=pass", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := bearing(c.id)(c.body); got != c.want {
				t.Errorf("got %v of %+v", got, readID(c.body))
			}
		})
	}
}

func FuzzAuthResults(f *testing.F) {
	for _, s := range []string{" mx.example.org; spf=pass", "(a (b) \\) mx.example.org 1;", `"mx.example.org`, "mxü.example;", "\\", "(((((", "xn--;"} {
		f.Add(s)
	}
	ours := bearing("mx.example.org")
	f.Fuzz(func(t *testing.T, s string) {
		was := ours(s)
		if was != ours(s) {
			t.Error("two answers")
		}
		// What goes before the id as comment, fold or capital does not matter.
		for _, forged := range []string{"mx.example.org;" + s, " (x\\)(y)) \r\n\tMX.example.ORG 1 ;" + s, "\"mx.example.org\" (" + s} {
			if !ours(forged) {
				t.Errorf("not recognised: %q", forged)
			}
		}
		if was && !ours("(c)\r\n "+s) {
			t.Errorf("a comment hides %q", s)
		}
	})
}
