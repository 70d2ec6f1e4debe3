package app

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/smtp"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	msgauth "github.com/emersion/go-msgauth/dkim"

	"github.com/postern-mail/postern/internal/users"
)

const submissionConfig = `
hostname: mx.example.org
exempt_networks: []
listeners:
  public: {address: "127.0.0.1:0", tls: {certificate: %[1]q, key: %[2]q}, relay: {users: "{{dir}}/users"}}
routes: [{to: [example.org], upstream: inside}, {to: ["*"], upstream: outside}]
upstreams: {inside: {maildir: "{{dir}}/inside"}, outside: {maildir: "{{dir}}/outside"}}
signing: {keys: [{domain: example.org, selector: s1, key: %[3]q}]}
state: {directory: "{{dir}}/state"}
dns: {servers: ["127.0.0.1:1"]}
filters: %[4]s
`

// submission is a gateway at which ann@example.org may log in with the password "secret", and the record of its key.
func submission(t *testing.T, filters string) (g *testGateway, record string) {
	t.Helper()
	dir := t.TempDir()
	cert, key := writeCertificate(t, dir, "mx.example.org")
	signingKey, record := makeKeyFile(t, dir, "dkim.pem")
	file := filepath.Join(dir, "users")
	if err := users.Add(file, users.New{Name: "ann@example.org", Password: "secret", Send: []string{"ann@example.org"}}); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(submissionConfig, cert, key, signingKey, filters)
	return startGateway(t, strings.ReplaceAll(text, "{{dir}}/users", file)), record
}

// submit logs in and sends.
func submit(t *testing.T, addr, user, password, from, to, content string) error {
	t.Helper()
	c, err := smtp.Dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()                                                           //nolint:errcheck // it is over
	if err := c.StartTLS(&tls.Config{InsecureSkipVerify: true}); err != nil { //nolint:gosec // our own certificate
		t.Fatal(err)
	}
	host, _, _ := strings.Cut(addr, ":")
	if user != "" {
		if err := c.Auth(smtp.PlainAuth("", user, password, host)); err != nil {
			return err
		}
	}
	if err := c.Mail(from); err != nil {
		return err
	}
	if err := c.Rcpt(to); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	fmt.Fprint(w, content)
	return w.Close()
}

// replied reports whether an error is a reply with these codes.
func replied(err error, codes string) bool {
	return err != nil && strings.HasPrefix(strings.ReplaceAll(err.Error(), `"`, ""), codes)
}

// files gives the messages of a maildir.
func files(t *testing.T, dir string) (all []string) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "new", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(b))
	}
	return all
}

// verifySubmitted checks what has left of a message of ann's that had neither Date nor Message-ID.
func verifySubmitted(t *testing.T, left, record, received string) {
	t.Helper()
	if i := strings.Index(left, "DKIM-Signature:"); i > 0 {
		left = left[i:] // without what the maildir puts on top
	}
	order := regexp.MustCompile(`(?s)\ADKIM-Signature: .*\r\nReceived: .*` + received + `.*\r\nDate: [^\r]*\r\nMessage-ID: <mx-[a-z0-9]+@mx\.example\.org>\r\nFrom: ann@example\.org\r\n`)
	if !order.MatchString(left) {
		t.Errorf("the fields:\n%s", left)
	}
	if strings.Contains(left, "ann@example.org)") || strings.Contains(left, "secret") {
		t.Errorf("what is nobody's business:\n%s", left)
	}
	all, err := msgauth.VerifyWithOptions(strings.NewReader(left), &msgauth.VerifyOptions{
		LookupTXT: func(name string) ([]string, error) {
			return records{"s1._domainkey.example.org": record}.LookupTXT(context.Background(), name)
		},
	})
	if err != nil || len(all) != 1 || all[0].Err != nil || all[0].Domain != "example.org" {
		t.Errorf("the signature: %+v, %v", all, err)
	}
	var signed []string
	if len(all) > 0 {
		signed = all[0].HeaderKeys
	}
	if s := strings.ToLower(strings.Join(signed, ":")); !strings.Contains(s, "date") || !strings.Contains(s, "message-id") {
		t.Errorf("signed: %s", s)
	}
}

