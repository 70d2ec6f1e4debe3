package arc

import (
	"crypto/ed25519"
	"crypto/sha256"
	"strings"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/dkim"
	"github.com/postern-mail/postern/mail"
)

// material reads a message as it came.
func material(t testing.TB, message string) *dkim.Material {
	t.Helper()
	c := mail.NewContent(mail.NewBlob([]byte(message)), mail.LineFaults{}, mail.Limits{HeaderOctets: 8 << 20, Fields: 100_000})
	t.Cleanup(c.Release)
	m, err := dkim.MaterialOf(c)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func validate(t testing.TB, message string, r dkim.Resolver) *Chain {
	t.Helper()
	now := func() time.Time { return clock }
	chain, err := Validate(t.Context(), material(t, message), Options{Resolver: r, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return chain
}

// hashed has the body hash that a Sealer needs.
func hashed(t testing.TB, message string) *dkim.Bodies {
	t.Helper()
	c := mail.NewContent(mail.NewBlob([]byte(message)), mail.LineFaults{}, mail.Limits{HeaderOctets: 8 << 20, Fields: 100_000})
	defer c.Release()
	b := &dkim.Bodies{}
	(&Sealer{}).Want(b)
	if err := b.Hash(dkim.Body(c.Blob(), c.Header().Octets(), c.Blob().Size())); err != nil {
		t.Fatal(err)
	}
	return b
}

var clock = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

const plain = "From: Ann <ann@example.com>\r\nTo: list@lists.example\r\nSubject: Tea\r\n" +
	"Date: Sun, 01 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@example.com>\r\n\r\nAt five?\r\n"

// keyOf gives the key of a domain: always the same one.
func keyOf(domain string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(domain))
	return ed25519.NewKeyFromSeed(seed[:])
}

// keyRecords has the keys of domains, at the selector "s".
func keyRecords(domains ...string) records {
	r := records{}
	for _, d := range domains {
		text, err := dkim.Record(keyOf(d).Public())
		if err != nil {
			panic(err)
		}
		r["s._domainkey."+d] = text
	}
	return r
}

func sealerOf(domain string) *Sealer {
	return &Sealer{Domain: domain, Selector: "s", Key: keyOf(domain), Now: func() time.Time { return clock }}
}

// seal puts a set on top of a message.
func seal(t testing.TB, message string, s *Sealer, came Status, results string) string {
	t.Helper()
	set, err := s.Seal(material(t, message).Fields, hashed(t, message), came, results)
	if err != nil {
		t.Fatal(err)
	}
	return put(set, message)
}

func put(set []mail.AddField, message string) string {
	var b strings.Builder
	for _, f := range set {
		b.WriteString(raw(f))
	}
	return b.String() + message
}

// chained gives a message with n sets.
func chained(t testing.TB, message string, n int, domains ...string) string {
	t.Helper()
	for i := range n {
		d := domains[i%len(domains)]
		came := Pass
		if i == 0 {
			came = None
		}
		message = seal(t, message, sealerOf(d), came, "mx."+d+"; dmarc=pass header.from=example.com")
	}
	return message
}

// resealed gives the body of a first seal over changed fields of its set.
func resealed(s *Sealer, results []mail.AddField, signature mail.AddField, cv Status) (string, error) {
	h := sha256.New()
	write(h, raw(results[0]))
	write(h, raw(signature))
	f, err := s.finish(h, fieldSeal, layout{
		{{"a", "ed25519-sha256"}}, {{"b", ""}}, {{"cv", string(cv)}, {"d", s.Domain}}, {{"i", "1"}, {"s", s.Selector}},
	})
	return f.Body, err
}
