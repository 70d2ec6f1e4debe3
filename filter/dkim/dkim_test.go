package dkim

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	library "github.com/emersion/go-msgauth/dkim"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/internal/dns"
	"github.com/postern-mail/postern/internal/dns/zone"
	"github.com/postern-mail/postern/mail"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

var edKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))

// keys are the records that the tests' signatures need.
func keys() map[string]string {
	der, err := x509.MarshalPKIXPublicKey(rsaKey().Public())
	if err != nil {
		panic(err)
	}
	rsaRecord := "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(der)
	edRecord := "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(edKey.Public().(ed25519.PublicKey))
	return map[string]string{
		"rsa._domainkey.example.org":     rsaRecord,
		"ed._domainkey.example.org":      edRecord,
		"test._domainkey.example.org":    "t=y; " + rsaRecord,
		"tab._domainkey.example.org":     strings.Replace(rsaRecord, "MII", "MI\tI", 1),
		"big._domainkey.example.org":     rsaRecord + strings.Repeat("A", maxKeyRecord),
		"revoked._domainkey.example.org": "v=DKIM1; p=",
	}
}

// fakeDNS answers TXT from a map; a value of "!" is a server failure.
type fakeDNS struct {
	filter.Resolver
	texts map[string]string
}

func (f fakeDNS) LookupTXT(_ context.Context, name string) ([]string, error) {
	switch text, ok := f.texts[name]; {
	case !ok:
		return nil, &net.DNSError{Err: "no such host", Name: name, Server: "10.9.9.9", IsNotFound: true}
	case text == "!":
		return nil, &net.DNSError{Err: "server misbehaving", Name: name, Server: "10.9.9.9", IsTemporary: true}
	default:
		return []string{text}, nil
	}
}

