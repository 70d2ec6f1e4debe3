package dmarc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/mail"
)

func build(t testing.TB, r filter.Resolver, options string) (filter.Spec, filter.Filter) {
	t.Helper()
	spec, f, err := open(NewFactory(), r, options)
	if err != nil {
		t.Fatal(err)
	}
	return spec, f
}

func open(factory filter.Factory, r filter.Resolver, options string) (filter.Spec, filter.Filter, error) {
	env := filter.Env{Name: "dmarc", Hostname: "mx.example.org", DNS: r, Log: slog.New(slog.DiscardHandler)}
	return factory.New(env, func(v any) error {
		if options == "" {
			return nil
		}
		return yaml.UnmarshalWithOptions([]byte(options), v, yaml.Strict())
	})
}

// content makes the content of a message.
func content(t testing.TB, text string) *mail.Content {
	t.Helper()
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\n", "\r\n")
	c := mail.NewContent(mail.NewBlob([]byte(text)), mail.LineFaults{}, mail.Limits{})
	t.Cleanup(c.Release)
	return c
}

// input makes an input with the results of "spf=pass a.example dkim=pass b.example arc=a.example iprev=c.example".
func input(t testing.TB, text, results string) *filter.Input {
	t.Helper()
	from, err := mail.ParseAddress("sender@bounce.example")
	if err != nil {
		t.Fatal(err)
	}
	to, err := mail.ParseAddress("rcpt@example.org")
	if err != nil {
		t.Fatal(err)
	}
	in := &filter.Input{
		Session:     &filter.Session{Client: netip.MustParseAddrPort("192.0.2.1:4321")},
		Transaction: &filter.Transaction{From: from, Recipients: []mail.Address{to}},
		Content:     content(t, text),
	}
	signatures := []auth.DKIMResult{}
	words := strings.Fields(results)
	for i := 0; i < len(words); i += 2 {
		method, result, _ := strings.Cut(words[i], "=")
		switch domain := words[i+1]; method {
		case "spf":
			in.Transaction.Record(auth.SPF.Of(auth.SPFResult{Result: auth.Result(result), Domain: domain, Identity: "mailfrom"}))
		case "dkim":
			signatures = append(signatures, auth.DKIMResult{Result: auth.Result(result), Domain: domain})
		case "arc":
			in.Transaction.Record(auth.ARC.Of(auth.ARCResult{Result: auth.Pass, Trusted: result == "trusted", Vouched: []string{domain}}))
		case "iprev":
			in.Session.Record(auth.IPRev.Of(auth.IPRevResult{Result: auth.Result(result), Name: domain}))
		case "helo":
			in.Transaction.Record(auth.HeloSPF.Of(auth.SPFResult{Result: auth.Result(result), Domain: domain, Identity: "helo"}))
		}
	}
	in.Transaction.Record(auth.DKIM.Of(signatures))
	return in
}

// summary puts a result into one line: the result word, the policy and its tag, what is proposed, the symbols.
func summary(t testing.TB, spec filter.Spec, r filter.Result) string {
	t.Helper()
	fact, ok := auth.DMARC.Among(r.Facts)
	if !ok {
		t.Fatalf("no fact in %+v", r)
	}
	s := string(fact.Result)
	if fact.Policy != "" {
		s += " " + fact.PolicyTag + "=" + fact.Policy
	}
	s += " " + r.Propose.String()
	if r.Aggravated != filter.Continue {
		s += "/" + r.Aggravated.String()
	}
	for _, f := range r.Findings {
		if f.Symbol != "" && !slices.ContainsFunc(spec.Symbols, func(s filter.Symbol) bool { return s.Name == f.Symbol }) {
			t.Errorf("%s is not declared", f.Symbol)
		}
		if f.Unknown != strings.HasSuffix(f.Symbol, "_TEMPERROR") {
			t.Errorf("%s: unknown %t", f.Symbol, f.Unknown)
		}
		s += " " + strings.TrimPrefix(f.Symbol, "DMARC_")
	}
	if fact.Override != "" {
		s += " " + fact.Override
	}
	return s
}

