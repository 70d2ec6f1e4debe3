package authres

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
)

const (
	testID  = "mx.example.org"
	maxLine = 78 // RFC 5322 2.1.1: lines should be no longer, without the CRLF
)

// unknown is a fact of which nothing is known but that it was looked for.
type unknown struct{}

// every is what a plan provides that has a stage for each method.
func every(fact string) bool {
	return slices.Contains([]string{"spf", "helo_spf", "dkim", "arc", "dmarc", "iprev"}, fact)
}

func bodyOf(utf8 bool, facts ...filter.Fact) string {
	in := &filter.Input{
		Session:     &filter.Session{Client: netip.MustParseAddrPort("192.0.2.7:25")},
		Transaction: &filter.Transaction{SMTPUTF8: utf8},
	}
	in.Transaction.Record(facts...)
	return Body(in, testID, every)
}

func TestBody(t *testing.T) {
	good := auth.DKIMResult{Result: auth.Pass, Domain: "d.example", Selector: "s1", Algorithm: "rsa-sha256", Prefix: "abcdEFGH"}
	spf := func(r auth.SPFResult) []filter.Fact { return []filter.Fact{auth.SPF.Of(r)} }
	mailfrom := func(s string) []filter.Fact {
		return spf(auth.SPFResult{Result: auth.None, Identity: "mailfrom", Sender: s, LocalPart: true})
	}
	helo := func(s string) []filter.Fact {
		return spf(auth.SPFResult{Result: auth.None, Identity: "helo", Sender: s})
	}
	dkim := func(r ...auth.DKIMResult) []filter.Fact { return []filter.Fact{auth.DKIM.Of(r)} }
	arc := func(r auth.ARCResult) []filter.Fact { return []filter.Fact{auth.ARC.Of(r)} }
	dmarc := func(r auth.DMARCResult) []filter.Fact { return []filter.Fact{auth.DMARC.Of(r)} }
	iprev := func(r auth.IPRevResult) []filter.Fact { return []filter.Fact{auth.IPRev.Of(r)} }
	for _, c := range []struct {
		name  string
		facts []filter.Fact
		utf8  bool
		want  string // behind the id
	}{
		{name: "nothing checked", want: "; none"},
		{
			name: "spf", facts: spf(auth.SPFResult{Result: auth.SoftFail, Identity: "mailfrom", Sender: "a.b+c@y.example", Reason: "matched ~all"}),
			want: ";\n\tspf=softfail reason=\"matched ~all\" smtp.mailfrom=y.example",
		},
		{name: "helo", facts: helo("Host.y.example"), want: ";\n\tspf=none smtp.helo=Host.y.example"},
		{
			name: "both identities",
			facts: []filter.Fact{
				auth.SPF.Of(auth.SPFResult{Result: auth.Pass, Identity: "mailfrom", Sender: "x@y.example"}),
				auth.HeloSPF.Of(auth.SPFResult{Result: auth.Fail, Identity: "helo", Sender: "h.example"}),
			},
			want: ";\n\tspf=pass smtp.mailfrom=y.example;\n\tspf=fail smtp.helo=h.example",
		},
		{name: "address literal", facts: helo("[192.0.2.1]"), want: ";\n\tspf=none smtp.helo=\"[192.0.2.1]\""},
		{name: "IPv6 literal", facts: helo("[IPv6:2001:db8::1]"), want: ";\n\tspf=none smtp.helo=\"[IPv6:2001:db8::1]\""},
		{name: "helo in U-labels", facts: helo("h\u00fc.example"), want: ";\n\tspf=none smtp.helo=xn--h-eha.example"},
		{name: "helo that is no name", facts: helo("x;\r\n\tdkim=pass\x00\u00e9"), want: ";\n\tspf=none"},
		{name: "helo with results in it", facts: helo("dkim=pass"), want: ";\n\tspf=none"},
		{name: "literal with results in it", facts: helo("[x:;dkim=pass]"), want: ";\n\tspf=none"},
		{name: "VERP", facts: mailfrom("b+u=z.example@y.example"), want: ";\n\tspf=none smtp.mailfrom=b+u=z.example@y.example"},
		{name: "what no token may have", facts: mailfrom("a/b?c=d@y.example"), want: ";\n\tspf=none smtp.mailfrom=a/b?c=d@y.example"},
		{name: "a result in the local part", facts: mailfrom("a/dkim=Pass@y.example"), want: ";\n\tspf=none smtp.mailfrom=y.example"},
		{name: "a literal's local part", facts: spf(auth.SPFResult{Result: auth.None, Identity: "mailfrom", Sender: "a@[192.0.2.1]"}), want: ";\n\tspf=none smtp.mailfrom=\"[192.0.2.1]\""},
		{name: "quoted local part", facts: mailfrom(`"a; dkim=pass"@y.example`), want: ";\n\tspf=none smtp.mailfrom=y.example"},
		{name: "two at signs", facts: mailfrom(`"a@b"@y.example`), want: ";\n\tspf=none smtp.mailfrom=y.example"},
		{name: "mailbox at a literal", facts: mailfrom("a@[192.0.2.1]"), want: ";\n\tspf=none smtp.mailfrom=\"a@[192.0.2.1]\""},
		{name: "domain alone", facts: mailfrom("y.example"), want: ";\n\tspf=none smtp.mailfrom=y.example"},
		{name: "no local part", facts: mailfrom("@y.example"), want: ";\n\tspf=none smtp.mailfrom=@y.example"},
		{name: "UTF-8", facts: mailfrom("j\u00fcrgen@y.example"), utf8: true, want: ";\n\tspf=none smtp.mailfrom=j\u00fcrgen@y.example"},
		// RFC 8616: a message that is not internationalized has no place for the local part, and a "?" in it would
		// make another mailbox of it.
		{name: "UTF-8 in an ASCII message", facts: mailfrom("j\u00fcrgen@y.example"), want: ";\n\tspf=none smtp.mailfrom=y.example"},
		{name: "a line break in UTF-8", facts: mailfrom("a\u2028dkim=pass@y.example"), utf8: true, want: ";\n\tspf=none smtp.mailfrom=y.example"},
		{name: "malformed UTF-8", facts: mailfrom("a\xff@y.example"), utf8: true, want: ";\n\tspf=none smtp.mailfrom=y.example"},
		{name: "too long", facts: mailfrom(strings.Repeat("a", maxValue) + "@y.example"), want: ";\n\tspf=none smtp.mailfrom=y.example"},
		{
			name: "reason", facts: spf(auth.SPFResult{Result: auth.Fail, Reason: "x\");\r\nX: y (\\ dkim=pass\u00fc"}),
			want: ";\n\tspf=fail reason=\"x'], X: y [? dkim:pass?\"",
		},
		{
			name:  "long reason",
			facts: spf(auth.SPFResult{Result: auth.Fail, Reason: strings.Repeat("many words ", 20), Identity: "mailfrom", Sender: "x@y.example"}),
			want: ";\n\tspf=fail reason=\"many words many words many words many words many words many\n" +
				" words many words many words many words m\" smtp.mailfrom=y.example",
		},
		{name: "unknown word", facts: spf(auth.SPFResult{Result: "pass; dkim=pass", Identity: "mailfrom"}), want: ";\n\tspf=permerror"},
		{name: "word of another method", facts: dkim(auth.DKIMResult{Result: auth.SoftFail}), want: ";\n\tdkim=permerror"},
		{
			name: "signatures", facts: dkim(good, auth.DKIMResult{Result: auth.Fail, Domain: "e.example", Selector: "s2", Algorithm: "ed25519-sha256", Prefix: "a/b+c=", Reason: "body hash did not verify"}),
			want: ";\n\tdkim=pass header.d=d.example header.s=s1 header.a=rsa-sha256\n\theader.b=abcdEFGH;\n" +
				"\tdkim=fail reason=\"body hash did not verify\" header.d=e.example header.s=s2\n\theader.a=ed25519-sha256 header.b=\"a/b+c=\"",
		},
		{
			name: "key and identity", facts: dkim(auth.DKIMResult{Result: auth.Pass, Domain: "d.example", Identity: "u@sub.d.example", KeyBits: 2048, Testing: true}),
			want: ";\n\tdkim=pass reason=\"2048-bit key, domain tests DKIM\" header.d=d.example\n\theader.i=u@sub.d.example",
		},
		{name: "the identity that every signature has", facts: dkim(auth.DKIMResult{Result: auth.Pass, Domain: "d.example", Identity: "@d.example"}), want: ";\n\tdkim=pass header.d=d.example"},
		{
			name:  "hostile signature",
			facts: dkim(auth.DKIMResult{Result: auth.PermError, Domain: "d;spf=pass", Selector: "a b", Algorithm: "x;y", Prefix: "(((", Identity: "\r\n@d"}),
			want:  ";\n\tdkim=permerror header.i=d",
		},
		{name: "unsigned", facts: dkim(), want: ";\n\tdkim=none"},
		{
			name: "arc", facts: arc(auth.ARCResult{Result: auth.Pass, Sealers: []string{"a.example", "b.example"}, OldestAMS: 2}),
			want: ";\n\tarc=pass reason=\"sealed by a.example, b.example\" header.oldest-pass=2\n\tsmtp.remote-ip=192.0.2.7",
		},
		{name: "arc that fails", facts: arc(auth.ARCResult{Result: auth.Fail, Reason: "seal 2"}), want: ";\n\tarc=fail reason=\"seal 2\" smtp.remote-ip=192.0.2.7"},
		{name: "no arc", facts: arc(auth.ARCResult{Result: auth.None}), want: ";\n\tarc=none"},
		{name: "arc that could not be told", facts: arc(auth.ARCResult{Result: auth.TempError}), want: "; none"},
		{
			name: "dmarc", facts: dmarc(auth.DMARCResult{Result: auth.Fail, From: "y.example", Policy: "reject", Disposition: "quarantine", Reason: "not aligned"}),
			want: ";\n\tdmarc=fail reason=\"not aligned\" header.from=y.example\n\tpolicy.dmarc=quarantine",
		},
		{name: "no dmarc record", facts: dmarc(auth.DMARCResult{Result: auth.None, From: "y.example", Disposition: "none"}), want: ";\n\tdmarc=none header.from=y.example"},
		{name: "no Author Domain", facts: dmarc(auth.DMARCResult{Result: auth.PermError}), want: ";\n\tdmarc=permerror"},
		{name: "iprev", facts: iprev(auth.IPRevResult{Result: auth.Pass, Client: "192.0.2.7", Name: "h.example"}), want: ";\n\tiprev=pass reason=\"h.example\" policy.iprev=192.0.2.7"},
		{name: "iprev of IPv6", facts: iprev(auth.IPRevResult{Result: auth.PermError, Client: "2001:db8::7", Reason: "no name"}), want: ";\n\tiprev=permerror reason=\"no name\" policy.iprev=\"2001:db8::7\""},
		{name: "could not tell", facts: []filter.Fact{{Key: "dkim", Value: unknown{}}}, want: "; none"},
		{
			name: "all", facts: slices.Concat(mailfrom("x@y.example"), dkim(), arc(auth.ARCResult{Result: auth.None}), dmarc(auth.DMARCResult{Result: auth.Pass, From: "y.example"}), iprev(auth.IPRevResult{Result: auth.TempError})),
			want: ";\n\tspf=none smtp.mailfrom=x@y.example;\n\tdkim=none;\n\tarc=none;\n\tdmarc=pass header.from=y.example;\n\tiprev=temperror",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			body := bodyOf(c.utf8, c.facts...)
			if diff := cmp.Diff(testID+c.want, strings.ReplaceAll(body, "\r\n", "\n")); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			if _, _, err := readAR(body); err != nil {
				t.Errorf("not by the grammar: %v", err)
			}
		})
	}
}

