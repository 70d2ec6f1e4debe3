package app

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/peertest"
)

// lockedBuffer is a log that is read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// lines gives the log's lines with the given message.
func (l *lockedBuffer) lines(t *testing.T, msg string) []map[string]any {
	t.Helper()
	var all []map[string]any
	for line := range strings.Lines(l.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("log line %q: %v", line, err)
		}
		if m["msg"] == msg {
			all = append(all, m)
		}
	}
	return all
}

// testGateway is a gateway of a test's own.
type testGateway struct {
	*gateway
	app  *App
	addr string
	log  *lockedBuffer
	dir  string
}

// startGateway starts a gateway with a configuration in which {{dir}} stands for a folder of the test's.
func startGateway(t *testing.T, text string) *testGateway {
	t.Helper()
	return startGatewayWith(t, text)
}

// writeCertificate makes a self-signed certificate for names and writes it to cert.pem and key.pem in dir.
func writeCertificate(t *testing.T, dir string, names ...string) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:   time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{
		cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: keyDER},
	} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// behindPostfix is a gateway in front of a real Postfix, with TLS on both sides.
func behindPostfix(t *testing.T, more string) (*testGateway, *peertest.MTA) {
	t.Helper()
	certs, err := os.MkdirTemp("", "certs") // Postfix's daemons must be able to read it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(certs) })
	if err := os.Chmod(certs, 0o755); err != nil {
		t.Fatal(err)
	}
	cert, key := writeCertificate(t, certs, "mx.example.org")
	p := peertest.StartPostfix(t, peertest.MTAOptions{Domain: "example.org", CertFile: cert, KeyFile: key, RequireTLS: true})
	g := startGateway(t, fmt.Sprintf(`
hostname: mx.example.org
listeners:
  public:
    address: 127.0.0.1:0
    tls: {certificate: %q, key: %q}
    limits: {per_client: 100}
routes: [{to: [example.org], upstream: postfix}]
upstreams: {postfix: {servers: [%q], tls: verify, ca_file: %q}}
state: {directory: "{{dir}}/state"}
dns: {servers: ["127.0.0.1:9"]}
%s`, cert, key, p.Addr, cert, more))
	return g, p
}

const invoice = "From: Alice <alice@client.test>\r\nTo: bob@example.org\r\nSubject: invoice\r\nDate: Mon, 23 Nov 2026 09:00:00 +0000\r\n" +
	"Message-ID: <1@client.test>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"b1\"\r\n\r\n" +
	"--b1\r\nContent-Type: text/plain\r\n\r\nThe text stays as it is.\r\n.a line with a dot\r\n" +
	"--b1\r\nContent-Type: application/octet-stream; name=\"invoice.exe\"\r\nContent-Disposition: attachment; filename=\"invoice.exe\"\r\n" +
	"Content-Transfer-Encoding: base64\r\n\r\nTVqQAAMAAAAEAAAA//8AALgAAABIQVJNTEVTUyBTQU1QTEU=\r\n" +
	"--b1\r\nContent-Type: text/csv; name=\"table.csv\"\r\nContent-Disposition: attachment; filename=\"table.csv\"\r\n\r\na;b\r\n1;2\r\n--b1--\r\n"