// zones are those of the table below.
var zones = []string{
	"_dmarc.reject.example v=DMARC1; p=reject",
	"_dmarc.quarantine.example v=DMARC1; p=quarantine",
	"_dmarc.none.example v=DMARC1; p=none",
	"_dmarc.strict.example v=DMARC1; p=reject; adkim=s; aspf=s",
	"_dmarc.test.example v=DMARC1; p=reject; t=y",
	"_dmarc.testq.example v=DMARC1; p=quarantine; t=y",
	"_dmarc.sp.example v=DMARC1; p=none; sp=quarantine; np=reject", "there.sp.example EXISTS", "mx.sp.example 10 a", "odd.sp.example SERVFAIL",
	"_dmarc.np.example v=DMARC1; p=none; np=reject", "there.np.example EXISTS",
	"_dmarc.own.sp.example v=DMARC1; p=quarantine; sp=none; np=none",
	"_dmarc.psd v=DMARC1; p=reject; psd=y; np=none", "org.psd EXISTS",
	"_dmarc.cut.reject.example v=DMARC1; p=reject; psd=n",
	"_dmarc.bad.example v=DMARC1; p=reject; sp=bad",
	"_dmarc.dead.example SERVFAIL",
	"_dmarc.deadsub.reject.example SERVFAIL",
	"_dmarc.xn--bcher-kva.example v=DMARC1; p=reject",
}

