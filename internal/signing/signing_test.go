package signing

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	msgauth "github.com/emersion/go-msgauth/dkim"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/internal/dkim"
	"github.com/postern-mail/postern/mail"
)

var rsaKey = sync.OnceValue(func() crypto.Signer {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

var edKey = sync.OnceValue(func() crypto.Signer {
	_, k, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	return k
})

// zone is a DNS that has the records of keys.
type zone map[string]string

func (z zone) LookupTXT(_ context.Context, name string) ([]string, error) {
	if r, ok := z[name]; ok {
		return []string{r}, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

func publish(t testing.TB, keys ...Key) zone {
	z := zone{}
	for _, k := range keys {
		r, err := dkim.Record(k.Private.Public())
		if err != nil {
			t.Fatal(err)
		}
		z[k.Selector+"._domainkey."+k.Domain] = r
	}
	return z
}

func input(relay bool, facts ...filter.Fact) *filter.Input {
	in := &filter.Input{Session: &filter.Session{Relay: relay}, Transaction: &filter.Transaction{}}
	in.Transaction.Record(facts...)
	return in
}

// leave signs a message, and gives it as it leaves.
func leave(t testing.TB, s *Signer, in *filter.Input, content string) (left, note string) {
	t.Helper()
	m := mail.NewMessage(mail.NewBlob([]byte(content)))
	defer m.Release()
	top, note, err := s.Sign(t.Context(), in, m)
	if err != nil {
		t.Fatal(err)
	}
	return string(top) + content, note
}

// results gives what each signature of a message is worth: by our verifier, and by the other one.
func results(t testing.TB, z zone, content string) (ours, theirs []string) {
	t.Helper()
	c := mail.NewContent(mail.NewBlob([]byte(content)), mail.LineFaults{}, mail.Limits{})
	defer c.Release()
	material, err := dkim.MaterialOf(c)
	if err != nil {
		t.Fatal(err)
	}
	body := mail.NewMessage(c.Blob())
	defer body.Release()
	checks, err := dkim.Verify(t.Context(), material.Fields, body.Tail(c.Header().Octets()), dkim.Options{Resolver: z})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range checks {
		ours = append(ours, c.Domain+"/"+c.Selector+" "+string(c.Result))
	}
	all, err := msgauth.VerifyWithOptions(strings.NewReader(content), &msgauth.VerifyOptions{
		LookupTXT: func(name string) ([]string, error) { return z.LookupTXT(t.Context(), name) },
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range all {
		word := "pass"
		if v.Err != nil {
			word = "fail"
		}
		theirs = append(theirs, v.Domain+" "+word)
	}
	return ours, theirs
}

func TestSign(t *testing.T) {
	keys := []Key{
		{Domain: "example.org", Selector: "s1", Private: rsaKey()},
		{Domain: "example.org", Selector: "s2", Private: edKey()},
		{Domain: "example.net", Selector: "n1", Private: edKey(), Subdomains: true},
		{Domain: "own.example.net", Selector: "o1", Private: edKey()},
		{Domain: "xn--bcher-kva.example", Selector: "b1", Private: edKey()},
	}
	s, err := New(Options{Keys: keys, Oversign: []string{"Subject", "to"}})
	if err != nil {
		t.Fatal(err)
	}
	z := publish(t, keys...)
	const rest = "To: b@elsewhere.test\r\nSubject: one\r\n two\r\nDate: Mon, 1 Jun 2026 10:00:00 +0000\r\n\r\nbody  text \r\n\r\n\r\n"
	for _, tt := range []struct {
		name, header string
		want         []string
		note         string
	}{
		{"every key of the domain", "From: Ann <ann@Example.ORG>\r\n", []string{"example.org/s1", "example.org/s2"}, ""},
		{"subdomain", "From: ann@a.b.example.net\r\n", []string{"example.net/n1"}, ""},
		{"subdomain with a key of its own", "From: ann@own.example.net\r\n", []string{"own.example.net/o1"}, ""},
		{"subdomain of one with a key for itself", "From: ann@a.own.example.net\r\n", []string{"example.net/n1"}, ""},
		{"subdomain without a key", "From: ann@a.example.org\r\n", nil, "not signed: no key for a.example.org"},
		{"no key", "From: ann@notexample.net\r\n", nil, "not signed: no key for notexample.net"},
		{"IDN", "From: ann@bücher.example\r\n", []string{"xn--bcher-kva.example/b1"}, ""},
		{"another address in the name", "From: \"ceo@elsewhere.test\" <ann@example.net>\r\n", []string{"example.net/n1"}, ""},
		{"two authors of one domain", "From: ann@example.net, bob@Example.NET\r\n", []string{"example.net/n1"}, ""},
		{"no From", "", nil, "not signed: no one author's domain (no-from)"},
		{"two From", "From: ann@example.org\r\nfrom: bob@example.org\r\n", nil, "not signed: no one author's domain (several-from)"},
		{"two authors", "From: ann@example.org, bob@example.net\r\n", nil, "not signed: no one author's domain (several-domains)"},
		{"nobody", "From: undisclosed:;\r\n", nil, "not signed: no one author's domain ("},
		{"no domain", "From: ann\r\n", nil, "not signed: no one author's domain (no-domain)"},
		{"two readings", "From: <ann@example.org> <bob@example.net>\r\n", nil, "not signed: no one author's domain ("},
		{"a line that is no field", "From: ann@example.org\r\nnonsense\r\n", nil, "not signed: a line in the header that is no field"},
		{"an mbox line", "From ann Mon Jun  1 10:00:00 2026\r\nFrom: ann@example.org\r\n", nil, "not signed: a line in the header that is no field"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			left, note := leave(t, s, input(true), tt.header+rest)
			if tt.want == nil {
				if left != tt.header+rest || !strings.HasPrefix(note, tt.note) {
					t.Fatalf("note %q, left\n%s", note, left)
				}
				return
			}
			if want := "dkim " + strings.Join(tt.want, " "); note != want {
				t.Errorf("note %q, want %q", note, want)
			}
			var wantOurs, wantTheirs []string
			for _, w := range tt.want {
				wantOurs = append(wantOurs, w+" pass")
				wantTheirs = append(wantTheirs, w[:strings.IndexByte(w, '/')]+" pass")
			}
			ours, theirs := results(t, z, left)
			if !slices.Equal(ours, wantOurs) || !slices.Equal(theirs, wantTheirs) {
				t.Errorf("ours %q, theirs %q\n%s", ours, theirs, left)
			}
		})
	}
}

// Nobody adds a field that is over-signed, changes one that is there, or the body; other fields may be added.
func TestOversigned(t *testing.T) {
	key := Key{Domain: "example.org", Selector: "s1", Private: edKey()}
	s, err := New(Options{Keys: []Key{key}, Oversign: []string{"subject", "Reply-To", "X-Own"}})
	if err != nil {
		t.Fatal(err)
	}
	left, _ := leave(t, s, input(true), "Sender: x@example.org\r\nFrom: ann@example.org\r\nSubject: one\r\n\r\nbody\r\n")
	z := publish(t, key)
	for name, c := range map[string]struct {
		changed string
		pass    bool
	}{
		"as it left":      {left, true},
		"another From":    {"From: evil@example.net\r\n" + left, false},
		"another Subject": {"Subject: evil\r\n" + left, false},
		"a Reply-To":      {"Reply-To: evil@example.net\r\n" + left, false},
		"a field of ours": {"X-Own: evil\r\n" + left, false},
		"a Sender":        {"Sender: list@example.net\r\n" + left, true}, // as lists do
		"no Sender":       {strings.Replace(left, "Sender: x@example.org\r\n", "", 1), false},
		"a Received":      {"Received: from a\r\n" + left, true},
		"more body":       {left + "more\r\n", false},
	} {
		ours, theirs := results(t, z, c.changed)
		if pass := slices.Equal(ours, []string{"example.org/s1 pass"}); pass != c.pass || pass != slices.Equal(theirs, []string{"example.org pass"}) {
			t.Errorf("%s: ours %q, theirs %q", name, ours, theirs)
		}
	}
}

func TestExpire(t *testing.T) {
	now := time.Date(2026, 6, 1, 10, 0, 0, 0, time.UTC)
	key := Key{Domain: "example.org", Selector: "s1", Private: edKey()}
	for lifetime, want := range map[time.Duration]bool{0: false, time.Hour: true} {
		s, err := New(Options{Keys: []Key{key}, Expire: lifetime, Now: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		left, _ := leave(t, s, input(true), "From: ann@example.org\r\n\r\nbody\r\n")
		if !strings.Contains(left, "t=1780308000;") || strings.Contains(left, "x=1780311600;") != want {
			t.Errorf("expire %v:\n%s", lifetime, left)
		}
	}
}

// brokenKey can't sign.
type brokenKey struct{ crypto.Signer }

var errBroken = errors.New("key is broken")

func (brokenKey) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return nil, errBroken }

// A signature that is due and can't be made is an error: also where another key could.
func TestSignErrors(t *testing.T) {
	good := Key{Domain: "example.org", Selector: "s1", Private: edKey()}
	bad := Key{Domain: "example.org", Selector: "s2", Private: brokenKey{edKey()}}
	s, err := New(Options{Keys: []Key{good, bad}})
	if err != nil {
		t.Fatal(err)
	}
	m := mail.NewMessage(mail.NewBlob([]byte("From: ann@example.org\r\n\r\nbody\r\n")))
	if top, note, err := s.Sign(t.Context(), input(true), m); !errors.Is(err, errBroken) || top != nil || note != "" {
		t.Errorf("%q, %q, %v", top, note, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := s.Sign(ended, input(true), m); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end: %v", err)
	}
	m.Release()
	if _, _, err := s.Sign(t.Context(), input(true), m); !errors.Is(err, mail.ErrReleased) {
		t.Errorf("a released message: %v", err)
	}
	for _, o := range []Options{{Keys: []Key{{Domain: "a.example", Selector: "s"}}}, {Seal: &Key{Domain: "a.example", Selector: "s"}}} {
		if _, err := New(o); err == nil {
			t.Errorf("%+v: a key that is missing is taken", o)
		}
	}
}

// BenchmarkSign is what signing adds to the delivery of a message of 1 MB.
func BenchmarkSign(b *testing.B) {
	r, e := Key{Domain: "example.org", Selector: "s1", Private: rsaKey()}, Key{Domain: "example.org", Selector: "s2", Private: edKey()}
	b.Run("rsa", func(b *testing.B) { benchmark(b, Options{Keys: []Key{r}}, input(true)) })
	b.Run("ed25519", func(b *testing.B) { benchmark(b, Options{Keys: []Key{e}}, input(true)) })
	b.Run("both", func(b *testing.B) { benchmark(b, Options{Keys: []Key{r, e}}, input(true)) })
}

func benchmark(b *testing.B, o Options, in *filter.Input) {
	const line = "The quick brown fox jumps over the lazy dog, and the dog does not mind it at all.\r\n"
	content := "Authentication-Results: mx; none\r\nFrom: ann@example.org\r\nTo: b@elsewhere.test\r\nSubject: x\r\n\r\n" + strings.Repeat(line, 1<<20/len(line))
	s, err := New(o)
	if err != nil {
		b.Fatal(err)
	}
	m := mail.NewMessage(mail.NewBlob([]byte(content)))
	defer m.Release()
	b.SetBytes(m.Size())
	b.ReportAllocs()
	for b.Loop() {
		top, _, err := s.Sign(b.Context(), in, m)
		if err != nil || !bytes.Contains(top, []byte("b=")) {
			b.Fatal(err)
		}
	}
}
