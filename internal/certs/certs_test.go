package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// maker makes certificates for tests.
type maker struct {
	serial   int64
	names    []string
	notAfter time.Time
	key      crypto.Signer
	issuer   *made // nil: signs itself
	ca       bool
	url      string // where the issuer's certificate is to be had
}

// made is a certificate in its files' forms.
type made struct {
	x         *x509.Certificate
	signer    crypto.Signer
	cert, key []byte // PEM
}

func issue(t testing.TB, m maker) *made {
	t.Helper()
	if m.key == nil {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		m.key = k
	}
	if m.notAfter.IsZero() {
		m.notAfter = time.Now().Add(90 * 24 * time.Hour)
	}
	if len(m.names) == 0 {
		m.names = []string{"mx.example.org"}
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(m.serial + 1), Subject: pkix.Name{CommonName: m.names[0]}, DNSNames: m.names,
		NotBefore: time.Now().Add(-100 * 24 * time.Hour), NotAfter: m.notAfter, IsCA: m.ca, BasicConstraintsValid: true,
	}
	if m.url != "" {
		template.IssuingCertificateURL = []string{m.url}
	}
	parent, signer := template, m.key
	if m.issuer != nil {
		parent, signer = m.issuer.x, m.issuer.signer
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, m.key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	x, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(m.key)
	if err != nil {
		t.Fatal(err)
	}
	return &made{
		x: x, signer: m.key,
		cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		key:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
	}
}

func write(t testing.TB, path string, data []byte) string {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestRead reads pairs that are good, and pairs that are not.
func TestRead(t *testing.T) {
	root := issue(t, maker{names: []string{"root"}, ca: true})
	a, b := issue(t, maker{issuer: root}), issue(t, maker{})
	chain := slices.Concat(a.cert, root.cert)
	locked := pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")})
	old := pem.EncodeToMemory(&pem.Block{
		Type: "RSA PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "DES-EDE3-CBC,00"}, Bytes: []byte("x"),
	})
	for _, c := range []struct {
		name      string
		cert, key []byte
		want      string // in the error
	}{
		{"a pair", a.cert, a.key, ""},
		{"with its chain", chain, a.key, ""},
		{"with words between", slices.Concat([]byte("subject=CN=mx\n"), a.cert, []byte("issuer\n"), root.cert), a.key, ""},
		{"key of another", a.cert, b.key, "private key does not match"},
		{"chain before the certificate", slices.Concat(root.cert, a.cert), a.key, "private key does not match"},
		{"certificate without its end", a.cert[:len(a.cert)-30], a.key, "not complete"},
		{"chain without its end", chain[:len(chain)-30], a.key, "not complete"},
		{"a piece and then the whole", slices.Concat(a.cert[:len(a.cert)-30], []byte("\n"), a.cert), a.key, "not complete"},
		{"key without its end", a.cert, a.key[:len(a.key)-30], "not complete"},
		{"empty", nil, a.key, "failed to find any PEM data"},
		{"the other way round", a.key, a.cert, "with"},
		{"a passphrase", a.cert, locked, "passphrase"},
		{"a passphrase of old", a.cert, old, "passphrase"},
		{"noise", []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), a.key, "x509"},
		{"too large", make([]byte, maxFile+1), a.key, "too large"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			p := Pair{Certificate: write(t, filepath.Join(dir, "cert"), c.cert), Key: write(t, filepath.Join(dir, "key"), c.key)}
			got, err := Read(p)
			if c.want == "" {
				if err != nil || !got.Covers("mx.example.org") || got.Covers("mx.example.net") {
					t.Errorf("%v", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), dir) {
				t.Errorf("error %v, not %q with the file's name", err, c.want)
			}
		})
	}
}

// TestUnreadable: the error tells which of the files it is.
func TestUnreadable(t *testing.T) {
	dir := t.TempDir()
	m := issue(t, maker{})
	cert, key := write(t, filepath.Join(dir, "cert"), m.cert), write(t, filepath.Join(dir, "key"), m.key)
	for _, c := range []struct {
		name  string
		pair  Pair
		isKey bool
		cause error
	}{
		{"no certificate", Pair{Certificate: filepath.Join(dir, "none"), Key: key}, false, fs.ErrNotExist},
		{"no key", Pair{Certificate: cert, Key: filepath.Join(dir, "none")}, true, fs.ErrNotExist},
		{"a folder", Pair{Certificate: cert, Key: dir}, true, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Read(c.pair)
			var u *Unreadable
			if !errors.As(err, &u) || u.IsKey != c.isKey || c.cause != nil && !errors.Is(err, c.cause) {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestOddities: what can be used, and is not as it should be.
func TestOddities(t *testing.T) {
	now := time.Now()
	root := issue(t, maker{names: []string{"root"}, ca: true})
	middle := issue(t, maker{names: []string{"middle"}, ca: true, issuer: root})
	leaf := issue(t, maker{issuer: middle, url: "http://ca.test/middle.cer"})
	private := issue(t, maker{issuer: root})
	alone := issue(t, maker{})
	for _, c := range []struct {
		name string
		cert []byte
		key  *made
		mode fs.FileMode
		at   time.Time
		want []string
	}{
		{"nothing", slices.Concat(leaf.cert, middle.cert), leaf, 0o640, now, nil},
		{"nothing, with the root", slices.Concat(leaf.cert, middle.cert, root.cert), leaf, 0o600, now, nil},
		{"nothing, of a private authority", private.cert, private, 0o600, now, nil},
		{"nothing, its own issuer", alone.cert, alone, 0o600, now, nil},
		{"no chain", leaf.cert, leaf, 0o600, now, []string{"the chain seems to be missing"}},
		{"chain upside down", slices.Concat(leaf.cert, root.cert, middle.cert), leaf, 0o600, now, []string{"the chain is not in order: behind \"CN=mx.example.org\" stands \"CN=root\""}},
		{"chain of another", slices.Concat(leaf.cert, alone.cert), leaf, 0o600, now, []string{"the chain is not in order"}},
		{"soon", alone.cert, alone, 0o600, now.Add(77 * 24 * time.Hour), []string{"expires soon, on " + alone.x.NotAfter.UTC().Format(time.DateOnly)}},
		{"past", alone.cert, alone, 0o600, now.Add(91 * 24 * time.Hour), []string{"has expired, on "}},
		{"not yet", alone.cert, alone, 0o600, now.Add(-101 * 24 * time.Hour), []string{"not valid yet"}},
		{"open key", alone.cert, alone, 0o644, now, []string{"everybody on this host may use the key: its file has mode 0644"}},
		{"two at once", leaf.cert, leaf, 0o602, now, []string{"the chain seems to be missing", "mode 0602"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			p := Pair{Certificate: write(t, filepath.Join(dir, "cert"), c.cert), Key: write(t, filepath.Join(dir, "key"), c.key.key)}
			if err := os.Chmod(p.Key, c.mode); err != nil {
				t.Fatal(err)
			}
			got, err := Read(p)
			if err != nil {
				t.Fatal(err)
			}
			odd := got.Oddities(c.at)
			if len(odd) != len(c.want) {
				t.Fatalf("%q, not %q", odd, c.want)
			}
			for i, w := range c.want {
				if !strings.Contains(odd[i], w) {
					t.Errorf("%q, not %q", odd[i], w)
				}
			}
		})
	}
}

func rsaKey(t testing.TB) crypto.Signer {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return k
}