func TestCheck(t *testing.T) {
	const list = "List-Id: <l.example.net>\n"
	for _, c := range []struct{ name, header, results, options, want string }{
		// Alignment (RFC 9989 4.4).
		{"SPF relaxed", "From: a@reject.example", "spf=pass b.reject.example", "", "pass p=reject continue PASS"},
		{"SPF above", "From: a@m.reject.example", "spf=pass reject.example", "", "pass p=reject continue PASS"},
		{"DKIM relaxed", "From: a@reject.example", "spf=fail x.example dkim=fail reject.example dkim=pass m.reject.example", "", "pass p=reject continue PASS"},
		{"siblings", "From: a@m.reject.example", "dkim=pass n.reject.example", "", "pass p=reject continue PASS"},
		{"identifier in capitals", "From: a@reject.example", "dkim=pass REJECT.Example.", "", "pass p=reject continue PASS"},
		{"U-label", "From: a@b\u00fccher.example", "dkim=pass xn--bcher-kva.example", "", "pass p=reject continue PASS"},
		{"no suffix of a label", "From: a@reject.example", "spf=pass notreject.example", "", "fail p=reject tag/reject FAIL_REJECT local_policy"},
		{"the TLD", "From: a@reject.example", "dkim=pass example", "", "fail p=reject tag/reject FAIL_REJECT local_policy"},
		{"own organization below", "From: a@reject.example", "dkim=pass cut.reject.example", "", "fail p=reject tag/reject FAIL_REJECT local_policy"},
		{"two organizations of a PSD", "From: a@org.psd", "dkim=pass other.psd", "", "fail p=reject tag/reject FAIL_REJECT local_policy"},
		{"one organization of a PSD", "From: a@m.org.psd", "dkim=pass org.psd", "", "pass p=reject continue PASS"},
		{"strict, identical", "From: a@strict.example", "spf=pass strict.example", "", "pass p=reject continue PASS"},
		{"strict, below", "From: a@strict.example", "spf=pass m.strict.example dkim=pass m.strict.example", "", "fail p=reject tag/reject FAIL_REJECT local_policy"},
		{"HELO is no identity", "From: a@reject.example", "spf=fail reject.example helo=pass reject.example", "", "fail p=reject tag/reject FAIL_REJECT local_policy"},
		{"softfail is no pass", "From: a@reject.example", "spf=softfail reject.example dkim=policy reject.example", "", "fail p=reject tag/reject FAIL_REJECT local_policy"},
		{"no facts", "From: a@reject.example", "", "", "fail p=reject tag/reject FAIL_REJECT local_policy"},

		// Policy (RFC 9989 4.7, 4.10.1).
		{"no record", "From: a@nothing.example", "", "", "none continue NONE"},
		{"p=none", "From: a@none.example", "", "", "fail p=none continue FAIL_NONE"},
		{"p=quarantine", "From: a@quarantine.example", "", "", "fail p=quarantine tag/quarantine FAIL_QUARANTINE local_policy"},
		{"p for a domain below", "From: a@m.reject.example", "", "", "fail p=reject tag/reject FAIL_REJECT local_policy"},
		{"sp is not for the domain itself", "From: a@sp.example", "", "", "fail p=none continue FAIL_NONE"},
		{"sp", "From: a@there.sp.example", "", "", "fail sp=quarantine tag/quarantine FAIL_QUARANTINE local_policy"},
		{"sp, some record", "From: a@mx.sp.example", "", "", "fail sp=quarantine tag/quarantine FAIL_QUARANTINE local_policy"},
		{"np", "From: a@nobody.sp.example", "", "", "fail np=reject tag/reject FAIL_REJECT local_policy"},
		{"np without sp", "From: a@nobody.np.example", "", "", "fail np=reject tag/reject FAIL_REJECT local_policy"},
		{"no np for what exists", "From: a@there.np.example", "", "", "fail p=none continue FAIL_NONE"},
		{"no answer whether it exists", "From: a@odd.sp.example", "", "", "temperror continue TEMPERROR"},
		{"sp of a record below counts for nothing", "From: a@own.sp.example", "", "", "fail p=quarantine tag/quarantine FAIL_QUARANTINE local_policy"},
		{"np of a PSD", "From: a@gone.psd", "", "", "fail np=none continue FAIL_NONE"},
		{"t=y", "From: a@test.example", "", "", "fail p=reject tag/quarantine FAIL_QUARANTINE policy_test_mode"},
		{"t=y with quarantine", "From: a@testq.example", "", "", "fail p=quarantine continue FAIL_NONE policy_test_mode"},
		{"unusable record", "From: a@bad.example", "dkim=pass bad.example", "", "permerror continue PERMERROR"},

		// The DNS (RFC 9989 5.3.6).
		{"record without answer", "From: a@dead.example", "", "", "temperror continue TEMPERROR"},
		{"record without answer, aligned", "From: a@dead.example", "dkim=pass dead.example", "", "temperror continue TEMPERROR"},
		{"SPF may pass yet", "From: a@reject.example", "spf=temperror reject.example", "", "temperror p=reject defer TEMPERROR"},
		{"a signature may pass yet", "From: a@reject.example", "spf=fail x.example dkim=temperror m.reject.example", "", "temperror p=reject defer TEMPERROR"},
		{"it may, and another passes", "From: a@reject.example", "spf=temperror reject.example dkim=pass reject.example", "", "pass p=reject continue PASS"},
		{"it could not help", "From: a@reject.example", "spf=temperror x.example", "", "fail p=reject tag/reject FAIL_REJECT local_policy"},
		{"p=quarantine waits if suspect", "From: a@quarantine.example", "spf=temperror quarantine.example", "", "temperror p=quarantine continue/defer TEMPERROR"},
		{"p=none does not wait", "From: a@none.example", "spf=temperror none.example", "", "temperror p=none continue TEMPERROR"},
		{"a list does not wait", list + "From: a@reject.example", "spf=temperror reject.example", "", "temperror p=reject continue TEMPERROR"},
		{"p=reject waits also where it is only tagged", "From: a@reject.example", "spf=temperror reject.example", "{reject: tag, reject_suspect: tag}", "temperror p=reject defer TEMPERROR"},
		{"p=quarantine does not wait where it is only tagged", "From: a@quarantine.example", "spf=temperror quarantine.example", "{quarantine: tag, quarantine_suspect: tag}", "temperror p=quarantine continue TEMPERROR"},
		{"what passes anyway does not wait", "From: a@reject.example", "spf=temperror reject.example", "{reject: pass, reject_suspect: pass}", "temperror p=reject continue TEMPERROR"},
		{"identifier's organization without answer", "From: a@reject.example", "dkim=pass deadsub.reject.example", "", "temperror p=reject defer TEMPERROR"},
		{"two authors, one awaited", "From: a@x.example, b@reject.example", "dkim=temperror m.reject.example", "", "permerror p=reject tag/reject MULTIPLE_DOMAINS FAIL_REJECT local_policy"},

		// What softens a failure.
		{"list", list + "From: a@reject.example", "", "", "fail p=reject tag FAIL_LIST mailing_list"},
		{"list, passes", list + "From: a@reject.example", "", "{list: pass}", "fail p=reject continue FAIL_LIST mailing_list"},
		{"empty List-Id", "List-Id:\nFrom: a@reject.example", "", "", "fail p=reject tag/reject FAIL_REJECT local_policy"},
		{"newsletter is no list", "List-Unsubscribe: <https://x.example>\nFrom: a@reject.example", "", "", "fail p=reject tag/reject FAIL_REJECT local_policy"},
		{"precedence", "List-Post: <mailto:l@x.example>\nPrecedence: List\nFrom: a@reject.example", "", "", "fail p=reject tag FAIL_LIST mailing_list"},
		{"trusted chain", "From: a@reject.example", "arc=trusted reject.example", "", "fail p=reject continue FAIL_FORWARDED trusted_forwarder"},
		{"chain that is not trusted", "From: a@reject.example", "arc=pass reject.example", "", "fail p=reject tag/reject FAIL_REJECT local_policy"},
		{"chain about another", "From: a@reject.example", "arc=trusted other.example", "", "fail p=reject tag/reject FAIL_REJECT local_policy"},
		{"forwarder by network", "From: a@reject.example", "", "{forwarders: [192.0.2.0/24]}", "fail p=reject tag FAIL_FORWARDED trusted_forwarder"},
		{"forwarder by SPF", "From: a@reject.example", "spf=pass srs.alumni.example", "{forwarders: [Alumni.example]}", "fail p=reject tag FAIL_FORWARDED trusted_forwarder"},
		{"forwarder by HELO", "From: a@reject.example", "spf=fail reject.example helo=pass alumni.example", "{forwarders: [alumni.example]}", "fail p=reject tag FAIL_FORWARDED trusted_forwarder"},
		{"forwarder by signature", "From: a@reject.example", "dkim=pass alumni.example", "{forwarders: [alumni.example]}", "fail p=reject tag FAIL_FORWARDED trusted_forwarder"},
		{"forwarder by name", "From: a@reject.example", "iprev=pass out.alumni.example", "{forwarders: [alumni.example]}", "fail p=reject tag FAIL_FORWARDED trusted_forwarder"},
		{"forwarder without proof", "From: a@reject.example", "spf=fail alumni.example iprev=fail out.alumni.example", "{forwarders: [alumni.example]}", "fail p=reject tag/reject FAIL_REJECT local_policy"},

		// Local policy.
		{"reject at once", "From: a@reject.example", "", "{reject: reject}", "fail p=reject reject/reject FAIL_REJECT"},
		{"override by none", "From: a@reject.example", "", "{overrides: {reject.example: none}}", "fail p=reject continue FAIL_NONE local_policy"},
		{"override by quarantine", "From: a@reject.example", "", "{overrides: {reject.example: quarantine}}", "fail p=reject quarantine FAIL_QUARANTINE local_policy"},
		{"override by what is asked for anyway", "From: a@reject.example", "", "{overrides: {reject.example: reject}}", "fail p=reject reject FAIL_REJECT"},
		{"an override is softened by a list", list + "From: a@reject.example", "", "{overrides: {reject.example: reject}}", "fail p=reject tag FAIL_LIST mailing_list"},
		{"override is not for those below", "From: a@m.reject.example", "", "{overrides: {reject.example: none}}", "fail p=reject tag/reject FAIL_REJECT local_policy"},
		{"override for those below", "From: a@x.m.reject.example", "", "{overrides: {\"*.reject.example\": none}}", "fail p=reject continue FAIL_NONE local_policy"},
		{"ignored", "From: a@reject.example", "", "{overrides: {reject.example: ignore}}", "fail p=reject continue  local_policy"},
		{"override without a record", "From: a@nothing.example", "", "{overrides: {nothing.example: reject}}", "none reject FAIL_REJECT local_policy"},
		{"override, record without answer", "From: a@dead.example", "", "{overrides: {dead.example: reject}}", "temperror defer TEMPERROR"},
		{"override, record without answer, aligned", "From: a@dead.example", "dkim=pass dead.example", "{overrides: {dead.example: reject}}", "none continue NONE"},
		{"two authors, one without answer", "From: a@x.example, b@dead.example", "", "", "permerror tag/quarantine MULTIPLE_DOMAINS FAIL_QUARANTINE local_policy"},
		{"override without a record, aligned", "From: a@nothing.example", "dkim=pass nothing.example", "{overrides: {nothing.example: reject}}", "none continue NONE"},
		{"override and test mode", "From: a@test.example", "", "{overrides: {test.example: reject}}", "fail p=reject reject FAIL_REJECT local_policy"},

		// No one author (RFC 9989 5.3.1, 11.5).
		{"no From", "Subject: x", "dkim=pass reject.example", "", "none continue NO_FROM"},
		{"no domain", "From: postmaster", "dkim=pass reject.example", "", "none continue NO_FROM"},
		{"two fields", "From: a@x.example\nFrom: a@reject.example", "dkim=pass x.example", "", "permerror p=reject tag/reject MULTIPLE_FROM FAIL_REJECT local_policy"},
		{"two fields, both aligned", "From: a@reject.example\nFrom: b@reject.example", "dkim=pass reject.example", "", "permerror continue MULTIPLE_FROM"},
		{"two domains", "From: a@none.example, b@quarantine.example", "dkim=pass none.example", "", "permerror p=quarantine tag/quarantine MULTIPLE_DOMAINS FAIL_QUARANTINE local_policy"},
		{"more than are looked at", "From: a@n1.example, a@n2.example, a@n3.example, a@n4.example, b@reject.example", "", "", "permerror tag/quarantine MULTIPLE_DOMAINS FAIL_QUARANTINE local_policy"},
		{"more than are looked at, one of them strict", "From: a@n1.example, a@reject.example, a@n3.example, a@n4.example, b@n5.example", "", "", "permerror p=reject tag/reject MULTIPLE_DOMAINS FAIL_REJECT local_policy"},
		{"more fields than are read", "From: b@reject.example" + strings.Repeat("\r\nFrom: a@none.example", 10), "dkim=pass none.example", "", "permerror p=reject tag/reject MULTIPLE_FROM FAIL_REJECT local_policy"},
		{"more fields than are read, the last", strings.Repeat("From: a@none.example\r\n", 10) + "From: b@reject.example", "dkim=pass none.example", "", "permerror tag/quarantine MULTIPLE_FROM FAIL_QUARANTINE local_policy"},
		{"more empty fields than are read", strings.Repeat("From:\r\n", 10) + "From: b@reject.example", "", "", "permerror tag/quarantine MULTIPLE_FROM FAIL_QUARANTINE local_policy"},
		{"a vouched domain in front", "From: a@reject.example\nFr\x01om: a@quarantine.example", "arc=trusted reject.example", "", "permerror p=quarantine tag/quarantine MULTIPLE_FROM FAIL_QUARANTINE local_policy"},
		{"the strictest", "From: a@quarantine.example, b@reject.example, c@none.example", "", "", "permerror p=reject tag/reject MULTIPLE_DOMAINS FAIL_REJECT local_policy"},
		{"malformed", "From: <a@reject.example>b@x.example", "dkim=pass reject.example dkim=pass x.example", "", "permerror continue MALFORMED_FROM"},
		{"malformed, forged", "From: <a@x.example>b@reject.example", "dkim=pass x.example", "", "permerror p=reject tag/reject MALFORMED_FROM FAIL_REJECT local_policy"},
		{"two fields by way of a list", list + "From: a@x.example\nFrom: a@reject.example", "", "", "permerror p=reject tag MULTIPLE_FROM FAIL_LIST mailing_list"},
	} {
		t.Run(c.name, func(t *testing.T) {
			spec, f := build(t, newDNS(zones...), c.options)
			in := input(t, c.header+"\nTo: x@example.org\n\ntext\n", c.results)
			got, err := f.Check(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			if s := summary(t, spec, got); s != c.want {
				t.Errorf("\n got %s\nwant %s\n%+v", s, c.want, got.Findings)
			}
			if top := max(got.Propose, got.Aggravated); (got.Reply != nil) != (top >= filter.Defer) || got.Reply != nil && got.Reply.Permanent() != (top == filter.Reject) {
				t.Errorf("%s with the reply %v", top, got.Reply)
			}
		})
	}
}

func TestFact(t *testing.T) {
	f := newDNS("_dmarc.example.com v=DMARC1; p=reject; sp=quarantine; aspf=s; t=y; fo=1; rua=mailto:a@example.com; ruf=mailto:b@example.com")
	_, check := build(t, f, "")
	got, err := check.Check(t.Context(), input(t, "From: a@m.example.com\n\n", "spf=pass example.com dkim=pass example.com"))
	if err != nil {
		t.Fatal(err)
	}
	want := auth.DMARCResult{
		Result: auth.Pass, From: "m.example.com", Organization: "example.com", PolicyDomain: "example.com", Record: f.lines["_dmarc.example.com"][0],
		Published: auth.DMARCRecord{P: reject, SP: quarantine, FO: "1", RUA: "mailto:a@example.com", RUF: "mailto:b@example.com"},
		Policy:    quarantine, PolicyTag: "sp", Testing: true, ADKIM: "r", ASPF: "s", DKIMAligned: true, Disposition: none,
	}
	if fact, _ := auth.DMARC.Among(got.Facts); fact != want {
		t.Errorf("\n got %+v\nwant %+v", fact, want)
	}
}

func TestReplies(t *testing.T) {
	for results, want := range map[string]string{
		"spf=fail reject.example dkim=fail reject.example": "550 5.7.26 Email rejected per DMARC policy for reject.example",
		"spf=pass x.example":                          "550 5.7.1 Email rejected per DMARC policy for reject.example",
		"spf=fail reject.example dkim=pass x.example": "550 5.7.1 Email rejected per DMARC policy for reject.example",
		"spf=temperror reject.example":                "451 4.7.1 the DNS gives no answer that DMARC needs for reject.example, please try again later",
	} {
		_, f := build(t, newDNS(zones...), "")
		got, err := f.Check(t.Context(), input(t, "From: a@Reject.example\n\n", results))
		if err != nil || got.Reply == nil || got.Reply.String() != want {
			t.Errorf("%s: %v, %v", results, got.Reply, err)
		}
	}
}

func TestNobodyElseIsAsked(t *testing.T) {
	f := newDNS(zones...)
	_, check := build(t, f, "")
	in := input(t, "From: a@reject.example\n\n", "spf=pass other.example dkim=pass third.example")
	if _, err := check.Check(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	if len(f.asked) != 2 { // _dmarc.reject.example and, for its organization, _dmarc.example
		t.Errorf("asked for %s", f.asked)
	}
}

func TestRelayClientsAreNotChecked(t *testing.T) {
	_, f := build(t, newDNS(zones...), "")
	in := input(t, "From: a@reject.example\n\n", "")
	in.Session.Relay = true
	if got, err := f.Check(t.Context(), in); err != nil || len(got.Findings)+len(got.Facts) > 0 || got.Propose != filter.Continue {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestDeadContextIsAnError(t *testing.T) {
	_, f := build(t, newDNS(zones...), "")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got, err := f.Check(ctx, input(t, "From: a@reject.example\n\n", "")); !errors.Is(err, context.Canceled) || len(got.Facts) > 0 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestReleasedContentIsAnError(t *testing.T) {
	_, f := build(t, newDNS(zones...), "")
	in := input(t, "From: a@reject.example\n\n", "")
	g := mail.NewIngest(mail.IngestOptions{Memory: -1, Dir: t.TempDir()})
	if _, err := g.Write([]byte("From: a@reject.example\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	blob, faults, err := g.Blob()
	if err != nil {
		t.Fatal(err)
	}
	in.Content = mail.NewContent(blob, faults, mail.Limits{})
	in.Content.Release()
	if got, err := f.Check(t.Context(), in); err == nil || len(got.Facts) > 0 {
		t.Errorf("%+v, %v", got, err)
	}
}

// slowDNS answers nothing before its context ends.
type slowDNS struct{ *fakeDNS }

func (slowDNS) LookupTXT(ctx context.Context, _ string) ([]string, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestSlowDNS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spec, f := build(t, slowDNS{}, "")
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // as a stage has
		defer cancel()
		began := time.Now()
		got, err := f.Check(ctx, input(t, "From: a@x.example\n\n", "spf=pass x.example"))
		if err != nil {
			t.Fatal(err)
		}
		if s := summary(t, spec, got); s != "temperror continue TEMPERROR" || time.Since(began) != budget {
			t.Errorf("%s after %s", s, time.Since(began))
		}
	})
}

// slowNames answers nothing about the domains below slow.example.
type slowNames struct{ *fakeDNS }

func (s slowNames) LookupTXT(ctx context.Context, name string) ([]string, error) {
	if strings.HasSuffix(name, ".slow.example") {
		return slowDNS{}.LookupTXT(ctx, name)
	}
	return s.fakeDNS.LookupTXT(ctx, name)
}

// Domains of the forger's own that are slow don't keep the one that is forged from being evaluated.
func TestSlowDomainsInFront(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spec, f := build(t, slowNames{newDNS(zones...)}, "")
		got, err := f.Check(t.Context(), input(t, "From: a@a.slow.example, a@b.slow.example, a@c.slow.example, b@reject.example\n\n", ""))
		if err != nil {
			t.Fatal(err)
		}
		if s, want := summary(t, spec, got), "permerror p=reject tag/reject MULTIPLE_DOMAINS FAIL_REJECT local_policy"; s != want {
			t.Errorf("\n got %s\nwant %s", s, want)
		}
	})
}

func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		factory := NewFactory()
		r := newDNS(zones...)
		_, f, err := open(factory, r, "")
		if err != nil {
			t.Fatal(err)
		}
		const text, results = "From: a@reject.example\n\n", "spf=temperror reject.example"
		try := func(change func(*filter.Input)) filter.Action {
			in := input(t, text, results)
			change(in)
			got, err := f.Check(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			return got.Propose
		}
		as := func(*filter.Input) {}
		from := func(addr string) func(*filter.Input) {
			return func(in *filter.Input) { in.Session.Client = netip.MustParseAddrPort(addr) }
		}
		step := func(name string, want filter.Action, change func(*filter.Input)) {
			t.Helper()
			if got := try(change); got != want {
				t.Errorf("%s: %s, want %s", name, got, want)
			}
		}
		step("first", filter.Defer, as)
		time.Sleep(3 * time.Hour)
		step("three hours later", filter.Defer, as)
		if _, f, err = open(factory, r, "{list: pass}"); err != nil { // a reload
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		step("four hours later", filter.Tag, as)
		step("another host of the network", filter.Tag, from("192.0.2.77:1"))
		step("another network", filter.Defer, from("192.0.3.1:1"))
		step("IPv6", filter.Defer, from("[2001:db8::1]:1"))
		time.Sleep(4 * time.Hour)
		step("IPv6, the same /64", filter.Tag, from("[2001:db8::ffff:1]:1"))
		step("another sender", filter.Defer, func(in *filter.Input) { in.Transaction.From = mail.Address{} })
		step("other recipients", filter.Defer, func(in *filter.Input) { in.Transaction.Recipients = nil })
		time.Sleep(memoryTime)
		step("forgotten", filter.Defer, as)
	})
}

func TestPatienceIsBounded(t *testing.T) {
	p := newPatience()
	p.limit = 10
	in := input(t, "From: a@reject.example\n\n", "")
	at := time.Now()
	deferred := 0
	for i := range 100 {
		in.Session.Client = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i), 1}), 25)
		if p.left(in, at) {
			deferred++
		}
	}
	if deferred != 10 || len(p.since) != 10 {
		t.Errorf("%d deferred, %d remembered", deferred, len(p.since))
	}
	if !p.left(in, at.Add(memoryTime)) || len(p.since) != 1 {
		t.Errorf("what is old was kept: %d", len(p.since))
	}
}

