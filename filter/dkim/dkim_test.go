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
	"io"
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
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	core "github.com/postern-mail/postern/internal/dkim"
	"github.com/postern-mail/postern/internal/dns"
	"github.com/postern-mail/postern/internal/dns/zone"
	"github.com/postern-mail/postern/internal/peertest/leaks"
	"github.com/postern-mail/postern/mail"
)

func TestMain(m *testing.M) { leaks.Main(m) }

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
		"test._domainkey.example.org":    "v=DKIM1; t=y; " + strings.TrimPrefix(rsaRecord, "v=DKIM1; "),
		"tab._domainkey.example.org":     strings.Replace(rsaRecord, "MII", "MI\tI", 1),
		"big._domainkey.example.org":     rsaRecord + strings.Repeat("A", core.MaxKeyRecord),
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
	for range 12 {
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
		{"body changed", signed + "P.S.\r\n", "fail", "DKIM_FAIL=1", "body does not match"},
		{"signed field changed", strings.Replace(signed, "Tea", "Beer", 1), "fail", "DKIM_FAIL=1", "signature does not match"},
		{"unsigned field added", "X-Scan: yes\r\n" + signed, "pass", "DKIM_PASS=1", ""},
		{"second From: still what was signed, others report it", "From: eve@example.net\r\n" + signed, "pass", "DKIM_PASS=1 DKIM_ADDED_FIELDS=1", ""},
		{"two, both good", sign(t, signed, bySelector("ed")), "pass pass", "DKIM_PASS=1 DKIM_PASS=0", ""},
		{
			"two, one broken: a pass silences the other", sign(t, signed+"-- \r\nlist\r\n", bySelector("ed")),
			"pass fail", "DKIM_PASS=1 DKIM_FAIL=0", "",
		},
		{"two broken count once", sign(t, signed, bySelector("ed")) + "x\r\n", "fail fail", "DKIM_FAIL=1 DKIM_FAIL=0", "body does not match"},
		{
			"twelve", many, strings.Repeat("pass ", 10) + "policy policy",
			"DKIM_PASS=1" + strings.Repeat(" DKIM_PASS=0", 9) + " DKIM_POLICY=0 DKIM_POLICY=0", "",
		},
		{"no key", sign(t, plain, bySelector("gone")), "permerror", "DKIM_PERMERROR=1", "no key"},
		{"revoked key", sign(t, plain, bySelector("revoked")), "permerror", "DKIM_PERMERROR=1", "revoked"},
		{"key unknown for now", sign(t, plain, bySelector("broken")), "temperror", "DKIM_TEMPERROR=1", "could not be asked"},
		{"huge key record", sign(t, plain, bySelector("big")), "permerror", "DKIM_PERMERROR=1", "more than 4096"},
		{"key in test mode", sign(t, plain, bySelector("test")), "pass", "DKIM_PASS=0", ""},
		{"key in test mode, second From", "From: eve@example.net\r\n" + sign(t, plain, bySelector("test")), "pass", "DKIM_PASS=0 DKIM_ADDED_FIELDS=0", ""},
		{"key in test mode, broken", sign(t, plain, bySelector("test")) + "x\r\n", "fail", "DKIM_FAIL=0", "body does not match"},
		{
			"key in test mode silences no other", sign(t, signed+"x\r\n", bySelector("test")),
			"pass fail", "DKIM_PASS=0 DKIM_FAIL=1", "",
		},
		{"key with a tab", sign(t, plain, bySelector("tab")), "pass", "DKIM_PASS=1", ""},
		{
			"body length", partial(t),
			"policy", "DKIM_POLICY=1", "leaves 5 of the body's 10",
		},
		{"expired before it was signed", sign(t, plain, func(o *library.SignOptions) { o.Expiration = time.Unix(1, 0) }), "permerror", "DKIM_PERMERROR=1", "not after"},
		{"no tags", "DKIM-Signature: rubbish\r\n" + plain, "permerror", "DKIM_PERMERROR=1", "a tag without"},
		{"empty field", "DKIM-Signature:\r\n" + plain, "permerror", "DKIM_PERMERROR=1", "an empty tag"},
		{"name with blanks and case", strings.Replace(signed, "DKIM-Signature:", "dkim-SIGNATURE :", 1), "pass", "DKIM_PASS=1", ""},
		{"header only", sign(t, "From: a@example.org\r\n\r\n", func(o *library.SignOptions) { o.HeaderKeys = []string{"From"} }), "pass", "DKIM_PASS=1", ""},
		{"no blank line", "DKIM-Signature: v=1\r\nFrom: a@example.org\r\n", "permerror", "DKIM_PERMERROR=1", "is missing"},
		{"unfinished line", "DKIM-Signature: v=1\r\nFrom: a@example.org", "permerror", "DKIM_PERMERROR=1", "is missing"},
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
				if x.Unknown != strings.HasSuffix(x.Symbol, "_TEMPERROR") {
					t.Errorf("%s: unknown %t", x.Symbol, x.Unknown)
				}
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
		Identity: "ann@example.org", Prefix: b[:8], KeyBits: 2048, Signed: fact[0].Signed, Unsigned: []string{"message-id"},
	}}
	if diff := cmp.Diff(want, fact, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if d := got.Findings[0].Detail; d != "d=example.org s=rsa (rsa-sha256, 2048 bits), not signed: message-id" {
		t.Errorf("detail %q", d)
	}
	if d := time.Since(fact[0].Signed); d < -time.Second || d > time.Minute {
		t.Errorf("signed at %s", fact[0].Signed)
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

// partial signs half of the body.
func partial(t testing.TB) string {
	t.Helper()
	c := mail.NewContent(mail.NewBlob([]byte(plain)), mail.LineFaults{}, mail.Limits{})
	defer c.Release()
	fields := core.NewFields(c.Header().Fields())
	sum := sha256.Sum256([]byte("At fi"))
	tags, err := core.ParseTags("v=1; a=ed25519-sha256; d=example.org; s=ed; h=from; l=5; bh=" + base64.StdEncoding.EncodeToString(sum[:]))
	if err != nil {
		t.Fatal(err)
	}
	field, err := core.Seal("DKIM-Signature", tags, core.Simple, edKey, func(w io.Writer) {
		fields.WriteFields(w, fields.Pick([]string{"from"}, -1).Picked, core.Simple)
	})
	if err != nil {
		t.Fatal(err)
	}
	return field + plain
}

func TestSettings(t *testing.T) {
	with := func(s settings) func(any) error {
		return func(to any) error {
			*to.(*settings) = s
			return nil
		}
	}
	env := filter.Env{Name: "dkim", DNS: fakeDNS{texts: keys()}, Log: slog.New(slog.DiscardHandler)}
	_, f, err := Factory.New(env, with(settings{Signatures: 1, AcceptPartial: true}))
	if err != nil {
		t.Fatal(err)
	}
	got, err := f.Check(t.Context(), input(t, sign(t, partial(t), nil)))
	if err != nil {
		t.Fatal(err)
	}
	if fact, _ := auth.DKIM.Among(got.Facts); said(fact) != "pass policy" {
		t.Errorf("one signature: got %s", said(fact))
	}
	if got, err = f.Check(t.Context(), input(t, partial(t))); err != nil {
		t.Fatal(err)
	}
	if fact, _ := auth.DKIM.Among(got.Facts); said(fact) != "pass" || !fact[0].Limited {
		t.Errorf("l= accepted: got %s, %+v", said(fact), fact)
	}
	if got, err = f.Check(t.Context(), input(t, sign(t, plain, nil))); err != nil {
		t.Fatal(err)
	}
	if fact, _ := auth.DKIM.Among(got.Facts); said(fact) != "pass" || fact[0].Limited {
		t.Errorf("no l=: got %s, %+v", said(fact), fact)
	}
	for _, n := range []int{-1, 0, core.MaxReported + 1} {
		if _, _, err := Factory.New(env, with(settings{Signatures: n})); err == nil {
			t.Errorf("%d signatures are taken", n)
		}
	}
}

// TestLongHeaders: a header of which a part was not read proves nothing, and is not one without signatures.
func TestLongHeaders(t *testing.T) {
	signed := sign(t, plain, bySelector("ed"))
	for name, message := range map[string]string{
		"octets":         signed[:len(signed)-12] + strings.Repeat("X-A: "+strings.Repeat("y", 990)+"\r\n", 2000) + "\r\n",
		"octets before":  strings.Repeat("X-A: "+strings.Repeat("y", 990)+"\r\n", 2000) + signed,
		"fields":         strings.Repeat("A: b\r\n", 5000) + signed,
		"2 MB of folds":  "X-Long: a\r\n" + strings.Repeat(" b\r\n", 500_000) + signed,
		"2000 and more":  strings.Repeat("DKIM-Signature: v=1\r\n", 2001) + plain,
		"names in h= of": "DKIM-Signature: v=1; a=rsa-sha256; d=example.org; s=rsa; bh=aa; b=aa; h=from:" + strings.Repeat("a:", 200_000) + "b\r\n" + plain,
	} {
		t.Run(name, func(t *testing.T) {
			_, f := build(t, fakeDNS{texts: keys()})
			began := time.Now()
			got, err := f.Check(t.Context(), input(t, message))
			if err != nil {
				t.Fatal(err)
			}
			if d := time.Since(began); d > 10*time.Second {
				t.Errorf("took %s", d)
			}
			fact, _ := auth.DKIM.Among(got.Facts)
			if len(fact) < 1 || len(fact) > core.MaxReported || fact[0].Result != auth.Policy || !strings.Contains(fact[0].Reason, "header is longer") {
				t.Errorf("got %+v, want policy", fact)
			}
		})
	}
}

// TestAtTheBounds shows that what is just allowed costs little.
func TestAtTheBounds(t *testing.T) {
	hash := sha256.Sum256([]byte("At five?\r\n")) // right, so that the header is looked at
	one := "DKIM-Signature: v=1; a=ed25519-sha256; d=example.org; s=ed; bh=" +
		base64.StdEncoding.EncodeToString(hash[:]) + "; b=aaaa; h=" + strings.Repeat("x:", 5000) + "from\r\n"
	message := strings.Repeat(one, core.MaxVerified) + "X-Long: a\r\n" + strings.Repeat(" b\r\n", 20_000) +
		strings.Repeat("X: b\r\n", 1900) + plain
	_, f := build(t, fakeDNS{texts: keys()})
	began := time.Now()
	got, err := f.Check(t.Context(), input(t, message))
	if err != nil {
		t.Fatal(err)
	}
	if fact, _ := auth.DKIM.Among(got.Facts); len(fact) != core.MaxVerified || !strings.Contains(fact[0].Reason, "signature does not match") {
		t.Errorf("got %+v, want %d times a signature that does not match", fact, core.MaxVerified)
	}
	if d := time.Since(began); d > 10*time.Second {
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

// TestContentGoesAwayMidway: everything was read before the keys are asked for.
func TestContentGoesAwayMidway(t *testing.T) {
	two := sign(t, sign(t, plain, nil)+strings.Repeat("line\r\n", 100_000), bySelector("ed"))
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
	got, err := f.Check(t.Context(), &filter.Input{Content: c})
	if err != nil {
		t.Fatal(err)
	}
	if fact, _ := auth.DKIM.Among(got.Facts); len(fact) != 2 || fact[0].Result != auth.Pass || fact[1].Result != auth.Fail {
		t.Errorf("got %+v", fact)
	}
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
		"blank lines": strings.Repeat("\r\n", size/2),
		"blanks":      strings.Repeat(" ", size) + "\r\n",
		"blank ends":  strings.Repeat(" \t \t \r\n", size/7),
		"short runs":  strings.Repeat(strings.Repeat("\r\n", 99)+"x", size/199),
		"CRs":         strings.Repeat("\r", size),
		"LFs":         strings.Repeat("\n", size),
		"one line":    strings.Repeat("x", size) + "\r\n",
	} {
		for _, c := range []string{"simple", "relaxed"} {
			t.Run(name+" "+c, func(t *testing.T) {
				field := "DKIM-Signature: v=1; a=ed25519-sha256; c=simple/" + c + "; d=example.org; s=ed; bh=aaaa; b=aaaa; h=from\r\n"
				_, f := build(t, fakeDNS{texts: keys()})
				in := input(t, strings.Repeat(field, core.MaxVerified)+plain+body)
				began := time.Now()
				got, err := f.Check(t.Context(), in)
				if err != nil {
					t.Fatal(err)
				}
				if fact, _ := auth.DKIM.Among(got.Facts); len(fact) != core.MaxVerified || fact[0].Result != auth.Fail {
					t.Errorf("got %+v", fact)
				}
				if d := time.Since(began); d > 10*time.Second {
					t.Errorf("took %s", d)
				}
			})
		}
	}
}
