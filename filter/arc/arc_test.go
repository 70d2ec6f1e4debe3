package arc

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/internal/dkim"
	"github.com/postern-mail/postern/internal/dkim/arc"
	"github.com/postern-mail/postern/internal/peertest/leaks"
	"github.com/postern-mail/postern/mail"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// everyKey has the key of each domain at each selector, the same for a domain always.
type everyKey struct {
	filter.Resolver
	down string // the domain whose DNS fails
}

func keyOf(domain string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(domain))
	return ed25519.NewKeyFromSeed(seed[:])
}

func (e everyKey) LookupTXT(_ context.Context, name string) ([]string, error) {
	_, domain, _ := strings.Cut(name, "._domainkey.")
	if domain == e.down {
		return nil, &net.DNSError{Err: "server misbehaving", Name: name, IsTemporary: true}
	}
	text, err := dkim.Record(keyOf(domain).Public())
	return []string{text}, err
}

func build(t testing.TB, r filter.Resolver, trusted ...string) (filter.Spec, filter.Filter) {
	t.Helper()
	env := filter.Env{Name: "arc", DNS: r, Log: slog.New(slog.DiscardHandler)}
	spec, f, err := Factory.New(env, func(c any) error { return trust(c.(*config), trusted...) })
	if err != nil {
		t.Fatal(err)
	}
	return spec, f
}

func content(t testing.TB, message string, l mail.Limits) *mail.Content {
	t.Helper()
	c := mail.NewContent(mail.NewBlob([]byte(message)), mail.LineFaults{}, l)
	t.Cleanup(c.Release)
	return c
}

func input(t testing.TB, message string) *filter.Input {
	t.Helper()
	return &filter.Input{Session: &filter.Session{}, Transaction: &filter.Transaction{}, Content: content(t, message, mail.Limits{})}
}

const plain = "From: Ann <ann@author.example>\r\nTo: list@list.example\r\nSubject: Tea\r\n" +
	"Date: Sun, 01 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@author.example>\r\n\r\nAt five?\r\n"

// hop is what a server on the way does.
type hop struct {
	domain  string
	results string              // behind the id
	change  func(string) string // before the set is put on top; nil changes nothing
	names   []string            // in h=; nil for the usual ones
	other   string              // the domain of the message signature, if it is another
	cv      arc.Status          // of the chain that came; "" for what is right
}

func pass(domain string) hop {
	return hop{domain: domain, results: "dmarc=pass header.from=author.example"}
}

func fail(domain string) hop {
	return hop{domain: domain, results: "dmarc=fail header.from=author.example"}
}

func (h hop) retitling() hop {
	h.change = func(m string) string { return strings.Replace(m, "Subject: ", "Subject: [x] ", 1) }
	return h
}

func (h hop) saying(results string) hop { h.results = results; return h }

func (h hop) signing(names ...string) hop { h.names = names; return h }