// From a login to what arrives elsewhere: relayed, completed, signed, and verified by another program.
func TestSubmission(t *testing.T) {
	g, record := submission(t, "[heuristics, spf, dkim, dmarc]")
	const content = "From: ann@example.org\r\nTo: bob@elsewhere.example\r\nSubject: x\r\n\r\nbody\r\n"
	if err := submit(t, g.addr, "ann@example.org", "secret", "ann@example.org", "bob@elsewhere.example", content); err != nil {
		t.Fatal(err)
	}
	var out []string
	if !comesTrue(func() bool { out = files(t, filepath.Join(g.dir, "outside")); return len(out) == 1 }) {
		t.Fatalf("%d messages went out", len(out))
	}
	verifySubmitted(t, out[0], record, "with UTF8SMTPSA id")
	for name, tt := range map[string]struct{ user, password, from, to, content, reply string }{
		"wrong password":     {"ann@example.org", "Secret", "ann@example.org", "bob@elsewhere.example", content, "535 5.7.8"},
		"no such user":       {"eve", "secret", "ann@example.org", "bob@elsewhere.example", content, "535 5.7.8"},
		"no login":           {"", "", "ann@example.org", "bob@elsewhere.example", content, "554 5.7.1"},
		"another sender":     {"ann@example.org", "secret", "boss@example.org", "bob@elsewhere.example", content, "553 5.7.1"},
		"another author":     {"ann@example.org", "secret", "ann@example.org", "bob@elsewhere.example", strings.Replace(content, "ann", "boss", 1), "550 5.7.1"},
		"a signature's name": {"ann@example.org", "secret", "", "bob@elsewhere.example", strings.Replace(content, "ann", "boss", 1), "550 5.7.1"},
	} {
		err := submit(t, g.addr, tt.user, tt.password, tt.from, tt.to, tt.content)
		if !replied(err, tt.reply) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := len(files(t, filepath.Join(g.dir, "outside"))); n != 1 {
		t.Errorf("%d messages went out", n)
	}
	if lines := g.log.lines(t, "auth"); len(lines) != 6 || lines[0]["user"] != "ann@example.org" || lines[0]["result"] != "ok" {
		t.Errorf("logins in the log: %v", lines)
	}
	if strings.Contains(g.log.String(), "ecret") {
		t.Error("a password in the log")
	}
	page := httptest.NewRecorder()
	g.metrics.Handler().ServeHTTP(page, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, want := range []string{`postern_smtp_auth_total{listener="public",result="ok"} 4`, `postern_smtp_auth_total{listener="public",result="wrong"} 2`} {
		if !strings.Contains(page.Body.String(), want) {
			t.Errorf("%s is not among the metrics", want)
		}
	}
}

// What was held of a client that may relay goes outward when it is released, completed and signed as if it had not been.
func TestReleaseOfSubmitted(t *testing.T) {
	g, record := submission(t, `[{attachments: {names: {"*.reg": quarantine}}}]`)
	content := "From: ann@example.org\r\nMIME-Version: 1.0\r\nContent-Type: application/octet-stream; name=x.reg\r\n\r\nbody\r\n"
	err := submit(t, g.addr, "ann@example.org", "secret", "ann@example.org", "bob@elsewhere.example", content)
	if !replied(err, "550 5.7.1") {
		t.Fatal(err)
	}
	all, err := g.held.List()
	if err != nil || len(all) != 1 || !all[0].Relay {
		t.Fatalf("held: %+v", all)
	}
	if err := g.app.QuarantineRelease(t.Context(), []string{all[0].ID}, nil, false); err != nil {
		t.Fatal(err)
	}
	out := files(t, filepath.Join(g.dir, "outside"))
	if len(out) != 1 {
		t.Fatalf("%d messages went out", len(out))
	}
	verifySubmitted(t, out[0], record, "with LOCAL id "+all[0].ID)
}

// What goes by certificates of clients asks for them, wherever it stands: a partner, an entry of access, a client that may
// relay.
func TestClientCertificates(t *testing.T) {
	dir := t.TempDir()
	cert, key := writeCertificate(t, dir, "mx.example.org")
	partnerDir := filepath.Join(dir, "partner")
	if err := os.Mkdir(partnerDir, 0o700); err != nil {
		t.Fatal(err)
	}
	partnerCert, partnerKey := writeCertificate(t, partnerDir, "mx.partner.example")
	pair, err := tls.LoadX509KeyPair(partnerCert, partnerKey)
	if err != nil {
		t.Fatal(err)
	}
	sum := fmt.Sprintf("sha256:%x", sha256.Sum256(pair.Certificate[0]))
	const head = `
hostname: mx.example.org
exempt_networks: []
routes: [{to: [example.org], upstream: inside}, {to: ["*"], upstream: inside}]
upstreams: {inside: {maildir: "{{dir}}/inside"}}
state: {directory: "{{dir}}/state"}
dns: {servers: ["127.0.0.1:1"]}
`
	listener := fmt.Sprintf("listeners: {public: {address: \"127.0.0.1:0\", early_talkers: 0s, tls: {certificate: %q, key: %q}RELAY}}\n", cert, key)
	for name, tt := range map[string]struct{ text, to, without string }{
		"partner": {
			strings.Replace(listener, "RELAY", "", 1) + "filters: []\nrequire_tls_from: [{domain: partner.example, certificate: \"" + sum + "\"}]\n",
			"bob@example.org", "550 5.7.1",
		},
		"relay": {
			strings.Replace(listener, "RELAY", ", relay: {certificates: [\""+sum+"\"]}", 1) + "filters: []\n",
			"bob@elsewhere.example", "554 5.7.1",
		},
		"access": {
			strings.Replace(listener, "RELAY", "", 1) + "filters:\n  - access: {allow_entries: [\"partner.example proof=certificate:" + sum + " waive=attachments/script until=never\"]}\n" +
				"  - attachments: {classes: {script: reject}}\n",
			"bob@example.org", "550 5.7.1",
		},
		"access, in a policy": {
			strings.Replace(listener, "RELAY", "", 1) + "filters:\n  - access: {}\n  - attachments: {classes: {script: reject}}\n" +
				"policies: {default: {filters: {access: {allow_entries: [\"partner.example proof=certificate:" + sum + " waive=attachments/script until=never\"]}}}}\n",
			"bob@example.org", "550 5.7.1",
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := startGateway(t, head+tt.text)
			for _, certs := range [][]tls.Certificate{{pair}, nil} {
				err := withCertificate(t, g.addr, certs, tt.to)
				if certs != nil && err != nil || certs == nil && !replied(err, tt.without) {
					t.Errorf("%d certificates: %v", len(certs), err)
				}
			}
		})
	}
}

// withCertificate sends a message with a script from partner.example, within TLS.
func withCertificate(t *testing.T, addr string, certs []tls.Certificate, to string) error {
	t.Helper()
	c, err := smtp.Dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()                                                                                //nolint:errcheck // it is over
	if err := c.StartTLS(&tls.Config{InsecureSkipVerify: true, Certificates: certs}); err != nil { //nolint:gosec // our own certificate
		t.Fatal(err)
	}
	if err := c.Mail("ann@partner.example"); err != nil {
		return err
	}
	if err := c.Rcpt(to); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	fmt.Fprint(w, "From: ann@partner.example\r\nMIME-Version: 1.0\r\nContent-Type: application/octet-stream; name=x.vbs\r\n\r\nMsgBox 1\r\n")
	return w.Close()
}