func build(t testing.TB, r filter.Resolver) (filter.Spec, filter.Filter) {
	t.Helper()
	spec, f, err := Factory.New(filter.Env{Name: "dkim", DNS: r, Log: slog.New(slog.DiscardHandler)}, func(any) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	return spec, f
}

func input(t testing.TB, message string) *filter.Input {
	t.Helper()
	c := mail.NewContent(mail.NewBlob([]byte(message)), mail.LineFaults{}, mail.Limits{})
	t.Cleanup(c.Release)
	return &filter.Input{Session: &filter.Session{}, Transaction: &filter.Transaction{}, Content: c}
}

const plain = "From: Ann <ann@example.org>\r\nTo: bob@example.net\r\nSubject: Tea\r\n" +
	"Date: Mon, 02 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@example.org>\r\n\r\nAt five?\r\n"

func sign(t testing.TB, message string, change func(*library.SignOptions)) string {
	t.Helper()
	o := &library.SignOptions{
		Domain: "example.org", Selector: "rsa", Signer: rsaKey(), Hash: crypto.SHA256,
		HeaderCanonicalization: library.CanonicalizationRelaxed, BodyCanonicalization: library.CanonicalizationRelaxed,
		HeaderKeys: []string{"From", "To", "Subject", "Date"},
	}
	if change != nil {
		change(o)
	}
	var out bytes.Buffer
	if err := library.Sign(&out, strings.NewReader(message), o); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func bySelector(s string) func(*library.SignOptions) {
	return func(o *library.SignOptions) {
		o.Selector = s
		if s == "ed" {
			o.Signer = edKey
		}
	}
}

func TestSignatures(t *testing.T) {
	signed := sign(t, plain, nil)
	many := plain
	for range 7 {
		many = sign(t, many, bySelector("ed"))
	}
	for _, c := range []struct {
		name, message string
		results       string // of the signatures, topmost first
		findings      string // symbol=strength
		reason        string // in the first reason
	}{
		{"none", plain, "", "DKIM_NONE=1", ""},
		{"rsa", signed, "pass", "DKIM_PASS=1", ""},
		{"ed25519", sign(t, plain, bySelector("ed")), "pass", "DKIM_PASS=1", ""},
		{"body changed", signed + "P.S.\r\n", "fail", "DKIM_FAIL=1", "body hash"},
		{"signed field changed", strings.Replace(signed, "Tea", "Beer", 1), "fail", "DKIM_FAIL=1", "signature did not verify"},
		{"unsigned field added", "X-Scan: yes\r\n" + signed, "pass", "DKIM_PASS=1", ""},
		{"second From: still what was signed, others report it", "From: eve@example.net\r\n" + signed, "pass", "DKIM_PASS=1", ""},
		{"two, both good", sign(t, signed, bySelector("ed")), "pass pass", "DKIM_PASS=1 DKIM_PASS=0", ""},
		{
			"two, one broken: a pass silences the other", sign(t, signed+"-- \r\nlist\r\n", bySelector("ed")),
			"pass fail", "DKIM_PASS=1 DKIM_FAIL=0", "",
		},
		{"two broken count once", sign(t, signed, bySelector("ed")) + "x\r\n", "fail fail", "DKIM_FAIL=1 DKIM_FAIL=0", "body hash"},
		{
			"seven", many, "pass pass pass pass pass policy policy",
			"DKIM_PASS=1 DKIM_PASS=0 DKIM_PASS=0 DKIM_PASS=0 DKIM_PASS=0 DKIM_POLICY=0 DKIM_POLICY=0", "",
		},
		{"no key", sign(t, plain, bySelector("gone")), "permerror", "DKIM_PERMERROR=1", "not found"},
		{"revoked key", sign(t, plain, bySelector("revoked")), "permerror", "DKIM_PERMERROR=1", "revoked"},
		{"key unknown for now", sign(t, plain, bySelector("broken")), "temperror", "DKIM_TEMPERROR=1", "server failure"},
		{"huge key record", sign(t, plain, bySelector("big")), "permerror", "DKIM_PERMERROR=1", "more than 2048"},
		{"key in test mode counts as any", sign(t, plain, bySelector("test")), "pass", "DKIM_PASS=1", ""},
		{"key with a tab", sign(t, plain, bySelector("tab")), "permerror", "DKIM_PERMERROR=1", "key syntax error"},
		{
			"body length", strings.Replace(signed, "DKIM-Signature: ", "DKIM-Signature: l=5; ", 1),
			"policy", "DKIM_POLICY=1", "body length",
		},
		{"expired", sign(t, plain, func(o *library.SignOptions) { o.Expiration = time.Unix(1, 0) }), "permerror", "DKIM_PERMERROR=1", "expired"},
		{"no tags", "DKIM-Signature: rubbish\r\n" + plain, "permerror", "DKIM_PERMERROR=1", "malformed"},
		{"empty field", "DKIM-Signature:\r\n" + plain, "permerror", "DKIM_PERMERROR=1", "incompatible"},
		{"name with blanks and case", strings.Replace(signed, "DKIM-Signature:", "dkim-SIGNATURE :", 1), "pass", "DKIM_PASS=1", ""},
		{"header only", sign(t, "From: a@example.org\r\n\r\n", func(o *library.SignOptions) { o.HeaderKeys = []string{"From"} }), "pass", "DKIM_PASS=1", ""},
		{"no blank line", "DKIM-Signature: v=1\r\nFrom: a@example.org\r\n", "permerror", "DKIM_PERMERROR=1", "missing required tag"},
		{"unfinished line", "DKIM-Signature: v=1\r\nFrom: a@example.org", "permerror", "DKIM_PERMERROR=1", "missing required tag"},
		{"empty message", "", "", "DKIM_NONE=1", ""},
		{"signature in the body", plain + signed, "", "DKIM_NONE=1", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			texts := keys()
			texts["broken._domainkey.example.org"] = "!"
			spec, f := build(t, fakeDNS{texts: texts})
			got, err := f.Check(t.Context(), input(t, c.message))
			if err != nil {
				t.Fatal(err)
			}
			fact, ok := auth.DKIM.Among(got.Facts)
			if !ok || fact == nil {
				t.Fatalf("no fact, or a nil one: %+v", got)
			}
			var results, findings []string
			for _, r := range fact {
				results = append(results, string(r.Result))
				if (r.Reason == "") != (r.Result == auth.Pass) {
					t.Errorf("%s with the reason %q", r.Result, r.Reason)
				}
				if strings.Contains(r.Reason, "10.9.9.9") {
					t.Errorf("the reason names our resolver: %s", r.Reason)
				}
			}
			for _, x := range got.Findings {
				findings = append(findings, fmt.Sprintf("%s=%v", x.Symbol, x.Strength))
				if !declared(spec, x.Symbol) {
					t.Errorf("%s is not declared", x.Symbol)
				}
			}
			if g := strings.Join(results, " "); g != c.results {
				t.Errorf("results: got %s, want %s (%+v)", g, c.results, fact)
			}
			if g := strings.Join(findings, " "); g != c.findings {
				t.Errorf("findings: got %s, want %s", g, c.findings)
			}
			if len(fact) > 0 && !strings.Contains(fact[0].Reason, c.reason) {
				t.Errorf("reason %q, want one with %q", fact[0].Reason, c.reason)
			}
			if got.Propose != filter.Continue || len(got.Edits) > 0 {
				t.Errorf("the filter proposes: %+v", got)
			}
		})
	}
}

func declared(spec filter.Spec, symbol string) bool {
	for _, s := range spec.Symbols {
		if s.Name == symbol {
			return true
		}
	}
	return false
}

func TestWhatIsSaidOfASignature(t *testing.T) {
	_, f := build(t, fakeDNS{texts: keys()})
	signed := sign(t, plain, func(o *library.SignOptions) { o.Identifier = "ann@example.org" })
	got, err := f.Check(t.Context(), input(t, signed))
	if err != nil {
		t.Fatal(err)
	}
	fact, _ := auth.DKIM.Among(got.Facts)
	_, b, _ := strings.Cut(signed, " b=")
	want := []auth.DKIMResult{{
		Result: auth.Pass, Domain: "example.org", Selector: "rsa", Algorithm: "rsa-sha256",
		Identity: "ann@example.org", Prefix: b[:8],
	}}
	if diff := cmp.Diff(want, fact); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestDomainIsLowerCase(t *testing.T) {
	texts := keys()
	texts["rsa._domainkey.Example.ORG"] = texts["rsa._domainkey.example.org"]
	_, f := build(t, fakeDNS{texts: texts})
	got, err := f.Check(t.Context(), input(t, sign(t, plain, func(o *library.SignOptions) { o.Domain = "Example.ORG" })))
	if err != nil {
		t.Fatal(err)
	}
	if fact, _ := auth.DKIM.Among(got.Facts); len(fact) != 1 || fact[0].Domain != "example.org" || fact[0].Result != auth.Pass {
		t.Errorf("got %+v", fact)
	}
}

// TestHeaderBounds runs headers that would cost the library seconds to hours.
func TestHeaderBounds(t *testing.T) {
	signed := sign(t, plain, bySelector("ed"))
	for name, c := range map[string]struct{ message, reason string }{
		"continuation lines": {"X-Long: a\r\n" + strings.Repeat(" b\r\n", 30_000) + signed, "lines"},
		"octets":             {signed[:len(signed)-12] + strings.Repeat("X-A: "+strings.Repeat("y", 990)+"\r\n", 2000) + "\r\n", "octets"},
		"octets before":      {strings.Repeat("X-A: "+strings.Repeat("y", 990)+"\r\n", 2000) + signed, "octets"},
		"fields":             {strings.Repeat("A: b\r\n", 5000) + signed, "fields"},
		"names in h=": {
			"DKIM-Signature: v=1; a=rsa-sha256; d=example.org; s=rsa; bh=aa; b=aa; h=from:" + strings.Repeat("a:", 20_000) + "b\r\n" + plain,
			"names more than",
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, f := build(t, fakeDNS{texts: keys()})
			began := time.Now()
			got, err := f.Check(t.Context(), input(t, c.message))
			if err != nil {
				t.Fatal(err)
			}
			if d := time.Since(began); d > time.Second {
				t.Errorf("took %s", d)
			}
			fact, _ := auth.DKIM.Among(got.Facts)
			if len(fact) != 1 || fact[0].Result != auth.Policy || !strings.Contains(fact[0].Reason, c.reason) {
				t.Errorf("got %+v, want policy with %q", fact, c.reason)
			}
		})
	}
}

// TestAtTheBounds shows that what is just allowed does not cost much either.
func TestAtTheBounds(t *testing.T) {
	names := strings.Repeat("x:", maxSignedNames-1)
	hash := sha256.Sum256([]byte("At five?\r\n")) // right, so that the header is looked at
	one := "DKIM-Signature: v=1; a=ed25519-sha256; d=example.org; s=ed; bh=" +
		base64.StdEncoding.EncodeToString(hash[:]) + "; b=aaaa; h=" + names + "from\r\n"
	message := strings.Repeat(one, maxVerified) + "X-Long: a\r\n" + strings.Repeat(" b\r\n", maxContinuations) +
		strings.Repeat("A: b\r\n", maxFields-maxVerified-6) + plain
	_, f := build(t, fakeDNS{texts: keys()})
	began := time.Now()
	got, err := f.Check(t.Context(), input(t, message))
	if err != nil {
		t.Fatal(err)
	}
	if fact, _ := auth.DKIM.Among(got.Facts); len(fact) != maxVerified || !strings.Contains(fact[0].Reason, "signature did not verify") {
		t.Errorf("got %+v, want %d times a signature that does not match", fact, maxVerified)
	}
	if d := time.Since(began); d > 2*time.Second {
		t.Errorf("took %s", d)
	}
}

func TestReleasedContentIsAnError(t *testing.T) {
	two := sign(t, sign(t, plain, nil), bySelector("ed"))
	// In a file: what is in memory stays readable.
	g := mail.NewIngest(mail.IngestOptions{Memory: -1, Dir: t.TempDir()})
	if _, err := g.Write([]byte(two)); err != nil {
		t.Fatal(err)
	}
	blob, faults, err := g.Blob()
	if err != nil {
		t.Fatal(err)
	}
	c := mail.NewContent(blob, faults, mail.Limits{})
	c.Release()
	_, f := build(t, fakeDNS{texts: keys()})
	if got, err := f.Check(t.Context(), &filter.Input{Content: c}); !errors.Is(err, mail.ErrReleased) || len(got.Facts) > 0 {
		t.Errorf("got %+v, %v; want only ErrReleased", got, err)
	}
}

// releasingDNS lets the content go while keys are being looked up: an abandoned filter sees that.
type releasingDNS struct {
	fakeDNS
	release func()
}

func (r releasingDNS) LookupTXT(ctx context.Context, name string) ([]string, error) {
	r.release()
	return r.fakeDNS.LookupTXT(ctx, name)
}

func TestContentGoesAwayMidway(t *testing.T) {
	two := sign(t, sign(t, plain+strings.Repeat("line\r\n", 100_000), nil), bySelector("ed"))
	g := mail.NewIngest(mail.IngestOptions{Memory: -1, Dir: t.TempDir()})
	if _, err := g.Write([]byte(two)); err != nil {
		t.Fatal(err)
	}
	blob, faults, err := g.Blob()
	if err != nil {
		t.Fatal(err)
	}
	c := mail.NewContent(blob, faults, mail.Limits{})
	var once sync.Once
	_, f := build(t, releasingDNS{fakeDNS{texts: keys()}, func() { once.Do(c.Release) }})
	if got, err := f.Check(t.Context(), &filter.Input{Content: c}); !errors.Is(err, mail.ErrReleased) || len(got.Facts) > 0 {
		t.Errorf("got %+v, %v; want only ErrReleased", got, err)
	}
	// goleak in TestMain sees whether the library's goroutines ended.
}

func TestDeadContextIsAnError(t *testing.T) {
	_, f := build(t, fakeDNS{texts: keys()})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	got, err := f.Check(ctx, input(t, sign(t, sign(t, plain, nil), bySelector("ed"))))
	if !errors.Is(err, context.Canceled) || len(got.Findings)+len(got.Facts) > 0 {
		t.Errorf("got %+v, %v; want only an error", got, err)
	}
}

// slowDNS answers nothing before its context ends.
type slowDNS struct{ filter.Resolver }

func (slowDNS) LookupTXT(ctx context.Context, _ string) ([]string, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestSlowKeyIsTheSendersFault(t *testing.T) {
	message := sign(t, sign(t, plain, nil), bySelector("ed"))
	synctest.Test(t, func(t *testing.T) {
		_, f := build(t, slowDNS{})
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // as a stage has
		defer cancel()
		got, err := f.Check(ctx, input(t, message))
		if err != nil {
			t.Fatal(err)
		}
		if fact, _ := auth.DKIM.Among(got.Facts); len(fact) != 2 || fact[0].Result != auth.TempError || fact[1].Result != auth.TempError {
			t.Errorf("got %+v, want temperror twice", fact)
		}
	})
}

// TestRealDNS goes the whole way: key records of several strings, over TCP.
func TestRealDNS(t *testing.T) {
	var text strings.Builder
	for name, record := range keys() {
		if !strings.HasPrefix(name, "tab.") {
			fmt.Fprintf(&text, "%s TXT %s\n", name, record)
		}
	}
	s, err := zone.Serve(text.String() + "broken._domainkey.example.org SERVFAIL\n")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r, err := dns.New([]netip.AddrPort{netip.MustParseAddrPort(s.Addr())})
	if err != nil {
		t.Fatal(err)
	}
	for selector, want := range map[string]auth.Result{
		"rsa": auth.Pass, "ed": auth.Pass, "gone": auth.PermError, "broken": auth.TempError,
	} {
		_, f := build(t, r)
		got, err := f.Check(t.Context(), input(t, sign(t, plain, bySelector(selector))))
		if err != nil {
			t.Fatal(err)
		}
		if fact, _ := auth.DKIM.Among(got.Facts); len(fact) != 1 || fact[0].Result != want {
			t.Errorf("%s: got %+v, want %s", selector, fact, want)
		}
	}
}

// TestBodiesMadeToCost runs bodies that a canonicalisation must look back or hold back for (RFC 6376 3.4.3, 3.4.4), with
// as many signatures as are verified.
func TestBodiesMadeToCost(t *testing.T) {
	const size = 4 << 20
	for name, body := range map[string]string{
		"blank lines":       strings.Repeat("\r\n", size/2),
		"blanks":            strings.Repeat(" ", size) + "\r\n",
		"blank ends":        strings.Repeat(" \t \t \r\n", size/7),
		"runs at the bound": strings.Repeat(strings.Repeat("\r\n", maxBlank/2-1)+"x", size/maxBlank),
		"one line":          strings.Repeat("x", size) + "\r\n",
	} {
		for _, c := range []library.Canonicalization{library.CanonicalizationSimple, library.CanonicalizationRelaxed} {
			t.Run(name+" "+string(c), func(t *testing.T) {
				field := "DKIM-Signature: v=1; a=ed25519-sha256; c=simple/" + string(c) + "; d=example.org; s=ed; bh=aaaa; b=aaaa; h=from\r\n"
				_, f := build(t, fakeDNS{texts: keys()})
				in := input(t, strings.Repeat(field, maxVerified)+plain+body)
				began := time.Now()
				got, err := f.Check(t.Context(), in)
				if err != nil {
					t.Fatal(err)
				}
				if fact, _ := auth.DKIM.Among(got.Facts); len(fact) != maxVerified || fact[0].Result != auth.Fail {
					t.Errorf("got %+v", fact)
				}
				if d := time.Since(began); d > 10*time.Second {
					t.Errorf("took %s", d)
				} else {
					t.Logf("%s", d)
				}
			})
		}
	}
}

// TestBlankLines shows that leaving out blank lines at the end changes no result, wherever the run is cut.
func TestBlankLines(t *testing.T) {
	for _, c := range []library.Canonicalization{library.CanonicalizationSimple, library.CanonicalizationRelaxed} {
		signed := sign(t, plain, func(o *library.SignOptions) { o.BodyCanonicalization = c })
		_, f := build(t, fakeDNS{texts: keys()})
		for name, c := range map[string]struct {
			tail string
			want auth.Result
		}{
			"a few at the end":                {strings.Repeat("\r\n", 9), auth.Pass},
			"many at the end":                 {strings.Repeat("\r\n", 500_000), auth.Pass},
			"many, and more behind them":      {strings.Repeat("\r\n", 500_000) + "x\r\n", auth.Policy},
			"a few, and more behind them":     {strings.Repeat("\r\n", 9) + "x\r\n", auth.Fail},
			"as many as may be, more behind":  {strings.Repeat("\r\n", maxBlank/2-8) + "x\r\n", auth.Fail},
			"many runs that are short enough": {strings.Repeat(strings.Repeat("\r\n", 1000)+"x", 100), auth.Fail},
		} {
			got, err := f.Check(t.Context(), input(t, signed+c.tail))
			if err != nil {
				t.Fatal(err)
			}
			if fact, _ := auth.DKIM.Among(got.Facts); len(fact) != 1 || fact[0].Result != c.want {
				t.Errorf("%s: got %+v, want %s", name, fact, c.want)
			}
		}
		for at := range 4 { // where the blocks fall must not matter
			got, err := f.Check(t.Context(), input(t, "X: "+strings.Repeat("y", at)+"\r\n"+signed+strings.Repeat("\r\n", 60_000)))
			if err != nil {
				t.Fatal(err)
			}
			if fact, _ := auth.DKIM.Among(got.Facts); len(fact) != 1 || fact[0].Result != auth.Pass {
				t.Errorf("moved by %d: got %+v", at, fact)
			}
		}
	}
}
