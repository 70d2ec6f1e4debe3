package app

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/internal/config"
	"github.com/postern-mail/postern/internal/dkim"
	"github.com/postern-mail/postern/internal/quarantine"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/upstream"
)

// makeKeyFile makes a key in dir, and gives its path and its record.
func makeKeyFile(t *testing.T, dir, name string) (path, record string) {
	t.Helper()
	key, err := DKIMKeyOptions{Type: "ed25519"}.makeKey()
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(dir, name)
	if err := writeKey(path, key); err != nil {
		t.Fatal(err)
	}
	if record, err = dkim.Record(key.Public()); err != nil {
		t.Fatal(err)
	}
	return path, record
}

const signingHead = `
hostname: mx.example.org
listeners: {a: {address: "127.0.0.1:0"}}
routes: [{to: [example.org], upstream: local}]
upstreams: {local: {maildir: "{{dir}}/mail"}}
state: {directory: "{{dir}}/state"}
filters: []
`

// TestReloadOfKeys: a reload takes the keys of the moment, or, where one of them is wrong, nothing at all.
func TestReloadOfKeys(t *testing.T) {
	dir := t.TempDir()
	path, _ := makeKeyFile(t, dir, "key.pem")
	keys := fmt.Sprintf("signing: {keys: [{domain: example.org, selector: s1, key: %q}]}\n", path)
	g := startGateway(t, signingHead+keys)
	signature := func() string {
		t.Helper()
		m := mail.NewMessage(mail.NewBlob([]byte("From: a@example.org\r\n\r\nbody\r\n")))
		defer m.Release()
		s := g.current.Load().Signer
		if s == nil {
			return "nothing signs"
		}
		top, note, err := s.Sign(t.Context(), &filter.Input{Session: &filter.Session{Relay: true}}, m)
		if err != nil {
			t.Fatal(err)
		}
		return note + strings.Join(strings.Fields(string(top)), "")
	}
	reload := func(text string, taken bool) {
		t.Helper()
		before := len(g.log.lines(t, "configuration taken"))
		text = strings.ReplaceAll(signingHead, "{{dir}}", g.dir) + text
		if err := os.WriteFile(g.app.o.Config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		g.reload(t.Context())
		if now := len(g.log.lines(t, "configuration taken")) > before; now != taken {
			t.Errorf("taken: %v", now)
		}
	}
	first := signature()
	if !strings.HasPrefix(first, "dkim example.org/s1DKIM-Signature:v=1;a=ed25519-sha256;") {
		t.Fatal(first)
	}
	if err := os.WriteFile(path, []byte("no key\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	reload(keys, false)
	if got := signature(); !strings.HasPrefix(got, first[:60]) {
		t.Errorf("after a reload that failed: %s", got)
	}
	faults := g.log.lines(t, "configuration not taken: the old one is in force")
	if len(faults) != 1 || !strings.Contains(fmt.Sprint(faults[0]), "postern.yaml:8:") {
		t.Errorf("the log says %v", faults)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	reload(keys, false)
	_, record := makeKeyFile(t, dir, "key.pem")
	reload(strings.Replace(keys, "s1", "s2", 1), true)
	if got := signature(); !strings.HasPrefix(got, "dkim example.org/s2DKIM-Signature:") {
		t.Errorf("after a reload: %s", got)
	}
	published, code := published(t.Context(), records{"s2._domainkey.example.org": record}, namedKey{"example.org", "s2", path, mustRead(t, path)})
	if code != 0 {
		t.Errorf("the key of the moment: %s", published)
	}
	reload("", true)
	if got := signature(); got != "nothing signs" {
		t.Errorf("without keys: %s", got)
	}
}

func mustRead(t *testing.T, path string) *dkim.PrivateKey {
	t.Helper()
	k, err := readKey(path)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// records is a DNS of one record for each name; "SERVFAIL" is none.
type records map[string]string

func (r records) LookupTXT(_ context.Context, name string) ([]string, error) {
	switch text, ok := r[name]; {
	case !ok:
		return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	case text == "SERVFAIL":
		return nil, &net.DNSError{Err: "server misbehaving", Name: name, IsTemporary: true}
	default:
		return []string{text}, nil
	}
}

func TestPublished(t *testing.T) {
	dir := t.TempDir()
	path, record := makeKeyFile(t, dir, "one.pem")
	_, other := makeKeyFile(t, dir, "two.pem")
	rsaKey, err := DKIMKeyOptions{Type: "rsa", Bits: 2048}.makeKey()
	if err != nil {
		t.Fatal(err)
	}
	rsaRecord, err := dkim.Record(rsaKey.Public())
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, record, want string
		code               int
	}{
		{"right", record, "ok", 0},
		{"testing", record + "; t=y", "ok, but t=y says that the domain only tests", 0},
		{"another key", other, "wrong: the record is of another key than " + path, ExitData},
		{"another type", rsaRecord, "wrong: the record is of another key than " + path, ExitData},
		{"revoked", "v=DKIM1; k=ed25519; p=", "wrong: the key is revoked", ExitData},
		{"cut off", record[:40], "wrong: ", ExitData},
		{"none", "", "wrong: ", ExitData},
		{"no answer", "SERVFAIL", "not known: ", ExitUnavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dns := records{}
			if tt.record != "" {
				dns["s1._domainkey.example.org"] = tt.record
			}
			word, code := published(t.Context(), dns, namedKey{"example.org", "s1", path, mustRead(t, path)})
			if !strings.HasPrefix(word, tt.want) || code != tt.code {
				t.Errorf("%q, %d", word, code)
			}
		})
	}
	k := namedKey{"example.org", "s1", "", rsaKey}
	if word, code := published(t.Context(), records{k.name(): rsaRecord}, k); word != "ok" || code != 0 {
		t.Errorf("RSA: %q, %d", word, code)
	}
}

// Keys in any form that is in use are read; what is none is told by the name of the file, and with nothing of it.
func TestReadKey(t *testing.T) {
	key, err := DKIMKeyOptions{Type: "rsa", Bits: 2048}.makeKey()
	if err != nil {
		t.Fatal(err)
	}
	pkcs1 := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key.(*rsa.PrivateKey))})
	path := filepath.Join(t.TempDir(), "key.pem")
	for name, c := range map[string]struct {
		text string
		ok   bool
	}{
		"PKCS#1":              {string(pkcs1), true},
		"text before the key": {"a comment\n" + string(pkcs1), true},
		"empty":               {"", false},
		"half":                {string(pkcs1[:500]), false},
		"a public key":        {"-----BEGIN PUBLIC KEY-----\nMAAA\n-----END PUBLIC KEY-----\n", false},
		"too large":           {strings.Repeat("x", maxKeyFile+1), false},
	} {
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := readKey(path)
		if (err == nil) != c.ok || err != nil && (!strings.HasPrefix(err.Error(), path) || len(err.Error()) > len(path)+120) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The signer has what the configuration says, and what it says wrong has its place there.
func TestSignerOfConfiguration(t *testing.T) {
	path, _ := makeKeyFile(t, t.TempDir(), "key.pem")
	key := fmt.Sprintf("domain: example.org, selector: s1, key: %q", path)
	m := mail.NewMessage(mail.NewBlob([]byte("From: a@example.org\r\n\r\nbody\r\n")))
	defer m.Release()
	for _, c := range []struct{ name, filters, signing, tag, fault string }{
		{"for ever, From over-signed", "[]", "{keys: [{%s}], oversign: []}", "h=From:From;", ""},
		{"for two weeks", "[]", "{keys: [{%s}], expire: 14d}", "; x=", ""},
		{"over-signed", "[]", "{keys: [{%s}], oversign: [X-Own]}", "X-Own", ""},
		{"a seal with arc", "[arc]", "{keys: [{%s}], seal: {%[1]s}}", "", ""},
		{"a seal without arc", "[spf]", "{seal: {%s}}", "", "p.yaml:7:11: a seal says what the filter arc found, and filters has none"},
	} {
		text := strings.ReplaceAll(strings.ReplaceAll(signingHead, "{{dir}}", t.TempDir()), "filters: []", "filters: "+c.filters)
		cfg, err := config.Parse("p.yaml", []byte(strings.TrimPrefix(text, "\n")+"signing: "+fmt.Sprintf(c.signing, key)+"\n"), []string{"arc", "spf"})
		if err != nil {
			t.Fatal(err)
		}
		s, err := newSigner(cfg, slog.New(slog.DiscardHandler))
		if c.fault != "" || err != nil {
			if err == nil || !strings.Contains(err.Error(), c.fault) || c.fault == "" {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		top, _, err := s.Sign(t.Context(), &filter.Input{Session: &filter.Session{Relay: true}}, m)
		if err != nil || !strings.Contains(string(top), c.tag) || strings.Contains(string(top), "; x=") != strings.Contains(c.signing, "expire") {
			t.Errorf("%s: %v\n%s", c.name, err, top)
		}
	}
}

// Mail of clients that may relay is signed also when it was held for a while.
func TestReleasedMailIsSigned(t *testing.T) {
	dir := t.TempDir()
	path, _ := makeKeyFile(t, dir, "key.pem")
	text := strings.ReplaceAll(signingHead, "{{dir}}", dir) + fmt.Sprintf("signing: {keys: [{domain: example.org, selector: s1, key: %q}]}\n", path)
	cfg, err := config.Parse("p.yaml", []byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	table, _, err := newTable(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var r relays
	all, _, err := r.forConfig(cfg, upstream.Hooks{})
	if err != nil {
		t.Fatal(err)
	}
	for _, relay := range []bool{true, false} {
		e := quarantine.Entry{ID: fmt.Sprintf("mx-%v", relay), Time: time.Now(), From: "a@example.org", To: []string{"b@example.org"}, Relay: relay}
		blob := mail.NewBlob([]byte("From: a@example.org\r\nSubject: x\r\n\r\nbody\r\n"))
		if err := releaseOne(t.Context(), cfg, table, all, e, blob, nil); err != nil {
			t.Fatal(err)
		}
		files, err := filepath.Glob(filepath.Join(dir, "mail", "new", "*"))
		if err != nil || len(files) != 1 {
			t.Fatal(files, err)
		}
		left, err := os.ReadFile(files[0])
		if err != nil || strings.Contains(string(left), "DKIM-Signature: v=1; a=ed25519-sha256;") != relay {
			t.Errorf("relay %v: %v\n%s", relay, err, left)
		}
		if err := os.Remove(files[0]); err != nil {
			t.Fatal(err)
		}
	}
}
