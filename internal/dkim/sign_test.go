package dkim

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	library "github.com/emersion/go-msgauth/dkim"

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

// records answers TXT from a map: "!" is a server failure, "&" divides records.
type records map[string]string

func (r records) LookupTXT(_ context.Context, name string) ([]string, error) {
	switch text, ok := r[name]; {
	case !ok:
		return nil, &net.DNSError{Err: "no such host", Name: name, Server: "10.9.9.9", IsNotFound: true}
	case text == "!":
		return nil, &net.DNSError{Err: "server misbehaving", Name: name, Server: "10.9.9.9", IsTemporary: true}
	default:
		return strings.Split(text, "&"), nil
	}
}

func record(t testing.TB, public crypto.PublicKey) string {
	t.Helper()
	s, err := Record(public)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// published are the keys that the tests' signatures need.
func published(t testing.TB) records {
	return records{
		"rsa._domainkey.example.org": record(t, rsaKey().Public()),
		"ed._domainkey.example.org":  record(t, edKey.Public()),
	}
}

const plain = "From: Ann <ann@example.org>\r\nTo: bob@example.net\r\nSubject: Tea\r\n" +
	"Date: Mon, 02 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@example.org>\r\n\r\nAt five?\r\n"

func content(t testing.TB, message string) *mail.Content {
	t.Helper()
	c := mail.NewContent(mail.NewBlob([]byte(message)), mail.LineFaults{}, mail.Limits{})
	t.Cleanup(c.Release)
	return c
}

// split reads a message into what Sign and Verify want.
func split(t testing.TB, message string) (*Fields, []byte) {
	t.Helper()
	h := content(t, message).Header()
	return NewFields(h.Fields()), []byte(message[h.Octets():])
}

func signedBy(t testing.TB, message string, signers ...*Signer) string {
	t.Helper()
	fields, body := split(t, message)
	all, err := Sign(fields, bytes.NewReader(body), signers...)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, "") + message
}

func signer(selector string) *Signer {
	s := &Signer{Domain: "example.org", Selector: selector, Key: rsaKey()}
	if selector == "ed" {
		s.Key = edKey
	}
	return s
}

func verified(t testing.TB, message string, r Resolver) []*Check {
	t.Helper()
	fields, body := split(t, message)
	checks, err := Verify(t.Context(), fields, bytes.NewReader(body), Options{Resolver: r})
	if err != nil {
		t.Fatal(err)
	}
	return checks
}

// byLibrary gives the other implementation's word on each signature.
func byLibrary(t testing.TB, message string, r Resolver) []string {
	t.Helper()
	all, err := library.VerifyWithOptions(strings.NewReader(message), &library.VerifyOptions{
		LookupTXT: func(name string) ([]string, error) { return r.LookupTXT(context.Background(), name) },
	})
	if err != nil {
		t.Fatalf("go-msgauth: %v", err)
	}
	var words []string
	for _, v := range all {
		switch {
		case v.Err == nil:
			words = append(words, "pass")
		case library.IsTempFail(v.Err):
			words = append(words, "temperror")
		case library.IsPermFail(v.Err):
			words = append(words, "permerror")
		default:
			words = append(words, "fail")
		}
	}
	return words
}

// randomMessage makes a message that is canonical on the wire and odd in every other way that RFC 5322 allows.
func randomMessage(r *mathrand.Rand) string {
	words := []string{"tea", "at", "five", " ", "  ", "\t", "=?utf-8?q?caf=C3=A9?=", "a;b", "b=c", "x:y", "\u00e9", "!", "~", "\r\n ", "\r\n\t ", " \r\n  "}
	value := func(parts int) string {
		var b strings.Builder
		for range r.IntN(parts) {
			b.WriteString(words[r.IntN(len(words))])
		}
		return "v" + b.String() + "w"
	}
	var b strings.Builder
	names := []string{"Subject", "To", "Date", "X-Other", "subject", "Received", "List-Id", "MIME-Version", "cc", "Reply-To"}
	from := r.IntN(4)
	for i := range 5 + r.IntN(5) {
		if i == from {
			fmt.Fprintf(&b, "From: %s <a@example.org>\r\n", value(4))
		}
		fmt.Fprintf(&b, "%s:%s%s\r\n", names[r.IntN(len(names))], []string{"", " ", "\t", "  "}[r.IntN(4)], value(8))
	}
	b.WriteString("\r\n")
	lines := []string{"", " ", "\t", "text", " text", "text ", "two  blanks", "a\tb ", ".", "..", strings.Repeat("long ", 30), "\u00fc"}
	for range r.IntN(12) {
		b.WriteString(lines[r.IntN(len(lines))] + "\r\n")
	}
	return b.String()
}