// What the plan of the early phases found is written only where the plan of the message has that check.
func TestBodyOfWhatIsProvidedAlone(t *testing.T) {
	in := &filter.Input{Transaction: &filter.Transaction{}}
	in.Transaction.Record(auth.SPF.Of(auth.SPFResult{Result: auth.Pass}), auth.DKIM.Of(nil), auth.IPRev.Of(auth.IPRevResult{Result: auth.Pass}))
	for _, c := range []struct {
		name  string
		facts []string
		want  string
	}{
		{"both", []string{"spf", "dkim"}, "mx.example.org;\r\n\tspf=pass;\r\n\tdkim=none"},
		{"spf", []string{"spf"}, "mx.example.org;\r\n\tspf=pass"},
		{"dkim", []string{"dkim"}, "mx.example.org;\r\n\tdkim=none"},
		{"iprev", []string{"iprev"}, "mx.example.org;\r\n\tiprev=pass"},
		{"a check that told nothing", []string{"dmarc"}, "mx.example.org; none"},
		{"none that authenticates", []string{"parts"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Body(in, testID, func(fact string) bool { return slices.Contains(c.facts, fact) }); got != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
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
	got := bodyOf(false, auth.DKIM.Of(all))
	if n := strings.Count(got, "dkim="); n != maxSignatures || !strings.HasSuffix(got, "dkim=pass header.s=25") {
		t.Errorf("%d signatures: %s", n, got)
	}
}

// drawnFacts are facts of any content, and what a strict reader must find of them at most.
type drawnFacts struct {
	facts []filter.Fact
	utf8  bool
	want  []drawnResult
}

type drawnResult struct {
	method string
	result auth.Result
	values map[string]string // by property, as the fact has them
}

func drawFacts(rt *rapid.T) drawnFacts {
	word := rapid.OneOf(
		rapid.String(), rapid.StringMatching(`[a-z;"\\()\r\n\t =@.\[\]:?/]{0,300}`), rapid.StringMatching(`[a-z]{1,9}@?[a-z]{1,9}\.example`),
		rapid.SampledFrom([]string{"x@y.example", "pass", "a\r\nX-Spam-Flag: NO", "\xff\xfe", "(", "\\", "none", "reject", "2001:db8::1", "j\u00fc@y.example", `"q; r"@y.example`}))
	w := func() string { return word.Draw(rt, "w") }
	result := func() auth.Result {
		return auth.Result(rapid.OneOf(rapid.SampledFrom([]string{"pass", "fail", "softfail", "none", "temperror", "permerror"}), word).Draw(rt, "result"))
	}
	d := drawnFacts{utf8: rapid.Bool().Draw(rt, "utf8")}
	some := func(name string) bool { return rapid.Bool().Draw(rt, name) }
	if some("spf") {
		r := auth.SPFResult{Result: result(), Identity: rapid.SampledFrom([]string{"mailfrom", "helo", "", ";"}).Draw(rt, "identity"), Sender: w(), Reason: w(), LocalPart: true}
		name := "smtp.mailfrom"
		if r.Identity == "helo" {
			name = "smtp.helo"
		}
		d.add(auth.SPF.Of(r), "spf", r.Result, name, r.Sender)
	}
	if some("helo") {
		r := auth.SPFResult{Result: result(), Identity: "helo", Sender: w(), Reason: w()}
		d.add(auth.HeloSPF.Of(r), "spf", r.Result, "smtp.helo", r.Sender)
	}
	if some("dkim") {
		sigs := make([]auth.DKIMResult, rapid.IntRange(1, maxSignatures).Draw(rt, "n"))
		for i := range sigs {
			s := auth.DKIMResult{Result: result(), Domain: w(), Selector: w(), Algorithm: w(), Prefix: w(), Identity: w(), Reason: w()}
			sigs[i] = s
			d.add(filter.Fact{}, "dkim", s.Result, "header.d", s.Domain, "header.s", s.Selector, "header.a", s.Algorithm, "header.b", s.Prefix, "header.i", s.Identity)
		}
		d.facts = append(d.facts, auth.DKIM.Of(sigs))
	}
	if some("arc") {
		r := auth.ARCResult{Result: result(), Sealers: []string{w(), w()}, OldestAMS: rapid.Int().Draw(rt, "oldest"), Reason: w()}
		d.facts = append(d.facts, auth.ARC.Of(r))
		if r.Result != auth.TempError {
			d.add(filter.Fact{}, "arc", r.Result, "header.oldest-pass", fmt.Sprint(max(r.OldestAMS, 0)), "smtp.remote-ip", "192.0.2.7")
		}
	}
	if some("dmarc") {
		r := auth.DMARCResult{Result: result(), From: w(), Policy: w(), Disposition: w(), Reason: w()}
		d.add(auth.DMARC.Of(r), "dmarc", r.Result, "header.from", r.From, "policy.dmarc", r.Disposition)
	}
	if some("iprev") {
		r := auth.IPRevResult{Result: result(), Client: w(), Name: w(), Reason: w()}
		d.add(auth.IPRev.Of(r), "iprev", r.Result, "policy.iprev", r.Client)
	}
	return d
}

func (d *drawnFacts) add(f filter.Fact, method string, r auth.Result, properties ...string) {
	if f.Key != "" {
		d.facts = append(d.facts, f)
	}
	values := map[string]string{}
	for i := 0; i < len(properties); i += 2 {
		values[properties[i]] = properties[i+1]
	}
	d.want = append(d.want, drawnResult{method, r, values})
}

// Whatever the facts hold, a strict reader finds these results in this order, with properties whose values are those of
// the facts or the domains of those, and nothing else; and no line is too long.
func TestBodySaysWhatTheFactsHold(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d := drawFacts(rt)
		body := bodyOf(d.utf8, d.facts...)
		id, got, err := readAR(body)
		if err != nil || id != testID {
			rt.Fatalf("id %q, %v: %q", id, err, body)
		}
		if len(got) != len(d.want) {
			rt.Fatalf("%d results, want %d: %q", len(got), len(d.want), body)
		}
		for i, r := range got {
			checkDrawn(rt, r, d.want[i])
		}
		for i, line := range strings.Split(body, "\r\n") {
			if len(line) > 998-len(Name) || strings.ContainsAny(line, "\r\n\x00") || strings.TrimSpace(line) == "" {
				rt.Fatalf("bad line %q", line)
			}
			// RFC 5322 2.1.1: 78, but for what is one word.
			if strings.TrimSpace(line) == ";" && len(strings.Split(body, "\r\n")[i-1]) < maxLine {
				rt.Fatalf("a lonely semicolon in %q", body)
			}
			if i > 0 && len(line) > maxLine && strings.Contains(strings.TrimSpace(line), " ") {
				rt.Fatalf("long line %q", line)
			}
		}
		if !d.utf8 && strings.ContainsFunc(body, func(r rune) bool { return r >= 0x80 }) {
			rt.Fatalf("not ASCII: %q", body)
		}
		if !bearing(testID)(body) {
			rt.Fatalf("we do not know our own field: %q", body)
		}
	})
}

func checkDrawn(rt *rapid.T, got arResult, want drawnResult) {
	if got.Method != want.method {
		rt.Fatalf("method %q, want %q", got.Method, want.method)
	}
	if got.Result != string(want.result) && got.Result != "permerror" && (got.Method != "arc" || got.Result != "fail") {
		rt.Fatalf("%s=%s of the fact %q", got.Method, got.Result, want.result)
	}
	if got.Result == "pass" && want.result != auth.Pass {
		rt.Fatalf("%s passes, and the fact says %q", got.Method, want.result)
	}
	seen := map[string]bool{}
	for _, p := range got.Properties {
		value, known := want.values[p.Name]
		if !known || seen[p.Name] {
			rt.Fatalf("%s has a property %s=%s", got.Method, p.Name, p.Value)
		}
		seen[p.Name] = true
		at := strings.LastIndexByte(value, '@')
		local, domain := value[:at+1], value[at+1:]
		normal := normalID(domain)
		if p.Value != value && p.Value != domain && p.Value != normal && p.Value != local+normal &&
			!sameAddr(p.Value, value) && !sameAddr(strings.Trim(domain, "[]"), strings.Trim(p.Value, "[]")) {
			rt.Fatalf("%s=%q of the fact %q", p.Name, p.Value, value)
		}
	}
}

func sameAddr(a, b string) bool {
	x, err := netip.ParseAddr(a)
	y, err2 := netip.ParseAddr(b)
	return err == nil && err2 == nil && x.Unmap().WithZone("") == y.Unmap().WithZone("")
}

// FuzzBody writes what it is given into every value, and reads it back.
func FuzzBody(f *testing.F) {
	for _, s := range []string{"x@y.example", "h.example", "[IPv6:::1]", "\"a; dkim=pass\"@y.example", "a\r\n b", "j\u00fc@h\u00fc.example", ");", "a\u0085b@c", "abc/+="} {
		f.Add(s, false)
		f.Add(s, true)
	}
	f.Fuzz(func(t *testing.T, s string, utf8 bool) {
		in := &filter.Input{Transaction: &filter.Transaction{SMTPUTF8: utf8}}
		in.Transaction.Record(
			auth.SPF.Of(auth.SPFResult{Result: auth.Fail, Identity: "mailfrom", Sender: s, Reason: s, LocalPart: true}),
			auth.HeloSPF.Of(auth.SPFResult{Result: auth.Result(s), Sender: s}),
			auth.DKIM.Of([]auth.DKIMResult{{Result: auth.Fail, Domain: s, Selector: s, Algorithm: s, Identity: s, Prefix: s, Reason: s}}),
			auth.ARC.Of(auth.ARCResult{Result: auth.None, Reason: s}),
			auth.DMARC.Of(auth.DMARCResult{Result: auth.Fail, From: s, Policy: s, Disposition: s, Reason: s}),
			auth.IPRev.Of(auth.IPRevResult{Result: auth.Fail, Client: s, Name: s}))
		body := Body(in, testID, every)
		id, got, err := readAR(body)
		if err != nil || id != testID || len(got) != 6 {
			t.Fatalf("id %q, %d results, %v: %q", id, len(got), err, body)
		}
		for i, want := range []string{"spf=fail", "spf=", "dkim=fail", "arc=none", "dmarc=fail", "iprev=fail"} {
			if have := got[i].Method + "=" + got[i].Result; !strings.HasPrefix(have, want) {
				t.Errorf("%s, want %s: %q", have, want, body)
			}
		}
		// Nor does anybody who looks for a pass in the text find one but that of a fact.
		if s != "pass" && strings.Contains(s, "=pass") && strings.Contains(body, "=pass") {
			t.Errorf("a pass in %q", body)
		}
	})
}
