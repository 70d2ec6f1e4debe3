package dkim

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestParseKey(t *testing.T) {
	good, ed := record(t, rsaKey().Public()), record(t, edKey.Public())
	p := strings.TrimPrefix(good, "v=DKIM1; k=rsa; p=")
	bare := base64.StdEncoding.EncodeToString(x509.MarshalPKCS1PublicKey(&rsaKey().PublicKey))
	huge := record(t, &rsa.PublicKey{N: new(big.Int).Add(new(big.Int).Lsh(big.NewInt(1), 8200), big.NewInt(1)), E: 65537})
	for name, c := range map[string]struct{ record, want string }{
		"RSA":                        {good, "rsa 2048"},
		"Ed25519":                    {ed, "ed25519 256"},
		"bare PKCS#1":                {"v=DKIM1; p=" + bare, "rsa 2048"},
		"only p=":                    {"p=" + p, "rsa 2048"},
		"a tab and blanks in p=":     {"p=" + p[:20] + "\t" + p[20:40] + "  " + p[40:60] + "\r\n " + p[60:], "rsa 2048"},
		"no padding":                 {"p=" + strings.TrimRight(p, "="), "rsa 2048"},
		"unknown tags":               {"p=" + p + "; zz=1; g=nobody; n=a note", "rsa 2048"},
		"testing":                    {"t=y; p=" + p, "rsa 2048 testing"},
		"strict and testing":         {"t=s : y : other; p=" + p, "rsa 2048 testing strict"},
		"for email":                  {"s=other:email; p=" + p, "rsa 2048"},
		"for all":                    {"s=*; p=" + p, "rsa 2048"},
		"h= of both":                 {"h=sha1:sha256; p=" + p, "rsa 2048"},
		"for another service":        {"s=other; p=" + p, "not for email"},
		"h= of sha1":                 {"h=sha1; p=" + p, "not for SHA-256"},
		"revoked":                    {"v=DKIM1; p=", "revoked"},
		"no p=":                      {"v=DKIM1; k=rsa", "no p="},
		"version 2":                  {"v=DKIM2; p=" + p, "version"},
		"version not first":          {"p=" + p + "; v=DKIM1", "version"},
		"SPF":                        {"v=spf1 -all", "version"},
		"unknown type":               {"k=dsa; p=" + p, "unknown type"},
		"RSA as Ed25519":             {"k=ed25519; p=" + p, "no Ed25519 key"},
		"Ed25519 as RSA":             {strings.Replace(ed, "k=ed25519", "k=rsa", 1), "no RSA key"},
		"no base64":                  {"p=!!!", "no base64"},
		"base64 of nothing":          {"p====", "no base64"},
		"p= twice":                   {"p=" + p + "; p=" + p, "twice"},
		"empty":                      {"", "empty"},
		"quotes":                     {`""`, "tag"},
		"more than 8192 bits":        {huge, "more than 8192"},
		"768 bits":                   {record(t, weakKey(t).Public()), "less than 1024"},
		"more octets than we take":   {"n=" + strings.Repeat("a", MaxKeyRecord) + "; p=" + p, "octets"},
		"SubjectPublicKeyInfo of Ed": {"p=MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=", "no RSA key"},
	} {
		k, err := ParseKey(c.record)
		got := ""
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Result != PermError {
				t.Errorf("%s: the error is %v", name, err)
			}
			if got = err.Error(); strings.Contains(got, c.want) {
				got = c.want
			}
		} else {
			got = k.Type + " " + big.NewInt(int64(k.Bits)).String()
			if k.Testing {
				got += " testing"
			}
			if k.Strict {
				got += " strict"
			}
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

func TestFetchKey(t *testing.T) {
	good, ed := record(t, rsaKey().Public()), record(t, edKey.Public())
	for name, c := range map[string]struct {
		texts string
		want  string // the type of the key, or words of the reason
		kind  Result
	}{
		"one":               {good, "rsa", ""},
		"with an SPF":       {"v=spf1 -all&" + good + "&hello", "rsa", ""},
		"two keys":          {good + "&" + ed, "more than one", PermError},
		"the same twice":    {good + "&" + good, "more than one", PermError},
		"a revoked one too": {"v=DKIM1; p=&" + good, "rsa", ""},
		"an SPF only":       {"v=spf1 -all", "version", PermError},
		"revoked":           {"v=DKIM1; p=", "revoked", PermError},
		"failure":           {"!", "could not be asked", TempError},
		"nothing":           {"", "no key", PermError},
		"many":              {strings.Repeat("x&", 30) + good, "more than one", PermError},
	} {
		r := records{"s._domainkey.example.org": c.texts}
		if c.texts == "" {
			r = records{}
		}
		k, err := FetchKey(t.Context(), r, "s", "example.org")
		if c.kind == "" {
			if err != nil || k.Type != c.want {
				t.Errorf("%s: got %+v, %v", name, k, err)
			}
			continue
		}
		var e *Error
		if !errors.As(err, &e) || e.Result != c.kind || !strings.Contains(e.Reason, c.want) {
			t.Errorf("%s: got %v, want %s with %q", name, err, c.kind, c.want)
		}
		if strings.Contains(e.Reason, "10.9.9.9") {
			t.Errorf("%s: the reason names our resolver: %s", name, e.Reason)
		}
	}
}

// silent answers nothing before its context ends.
type silent struct{}

func (silent) LookupTXT(ctx context.Context, _ string) ([]string, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestKeysHaveABudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := NewKeys(silent{}, 3*time.Second)
		began := time.Now()
		var all []*Signature
		for _, s := range "abcdefghijklmnopqrstuvwxyz" {
			all = append(all, &Signature{Selector: string(s), Domain: "example.org"})
		}
		k.Fetch(t.Context(), all...)
		if d := time.Since(began); d != 3*time.Second {
			t.Errorf("took %s", d)
		}
		for _, s := range all {
			var e *Error
			if _, err := k.Get(s); !errors.As(err, &e) || e.Result != TempError {
				t.Errorf("%s: got %v", s.Selector, err)
			}
		}
	})
}