// TestBothWays signs here and verifies with go-msgauth, and the other way round: all canonicalisations, both algorithms.
func TestBothWays(t *testing.T) {
	r := mathrand.New(mathrand.NewPCG(3, 4))
	keys := published(t)
	for i := range 400 {
		message := randomMessage(r)
		canons := []string{"simple/simple", "simple/relaxed", "relaxed/simple", "relaxed/relaxed"}[i%4]
		selector := []string{"ed", "ed", "ed", "ed", "rsa"}[i%5]
		s := signer(selector)
		s.Canons = canons
		ours := signedBy(t, message, s)
		if got := strings.Join(byLibrary(t, ours, keys), " "); got != "pass" {
			t.Errorf("%d: %s %s: go-msgauth says %s of ours:\n%q", i, selector, canons, got, ours)
		}
		if got := verified(t, ours, keys); len(got) != 1 || got[0].Result != Pass {
			t.Errorf("%d: %s %s: of our own: %+v\n%q", i, selector, canons, got[0], ours)
		}
		h, b, _ := strings.Cut(canons, "/")
		var theirs bytes.Buffer
		err := library.Sign(&theirs, strings.NewReader(message), &library.SignOptions{
			Domain: "example.org", Selector: selector, Signer: s.Key, Hash: crypto.SHA256,
			HeaderCanonicalization: library.Canonicalization(h), BodyCanonicalization: library.Canonicalization(b),
			HeaderKeys: []string{"From", "Subject", "Subject", "To", "X-Other", "List-Id", "Received", "cc"},
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := verified(t, theirs.String(), keys); len(got) != 1 || got[0].Result != Pass {
			t.Errorf("%d: %s %s: of theirs: %+v\n%q", i, selector, canons, got[0], theirs.String())
		}
		// One octet changed is a failure, or is no change to a canonical form; both sides say the same.
		broken := []byte(ours)
		at := len(broken) - 1 - r.IntN(len(message))
		if ch := broken[at]; ch == '\r' || ch == '\n' || ch == ':' {
			continue
		}
		broken[at] = "x \t"[r.IntN(3)]
		got, want := verified(t, string(broken), keys), byLibrary(t, string(broken), keys)
		if len(got) != 1 || len(want) != 1 || string(got[0].Result) != want[0] {
			t.Errorf("%d: %s %s: broken at %d: %+v, go-msgauth says %v\n%q", i, selector, canons, at, got[0], want, broken)
		}
	}
}

func TestSignedField(t *testing.T) {
	at := time.Date(2026, 11, 2, 10, 0, 0, 0, time.UTC)
	long := "List-Id: <a.example.org>\r\nCc: c@example.net\r\nReceived: from a\r\n" + plain
	for name, c := range map[string]struct {
		change func(*Signer)
		want   []string
	}{
		"default":       {nil, []string{"v=1;", "a=rsa-sha256;", "c=relaxed/relaxed;", "d=example.org;", "s=rsa;", "t=1793613600;"}},
		"expiry":        {func(s *Signer) { s.Lifetime = time.Hour }, []string{"t=1793613600;", "x=1793617200;"}},
		"identity":      {func(s *Signer) { s.Identity = "ann@mail.example.org" }, []string{"i=ann@mail.example.org;"}},
		"names":         {func(s *Signer) { s.Names = []string{"From", "Subject", "Subject"} }, []string{"h=From:Subject:Subject;"}},
		"a long domain": {func(s *Signer) { s.Selector = strings.Repeat("a", 60) + "." + strings.Repeat("b", 60) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := signer("rsa")
			s.Now = func() time.Time { return at }
			if c.change != nil {
				c.change(s)
			}
			message := signedBy(t, long, s)
			field := strings.TrimSuffix(message, long)
			for line := range strings.Lines(field) {
				if len(strings.TrimRight(line, "\r\n")) > 78 && !strings.Contains(line, strings.Repeat("b", 60)) {
					t.Errorf("a line of %d octets: %q", len(line), line)
				}
			}
			for _, w := range c.want {
				if !strings.Contains(field, w) {
					t.Errorf("no %s in\n%s", w, field)
				}
			}
			got := verified(t, message, records{s.Selector + "._domainkey.example.org": record(t, rsaKey().Public())})
			if len(got) != 1 || got[0].Result != Pass && name != "expiry" {
				t.Errorf("got %+v", got[0])
			}
		})
	}
}

func TestOverSigning(t *testing.T) {
	keys := published(t)
	message := signedBy(t, "List-Id: <a.example.org>\r\n"+plain, signer("ed"))
	got := verified(t, message, keys)[0]
	over := strings.Join(got.OverSigned, " ")
	for _, name := range []string{"from", "subject", "date", "to", "cc", "reply-to", "content-type", "mime-version"} {
		if !strings.Contains(" "+over+" ", " "+name+" ") {
			t.Errorf("%s is not over-signed: %s", name, over)
		}
	}
	if strings.Contains(over, "list-id") {
		t.Errorf("list-id is over-signed")
	}
	for _, added := range []string{"From: Eve <eve@example.com>\r\n", "Subject: Pay\r\n", "Reply-To: eve@example.com\r\n", "Content-Type: text/html\r\n"} {
		if got := verified(t, added+message, keys)[0]; got.Result != Fail {
			t.Errorf("with %q added: %s", added, got.Result)
		}
	}
	// What others may add does not break it.
	for _, added := range []string{"List-Unsubscribe: <mailto:x@example.com>\r\n", "Received: from b\r\n", "DKIM-Signature: v=1; x\r\n"} {
		all := verified(t, added+message, keys)
		if got := all[len(all)-1]; got.Result != Pass {
			t.Errorf("with %q added: %s (%s)", added, got.Result, got.Reason)
		}
	}
}

func TestSignRefuses(t *testing.T) {
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		message string
		change  func(*Signer)
	}{
		"no From":                 {"To: b@example.net\r\n\r\n", nil},
		"From not named":          {plain, func(s *Signer) { s.Names = []string{"To"} }},
		"a name that is none":     {plain, func(s *Signer) { s.Names = []string{"From", "a;b"} }},
		"a domain with a list in": {plain, func(s *Signer) { s.Domain = "a; b=c" }},
		"a selector with a line":  {plain, func(s *Signer) { s.Selector = "a\r\n b" }},
		"unknown canons":          {plain, func(s *Signer) { s.Canons = "nofws" }},
		"no key":                  {plain, func(s *Signer) { s.Key = nil }},
	} {
		s := signer("rsa")
		if c.change != nil {
			c.change(s)
		}
		fields, body := split(t, c.message)
		if got, err := Sign(fields, bytes.NewReader(body), s); err == nil {
			t.Errorf("%s: signed as %q", name, got)
		}
	}
	s := signer("rsa")
	s.Key = small
	fields, body := split(t, plain)
	if _, err := Sign(fields, bytes.NewReader(body), s); err != nil {
		t.Errorf("1024 bits: %v", err)
	}
}

// weakKey makes an RSA key that nobody may use any more.
func weakKey(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	t.Setenv("GODEBUG", "rsa1024min=0")
	k, err := rsa.GenerateKey(rand.Reader, 768)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestLongKey: RFC 8301 3.2 has no verifier take more than 4096 bits.
func TestLongKey(t *testing.T) {
	for bits, warn := range map[uint]bool{2048: false, 4096: false, 4097: true} {
		k, err := newPrivateKey(&rsa.PrivateKey{PublicKey: rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), bits-1), E: 65537}})
		if err != nil || (k.Warning != "") != warn {
			t.Errorf("%d bits: %+v, %v", bits, k, err)
		}
	}
}