// TestInFrontOfPostfix is the main job: swaks in front with STARTTLS, a Postfix behind that takes TLS only.
func TestInFrontOfPostfix(t *testing.T) {
	g, p := behindPostfix(t, "")
	file := filepath.Join(t.TempDir(), "invoice.eml")
	if err := os.WriteFile(file, []byte(invoice), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := peertest.Command(t, "swaks", "--server", g.addr, "--tls", "--ehlo", "client.test",
		"--from", "alice@client.test", "--to", "bob@example.org", "--data", "@"+file)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("swaks: %v\n%s", err, out)
	}
	m := regexp.MustCompile(`250 2\.0\.0 Ok: queued as (\S+)`).FindSubmatch(out)
	if m == nil {
		t.Fatalf("no id in swaks's dialog:\n%s", out)
	}
	id := string(m[1])
	stored := string(p.Messages(t, 1)[0])

	for _, want := range []string{
		"The text stays as it is.\r\n.a line with a dot\r\n--b1\r\n", // the text part, octet for octet
		"filename=\"table.csv\"\r\n\r\na;b\r\n1;2\r\n--b1--\r\n",     // the wanted attachment
		"with ESMTPS id " + id, // the Received field
		"invoice.exe",          // the notice names it
		"Authentication-Results: mx.example.org;",
		"(using TLSv1", // both Received fields: ours, and Postfix's of its client
	} {
		if !strings.Contains(stored, want) {
			t.Errorf("the stored message lacks %q:\n%s", want, stored)
		}
	}
	if strings.Contains(stored, "TVqQAAMAAAAEAAAA") {
		t.Errorf("the program was delivered:\n%s", stored)
	}
	lines := g.log.lines(t, "delivery")
	if len(lines) != 1 || lines[0]["id"] != id || lines[0]["to"] != "bob@example.org" || lines[0]["code"] != float64(250) {
		t.Errorf("delivery lines: %v", lines)
	}
	e, err := g.held.Get(id)
	if err != nil {
		t.Fatalf("no record of the original: %v", err)
	}
	r, err := g.held.Content(e.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var original bytes.Buffer
	// swaks puts a blank line behind what it sends.
	if _, err := original.ReadFrom(r); err != nil || original.String() != invoice+"\r\n" {
		t.Errorf("the original is not as it came: %v\n%q", err, original.String())
	}
}

// TestSmtpSourceToPostfix sends with Postfix's own client over many sessions.
func TestSmtpSourceToPostfix(t *testing.T) {
	g, p := behindPostfix(t, "filters: []\n")
	const n = 200
	cmd := peertest.Command(t, "smtp-source", "-s", "10", "-m", fmt.Sprint(n), "-l", "3000", "-f", "a@client.test", "-t", "bob@example.org", g.addr)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("smtp-source: %v\n%s", err, out)
	}
	if got := len(p.Messages(t, n)); got != n {
		t.Errorf("postfix stored %d messages, not %d", got, n)
	}
	if got := len(g.log.lines(t, "delivery")); got != n {
		t.Errorf("%d delivery lines, not %d", got, n)
	}
}

// TestSignatureSurvives sends a DKIM-signed message through and verifies what Postfix stored with another
// implementation, dkimpy.
func TestSignatureSurvives(t *testing.T) {
	g, p := behindPostfix(t, "")
	all, err := readSamples()
	if err != nil {
		t.Fatal(err)
	}
	var signed sample
	for _, s := range all {
		if s.name == "03-signed" {
			signed = s
		}
	}
	signed.to = "bob@example.org"
	if reply, err := signed.send(context.Background(), g.addr); err != nil || !strings.HasPrefix(reply, "250") {
		t.Fatalf("%s, %v", reply, err)
	}
	stored := p.Messages(t, 1)[0]
	zones, err := samples.ReadFile("samples/zones.txt")
	if err != nil {
		t.Fatal(err)
	}
	_, key, ok := strings.Cut(string(zones), "nov26._domainkey.signed.example TXT ")
	if !ok {
		t.Fatal("no key in the zones")
	}
	key, _, _ = strings.Cut(key, "\n")
	const script = `
import sys, dkim
message = sys.stdin.buffer.read()
key = sys.argv[1].encode()
ok = dkim.verify(message, dnsfunc=lambda name, timeout=5: key)
damaged = dkim.verify(message.replace(b"signed", b"Signed"), dnsfunc=lambda name, timeout=5: key)
print(ok, damaged)
`
	cmd := peertest.Command(t, "python3", "-c", script, key)
	cmd.Stdin = bytes.NewReader(stored)
	out, err := cmd.CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "True False" {
		t.Errorf("dkimpy said %q, %v of\n%s", out, err, stored)
	}
}

// TestCertificateIsReadAnew replaces the certificate's file and sends HUP's reload.
func TestCertificateIsReadAnew(t *testing.T) {
	dir := t.TempDir()
	cert, key := writeCertificate(t, dir, "old.example.org")
	g := startGateway(t, fmt.Sprintf(`
hostname: mx.example.org
listeners: {public: {address: "127.0.0.1:0", tls: {certificate: %q, key: %q, mode: implicit}}}
routes: [{to: [example.org], upstream: local}]
upstreams: {local: {maildir: "{{dir}}/mail"}}
state: {directory: "{{dir}}/state"}
filters: []
`, cert, key))
	name := func() string {
		c, err := tls.Dial("tcp", g.addr, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	if got := name(); got != "old.example.org" {
		t.Fatalf("certificate of %s", got)
	}
	writeCertificate(t, dir, "new.example.org")
	g.reload(t.Context())
	if got := name(); got != "new.example.org" {
		t.Errorf("after the reload, certificate of %s", got)
	}
}