func TestOptions(t *testing.T) {
	for _, bad := range []string{
		"{reject: defer}", "{reject_suspect: yes}", "{quarantine: x}", "{quarantine_suspect: x}", "{list: ''}", "{unknown: x}",
		"{forwarders: ['a b']}", "{forwarders: [1.2.3.4/99]}", "{overrides: {'a b': none}}", "{overrides: {a.example: pass}}",
	} {
		if _, _, err := open(NewFactory(), newDNS(), bad); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
	for _, good := range []string{"", "{forwarders: [192.0.2.1, '2001:db8::/32', alumni.example], overrides: {'*.Example.org': ignore}}"} {
		if _, _, err := open(NewFactory(), newDNS(), good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
}

// TestNothingAloneTags: what DMARC finds in one message stays below the usual threshold.
func TestNothingAloneTags(t *testing.T) {
	worst := 0.0
	for _, author := range []float64{0, weight(symMultipleDomain), weight(symMalformedFrom), weight(symMultipleFrom)} {
		for _, s := range symbols {
			worst = max(worst, author+s.Weight)
		}
	}
	if worst >= 5 {
		t.Errorf("%g", worst)
	}
}

func weight(symbol string) float64 {
	for _, s := range symbols {
		if s.Name == symbol {
			return s.Weight
		}
	}
	panic(fmt.Sprintf("no %s", symbol))
}