type panicking struct{}

func (panicking) LookupTXT(context.Context, string) ([]string, error) { panic("oh") }

func TestPanicOfAResolverIsTheCallers(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic arrived")
		}
	}()
	NewKeys(panicking{}, 0).Fetch(t.Context(), &Signature{Selector: "a", Domain: "example.org"})
}

func TestKeyVerify(t *testing.T) {
	k, err := ParseKey(record(t, edKey.Public()))
	if err != nil {
		t.Fatal(err)
	}
	digest := make([]byte, 32)
	good, err := edKey.Sign(nil, digest, crypto.Hash(0))
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Verify("ed25519-sha256", digest, good); err != nil {
		t.Error(err)
	}
	for name, c := range map[string]struct {
		algorithm string
		signature []byte
		want      Result
	}{
		"a short one":       {"ed25519-sha256", good[:63], Fail},
		"none":              {"ed25519-sha256", nil, Fail},
		"another algorithm": {"rsa-sha256", good, PermError},
	} {
		var e *Error
		if err := k.Verify(c.algorithm, digest, c.signature); !errors.As(err, &e) || e.Result != c.want {
			t.Errorf("%s: got %v, want %s", name, err, c.want)
		}
	}
}

func TestKeyMatches(t *testing.T) {
	pair, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	_, other, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]crypto.Signer{"RSA": rsaKey(), "another RSA": pair, "Ed25519": edKey, "another Ed25519": other}
	for of, published := range all {
		k, err := ParseKey(record(t, published.Public()))
		if err != nil {
			t.Fatal(err)
		}
		digest := sha256.Sum256([]byte("x"))
		for name, private := range all {
			if got := k.Matches(private.Public()); got != (of == name) {
				t.Errorf("the record of %s is that of %s: %v", of, name, got)
			}
			// What matches is what verifies.
			algorithm, err := Algorithm(private)
			if err != nil {
				t.Fatal(err)
			}
			signature, err := SignDigest(private, digest[:])
			if err != nil {
				t.Fatal(err)
			}
			if verifies := k.Verify(algorithm, digest[:], signature) == nil; verifies != (of == name) {
				t.Errorf("the record of %s verifies %s: %v", of, name, verifies)
			}
		}
	}
}

func FuzzKey(f *testing.F) {
	f.Add(record(f, rsaKey().Public()))
	f.Add(record(f, edKey.Public()))
	f.Add("v=DKIM1; k=rsa; h=sha256; s=email; t=y:s; n=note; p=MIGf\tMA0 GCSq")
	f.Add("p=")
	f.Fuzz(func(t *testing.T, text string) {
		k, err := ParseKey(text)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Reason == "" {
				t.Fatalf("the error is %v", err)
			}
			return
		}
		if k.Bits != 256 && (k.Bits < minRSA || k.Bits > maxRSA) {
			t.Fatalf("%d bits", k.Bits)
		}
		if err := k.Verify(k.Type+"-sha256", make([]byte, 32), []byte("x")); err == nil {
			t.Fatal("anything verifies")
		}
	})
}

// With a key of small order signatures can be made up. Each of those refused is one: a signature without any secret
// verifies for some of many digests.
func TestSmallOrder(t *testing.T) {
	zero := strings.Repeat("00", 32)
	for _, y := range []string{
		zero, "01" + zero[2:], "ec" + strings.Repeat("ff", 30) + "7f", "ed" + strings.Repeat("ff", 30) + "7f", "ee" + strings.Repeat("ff", 30) + "7f",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
	} {
		for _, sign := range []byte{0, 0x80} {
			key, err := hex.DecodeString(y)
			if err != nil {
				t.Fatal(err)
			}
			key[31] |= sign
			forged := 0
			for i := range 256 {
				digest := sha256.Sum256([]byte{byte(i)})
				// R is the neutral element, S is 0: it fits where the challenge takes the key there, too.
				if ed25519.Verify(key, digest[:], append([]byte{1}, make([]byte, 63)...)) {
					forged++
				}
			}
			_, err = ParseKey("k=ed25519; p=" + base64.StdEncoding.EncodeToString(key))
			var e *Error
			if !errors.As(err, &e) || e.Result != PermError {
				t.Errorf("%x: %v, and %d signatures of 256 were made up", key, err, forged)
			}
			if forged == 0 {
				t.Errorf("%x is a key like others", key)
			}
		}
	}
}

// TestKeysAreReadOnce: a record that was read gives the same key again, one that can't be used is not kept, and what is
// kept has a bound.
func TestKeysAreReadOnce(t *testing.T) {
	good := published(t)["ed._domainkey.example.org"]
	var p parsed
	first, err := p.parse(good)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := p.parse(good); again != first || err != nil {
		t.Errorf("read twice: %v", err)
	}
	if _, err := p.parse("v=DKIM1; p="); err == nil || len(p.keys) != 1 {
		t.Errorf("keeps %d keys, of a revoked one: %v", len(p.keys), err)
	}
	for i := range 2 * maxParsed {
		if _, err := p.parse(fmt.Sprintf("%s; n=%d", good, i)); err != nil {
			t.Fatal(err)
		}
		if len(p.keys) > maxParsed {
			t.Fatalf("keeps %d keys", len(p.keys))
		}
	}
}