func TestLoadPrivateKey(t *testing.T) {
	pkcs8 := func(key any) []byte {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	}
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	pkcs1 := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rsaKey())})
	for name, c := range map[string]struct {
		text []byte
		want string
		warn bool
	}{
		"RSA in PKCS#1":     {pkcs1, "rsa 2048", false},
		"RSA in PKCS#8":     {pkcs8(rsaKey()), "rsa 2048", false},
		"Ed25519":           {pkcs8(edKey), "ed25519 256", false},
		"short RSA":         {pkcs8(small), "rsa 1024", true},
		"behind other text": {append([]byte("hello\n-----BEGIN X-----\nAAAA\n-----END X-----\n"), pkcs1...), "rsa 2048", false},
		"too short RSA":     {pkcs8(weakKey(t)), "", false},
		"nothing":           {nil, "", false},
		"malformed":         {[]byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), "", false},
		"encrypted":         {[]byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"), "", false},
	} {
		k, err := LoadPrivateKey(c.text)
		got := ""
		if err == nil {
			got = fmt.Sprintf("%s %d", k.Type, k.Bits)
		}
		if got != c.want || err == nil && (k.Warning != "") != c.warn {
			t.Errorf("%s: got %q, %v; want %q", name, got, err, c.want)
		}
		if err == nil {
			if _, err := ParseKey(record(t, k.Public())); err != nil {
				t.Errorf("%s: the record: %v", name, err)
			}
		}
	}
}