// travel sends the plain message through hops.
func travel(t testing.TB, hops ...hop) string {
	t.Helper()
	message := plain
	for i, h := range hops {
		if h.change != nil {
			message = h.change(message)
		}
		came := arc.Pass
		if i == 0 {
			came = arc.None
		}
		if h.cv != "" {
			came = h.cv
		}
		s := &arc.Sealer{Domain: h.domain, Selector: "s", Key: keyOf(h.domain), Names: h.names}
		if h.other != "" {
			s.Domain, s.Key = h.other, keyOf(h.other)
		}
		c := content(t, message, mail.Limits{})
		fields, bodies := dkim.NewFields(c.Header().Fields()), &dkim.Bodies{}
		s.Want(bodies)
		if err := bodies.Hash(dkim.Body(c.Blob(), c.Header().Octets(), c.Blob().Size())); err != nil {
			t.Fatal(err)
		}
		set, err := s.Seal(fields, bodies, came, "mx."+h.domain+"; "+h.results)
		if err != nil {
			t.Fatal(err)
		}
		text := func(f mail.AddField) string { return f.Name + ": " + f.Body + "\r\n" }
		seal := text(set[0])
		if h.other != "" {
			// The first set is signed by one and sealed by another.
			seal, err = dkim.Seal("ARC-Seal", []dkim.Tag{
				{Name: "i", Value: "1"},
				{Name: "cv", Value: "none"},
				{Name: "a", Value: "ed25519-sha256"},
				{Name: "d", Value: h.domain},
				{Name: "s", Value: "s"},
			}, dkim.Relaxed, keyOf(h.domain), func(w io.Writer) {
				for _, f := range []mail.AddField{set[2], set[1]} {
					_, _ = w.Write(dkim.AppendField(nil, text(f), dkim.Relaxed))
				}
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		message = seal + text(set[1]) + text(set[2]) + message
	}
	return message
}

func TestTrust(t *testing.T) {
	const list, other, evil = "list.example", "mail.example", "evil.example"
	for _, c := range []struct {
		name    string
		trusted []string
		hops    []hop
		isTrust bool
		vouched string
	}{
		{"nobody is trusted by default", nil, []hop{pass(list)}, false, ""},
		{"one trusted sealer", []string{list}, []hop{pass(list)}, true, "author.example"},
		{"another is trusted", []string{other}, []hop{pass(list)}, false, ""},
		{"a name that ends alike", []string{"ist.example"}, []hop{pass(list)}, false, ""},
		{"a domain below", []string{list}, []hop{pass("a." + list)}, false, ""},
		{"all domains below", []string{"*." + list}, []hop{pass("a.b." + list)}, true, "author.example"},
		{"all below are not the domain", []string{"*." + list}, []hop{pass(list)}, false, ""},
		{"in capitals and with a dot", []string{"List.Example."}, []hop{pass(list)}, true, "author.example"},
		{"a trusted sealer who saw a failure", []string{list}, []hop{fail(list)}, true, ""},

		{"a forger, then a list", []string{list}, []hop{pass(evil), fail(list).retitling()}, true, ""},
		{"a server, then a list that changes it, both trusted", []string{list, other}, []hop{pass(other), fail(list).retitling()}, true, "author.example"},
		{"a list, then one who changes nothing", []string{list}, []hop{pass(list), fail(evil)}, true, "author.example"},
		{"a list, then one who changes it", []string{list}, []hop{pass(list), pass(evil).retitling()}, false, ""},
		{"somebody changes it between two that are trusted", []string{list, other}, []hop{pass(other), pass(evil).retitling(), fail(list)}, true, ""},
		{"somebody between two that are trusted, unchanged", []string{list, other}, []hop{pass(other), pass(evil), fail(list)}, true, "author.example"},
		{"the last who changed it is trusted, those before are not", []string{list}, []hop{pass(evil), pass(evil), pass(list).retitling()}, true, "author.example"},

		{"the author is changed by a list", []string{list}, []hop{
			{domain: list, results: "dmarc=pass header.from=list.example", change: func(m string) string {
				return strings.Replace(m, "ann@author.example", "ann@list.example", 1)
			}},
		}, true, "list.example"},
		{"another From on top, under an untrusted seal", []string{list}, []hop{
			pass(list).signing("From", "To", "Subject"),
			{domain: evil, results: "none", change: func(m string) string { return "From: boss@author.example\r\n" + m }},
		}, false, ""},
		{"another Subject on top, which is not signed", []string{list}, []hop{
			pass(list).signing("From", "Subject"),
			{domain: evil, results: "none", change: func(m string) string { return "Subject: Pay\r\n" + m }},
		}, false, ""},
		{"another Content-Type on top, with blanks before the colon", []string{list}, []hop{
			{domain: list, results: pass(list).results, names: []string{"From", "Content-Type"}, change: func(m string) string {
				return "Content-Type: text/plain\r\n" + m
			}},
			{domain: evil, results: "none", change: func(m string) string { return "CONTENT-TYPE : text/html\r\n" + m }},
		}, false, ""},
		{"a Subject that nobody signs", []string{list}, []hop{pass(list).signing("From", "To"), fail(evil).retitling()}, true, "author.example"},
		{"From is not covered", []string{list}, []hop{pass(list).signing("To", "Subject")}, false, ""},
		{"From is not covered before a list", []string{list, other}, []hop{pass(other).signing("To"), fail(list).retitling()}, true, ""},
		{"sealed by a trusted one, signed by another", []string{list}, []hop{{domain: list, other: evil, results: pass(list).results}}, false, ""},
		{"signed by a trusted one, sealed by another", []string{list}, []hop{{domain: evil, other: list, results: pass(list).results}}, false, ""},
		{"both trusted", []string{list, other}, []hop{{domain: other, other: list, results: pass(list).results}}, true, "author.example"},
		{"sealed as failed", []string{list}, []hop{pass(list), {domain: list, results: pass(list).results, cv: arc.Fail}}, false, ""},

		{"no domain", []string{list}, []hop{pass(list).saying("dmarc=pass")}, true, ""},
		{"two domains", []string{list}, []hop{pass(list).saying("dmarc=pass header.from=a.example header.from=b.example")}, true, ""},
		{"two results", []string{list}, []hop{pass(list).saying("dmarc=pass header.from=a.example; dmarc=fail header.from=b.example")}, true, ""},
		{"two results that pass", []string{list}, []hop{pass(list).saying("dmarc=pass header.from=a.example; dmarc=pass header.from=b.example")}, true, ""},
		{"in a comment", []string{list}, []hop{pass(list).saying("spf=pass (; dmarc=pass header.from=a.example)")}, true, ""},
		{"in quotes", []string{list}, []hop{pass(list).saying(`spf=pass smtp.mailfrom="x; dmarc=pass header.from=a.example"`)}, true, ""},
		{"malformed behind it", []string{list}, []hop{pass(list).saying(`dmarc=pass header.from=a.example; spf=pass smtp.mailfrom="x`)}, true, ""},
		{"other methods", []string{list}, []hop{pass(list).saying("dkim=pass header.d=author.example; spf=pass smtp.mailfrom=author.example; arc=pass")}, true, ""},
		{"an address is no domain", []string{list}, []hop{pass(list).saying("dmarc=pass header.from=a@b.example")}, true, ""},
		{"as large providers write it", []string{list}, []hop{pass(list).saying("spf=pass (x: domain of a@b designates 192.0.2.1 as permitted sender) smtp.mailfrom=\"a=b@c.example\";\r\n\tdmarc=pass (p=REJECT sp=REJECT dis=NONE) action=none header.from=A.Example; dkim=pass header.i=@a.example header.b=\"a/b=\"")}, true, "a.example"},
	} {
		_, f := build(t, everyKey{}, c.trusted...)
		out, err := f.Check(t.Context(), input(t, travel(t, c.hops...)))
		if err != nil {
			t.Fatal(err)
		}
		got, _ := auth.ARC.Among(out.Facts)
		if v := strings.Join(got.Vouched, " "); got.Trusted != c.isTrust || v != c.vouched {
			t.Errorf("%s: trusted %v for %q (%s %s), want %v for %q", c.name, got.Trusted, v, got.Result, got.Reason, c.isTrust, c.vouched)
		}
		said := slices.ContainsFunc(out.Findings, func(f filter.Finding) bool { return f.Symbol == trusted })
		if said != (c.vouched != "") {
			t.Errorf("%s: findings %v", c.name, out.Findings)
		}
	}
}

func TestResults(t *testing.T) {
	chain := travel(t, pass("a.example"), pass("b.example").retitling())
	for _, c := range []struct {
		name, message string
		down          string
		want          auth.ARCResult
		finding       filter.Finding
	}{
		{"none", plain, "", auth.ARCResult{Result: auth.None}, filter.Finding{Symbol: "ARC_NONE", Strength: 1}},
		{"pass", chain, "", auth.ARCResult{Result: auth.Pass, Sealers: []string{"a.example", "b.example"}, OldestAMS: 2}, filter.Finding{Symbol: "ARC_PASS", Strength: 1, Detail: "sealed by a.example, b.example"}},
		{
			"fail", chain + "P.S.\r\n", "",
			auth.ARCResult{Result: auth.Fail, Sealers: []string{"a.example", "b.example"}, Reason: "the message signature of instance 2: the body does not match bh="},
			filter.Finding{Symbol: "ARC_FAIL", Strength: 1, Detail: "the message signature of instance 2: the body does not match bh="},
		},
		{
			"temperror", chain, "a.example",
			auth.ARCResult{Result: auth.TempError, Sealers: []string{"a.example", "b.example"}, Reason: "the seal of instance 1: the key could not be asked for"},
			filter.Finding{Symbol: "ARC_TEMPERROR", Strength: 1, Unknown: true, Detail: "the seal of instance 1: the key could not be asked for"},
		},
	} {
		spec, f := build(t, everyKey{down: c.down})
		out, err := f.Check(t.Context(), input(t, c.message))
		if err != nil {
			t.Fatal(err)
		}
		got, _ := auth.ARC.Among(out.Facts)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
		if diff := cmp.Diff([]filter.Finding{c.finding}, out.Findings); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
		if !slices.ContainsFunc(spec.Symbols, func(s filter.Symbol) bool { return s.Name == c.finding.Symbol }) {
			t.Errorf("%s: the symbol is not declared", c.name)
		}
		if out.Propose != filter.Continue || out.Edits != nil {
			t.Errorf("%s: proposes %v, %v", c.name, out.Propose, out.Edits)
		}
	}
}

// No answer is no reason to believe anybody.
func TestTemporaryErrorIsNotTrusted(t *testing.T) {
	message := travel(t, pass("a.example"), pass("b.example"))
	for _, down := range []string{"a.example", "b.example"} {
		_, f := build(t, everyKey{down: down}, "a.example", "b.example")
		out, err := f.Check(t.Context(), input(t, message))
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := auth.ARC.Among(out.Facts); got.Result != auth.TempError || got.Trusted || got.Vouched != nil {
			t.Errorf("no answer for %s: %+v", down, got)
		}
	}
}

func TestLongHeader(t *testing.T) {
	_, f := build(t, everyKey{}, "a.example")
	in := input(t, plain)
	in.Content = content(t, travel(t, pass("a.example")), mail.Limits{Fields: 4})
	out, err := f.Check(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := auth.ARC.Among(out.Facts); got.Result != auth.Fail || got.Reason != "not validated: the header is too long" {
		t.Errorf("got %+v", got)
	}
}

// What can't be told is an error, not a result.
func TestErrors(t *testing.T) {
	_, f := build(t, everyKey{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Check(ctx, input(t, travel(t, pass("a.example")))); !errors.Is(err, context.Canceled) {
		t.Errorf("the context has ended: %v", err)
	}
	for name, message := range map[string]string{"plain": plain, "sealed": travel(t, pass("a.example"))} {
		c := mail.NewContent(mail.NewBlob([]byte(message)), mail.LineFaults{}, mail.Limits{})
		c.Release()
		if out, err := f.Check(t.Context(), &filter.Input{Content: c}); err == nil {
			t.Errorf("%s: a content that is gone gives %+v", name, out)
		}
	}
}

// trust reads sealers into a configuration.
func trust(c *config, sealers ...string) error {
	c.TrustedSealers = make([]sealer, len(sealers))
	for i, s := range sealers {
		if err := c.TrustedSealers[i].UnmarshalText([]byte(s)); err != nil {
			return err
		}
	}
	return nil
}

func TestConfiguration(t *testing.T) {
	for _, entry := range []string{"", "*", "*.", "example", "*.example", "a b.example", "*.*.example.org", "a@b.example", "."} {
		_, _, err := Factory.New(filter.Env{}, func(c any) error { return trust(c.(*config), entry) })
		if err == nil || !strings.HasSuffix(err.Error(), "is no sealer; allowed: example.org, *.example.org") {
			t.Errorf("%q: %v", entry, err)
		}
	}
	want := errors.New("no such key")
	if _, _, err := Factory.New(filter.Env{}, func(any) error { return want }); !errors.Is(err, want) {
		t.Errorf("got %v", err)
	}
}

// A resolver that never answers ends with the stage's own time, and nothing of it is left.
func TestSilentDNS(t *testing.T) {
	_, f := build(t, silent{})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := f.Check(ctx, input(t, travel(t, pass("a.example")))); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

type silent struct{ filter.Resolver }

func (silent) LookupTXT(ctx context.Context, _ string) ([]string, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}
