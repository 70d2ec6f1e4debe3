package app

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// pemPair makes a certificate with a serial number and its key.
func pemPair(t testing.TB, serial int64, lasts time.Duration, names ...string) (cert, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(lasts),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
}

func put(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

const month = 30 * 24 * time.Hour

// client is a dialog with a gateway.
type client struct {
	t testing.TB
	net.Conn
	r *bufio.Reader
}

func connect(t testing.TB, addr string) *client {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(2 * time.Minute))
	d := &client{t: t, Conn: c, r: bufio.NewReader(c)}
	d.expect("220")
	return d
}

func (c *client) expect(code string) {
	c.t.Helper()
	reply, err := readReply(c.r)
	if err != nil || !strings.HasPrefix(reply, code) {
		c.t.Fatalf("reply %q, %v, not %s", reply, err, code)
	}
}

func (c *client) say(line, code string) {
	c.t.Helper()
	if _, err := io.WriteString(c, line+"\r\n"); err != nil {
		c.t.Fatal(err)
	}
	c.expect(code)
}

// message sends one whole message.
func (c *client) message() {
	c.t.Helper()
	for _, step := range [][2]string{
		{"MAIL FROM:<a@client.test>", "250"}, {"RCPT TO:<u@example.org>", "250"}, {"DATA", "354"}, {"Subject: x\r\n\r\nx\r\n.", "250"},
	} {
		c.say(step[0], step[1])
	}
}

// startTLS makes the handshake, and gives the serial number of the certificate.
func (c *client) startTLS() int64 {
	c.t.Helper()
	c.say("EHLO client.test", "250")
	c.say("STARTTLS", "220")
	s := tls.Client(c.Conn, &tls.Config{InsecureSkipVerify: true})
	if err := s.Handshake(); err != nil {
		c.t.Fatal(err)
	}
	c.Conn, c.r = s, bufio.NewReader(s)
	c.say("EHLO client.test", "250")
	return s.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
}

// scrape gives the metrics.
func (g *testGateway) scrape() string {
	w := httptest.NewRecorder()
	g.metrics.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	return w.Body.String()
}

const tlsGateway = `
hostname: mx.example.org
listeners: {public: {address: "127.0.0.1:0", tls: {certificate: "{{dir}}/cert.pem", key: "{{dir}}/key.pem"}}}
routes: [{to: [example.org], upstream: local}]
upstreams: {local: {maildir: "{{dir}}/mail"}}
state: {directory: "{{dir}}/state"}
filters: []
`

// startTLSGateway starts a gateway whose files lie in a folder of their own; {{certs}} stands for it.
func startTLSGateway(t *testing.T, text string) (g *testGateway, cert, key string) {
	t.Helper()
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	c, k := pemPair(t, 1, 2*month, "mx.example.org")
	put(t, cert, c)
	put(t, key, k)
	text = strings.NewReplacer("{{dir}}/cert.pem", cert, "{{dir}}/key.pem", key, "{{certs}}", dir).Replace(text)
	return startGateway(t, text), cert, key
}

// TestCertificateIsTakenWithoutHUP replaces the files of the certificate one after the other. Whoever is connected
// stays so, and gets the new certificate with the next handshake.
func TestCertificateIsTakenWithoutHUP(t *testing.T) {
	g, cert, key := startTLSGateway(t, tlsGateway)
	secured, clear := connect(t, g.addr), connect(t, g.addr)
	if got := secured.startTLS(); got != 1 {
		t.Fatalf("certificate %d", got)
	}
	newCert, newKey := pemPair(t, 2, 3*month, "mx.example.org")
	put(t, cert, newCert)
	for range 3 {
		g.pollCertificates()
	}
	if got := connect(t, g.addr).startTLS(); got != 1 {
		t.Errorf("with a key that is not its own, certificate %d", got)
	}
	told := g.log.lines(t, "certificate not taken: the old one is in use")
	if len(told) != 1 || told[0]["level"] != "ERROR" || told[0]["cert"] != "public" || !strings.Contains(fmt.Sprint(told[0]["error"]), "does not match") {
		t.Errorf("told %v", told)
	}
	if !strings.Contains(g.scrape(), `postern_tls_cert_last_read_successful{cert="public"} 0`) {
		t.Error("no metric tells that the certificate is not taken")
	}
	put(t, key, newKey)
	for range 3 {
		g.pollCertificates()
	}
	if got := connect(t, g.addr).startTLS(); got != 2 {
		t.Errorf("with both files, certificate %d", got)
	}
	if got := clear.startTLS(); got != 2 {
		t.Errorf("on a connection of before, certificate %d", got)
	}
	secured.message()
	clear.message()
	if n := len(g.log.lines(t, "certificate taken")); n != 1 {
		t.Errorf("%d lines tell that it is taken", n)
	}
	page := g.scrape()
	x, _ := pem.Decode(newCert)
	leaf, err := x509.ParseCertificate(x.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`postern_tls_cert_last_read_successful{cert="public"} 1`,
		`postern_tls_cert_expiry_timestamp_seconds{cert="public"} ` + strconv.FormatFloat(float64(leaf.NotAfter.Unix()), 'g', -1, 64),
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
}

// TestCertificatesByName serves two names and the versions that the configuration lets in.
func TestCertificatesByName(t *testing.T) {
	more := `, sni: [{certificate: "{{certs}}/other.pem", key: "{{certs}}/other.key"}], mode: implicit, min: 1.3`
	dir := t.TempDir()
	c, k := pemPair(t, 7, month, "mx.other.example")
	put(t, filepath.Join(dir, "other.pem"), c)
	put(t, filepath.Join(dir, "other.key"), k)
	text := strings.ReplaceAll(strings.Replace(tlsGateway, `key.pem"}`, `key.pem"`+more+"}", 1), "{{certs}}", dir)
	g, _, _ := startTLSGateway(t, text)
	for name, want := range map[string]int64{"": 1, "mx.example.org": 1, "mx.other.example": 7, "mx.third.example": 1} {
		s, err := tls.Dial("tcp", g.addr, &tls.Config{InsecureSkipVerify: true, ServerName: name})
		if err != nil {
			t.Fatal(err)
		}
		if got := s.ConnectionState().PeerCertificates[0].SerialNumber.Int64(); got != want {
			t.Errorf("for %q certificate %d, not %d", name, got, want)
		}
		s.Close()
	}
	if s, err := tls.Dial("tcp", g.addr, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}); err == nil {
		s.Close()
		t.Error("TLS 1.2 is taken")
	}
	if page := g.scrape(); !strings.Contains(page, `postern_tls_cert_expiry_timestamp_seconds{cert="public.sni[0]"}`) {
		t.Error("the second certificate has no metric")
	}
}

// TestRelayByCertificate: a client relays with a certificate that the authorities vouch for, or whose fingerprint is
// known; any other does no harm and no good.
func TestRelayByCertificate(t *testing.T) {
	dir := t.TempDir()
	authority, authorityKey := pemPair(t, 1, month, "authority.test")
	put(t, filepath.Join(dir, "clients.pem"), authority)
	ca, err := tls.X509KeyPair(authority, authorityKey)
	if err != nil {
		t.Fatal(err)
	}
	clientCert := func(name string, of *tls.Certificate) *tls.Certificate {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		template := &x509.Certificate{
			SerialNumber: big.NewInt(5), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		}
		parent, signer := template, any(k)
		if of != nil {
			parent, signer = of.Leaf, of.PrivateKey
		}
		der, err := x509.CreateCertificate(rand.Reader, template, parent, &k.PublicKey, signer)
		if err != nil {
			t.Fatal(err)
		}
		return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: k}
	}
	pinned := clientCert("pinned.test", nil)
	text := strings.NewReplacer(
		`key.pem"}`, fmt.Sprintf(`key.pem", mode: implicit, client_ca: %q}, relay: {certificates: [app.test, "sha256:%x"]}`,
			filepath.Join(dir, "clients.pem"), sha256.Sum256(pinned.Certificate[0])),
		"upstream: local}]", `upstream: local}, {to: ["*"], upstream: local}]`,
	).Replace(tlsGateway)
	g, _, _ := startTLSGateway(t, text)
	for _, c := range []struct {
		name string
		cert *tls.Certificate
		want string
	}{
		{"named", clientCert("app.test", &ca), "250"},
		{"pinned", pinned, "250"},
		{"another name", clientCert("other.test", &ca), "554"},
		{"the name without an authority", clientCert("app.test", nil), "554"},
		{"none", nil, "554"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := tls.Dial("tcp", g.addr, &tls.Config{InsecureSkipVerify: true, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				if c.cert == nil {
					return new(tls.Certificate), nil
				}
				return c.cert, nil
			}})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			d := &client{t: t, Conn: s, r: bufio.NewReader(s)}
			d.expect("220")
			d.say("EHLO client.test", "250")
			d.say("MAIL FROM:<a@client.test>", "250")
			d.say("RCPT TO:<somebody@elsewhere.example>", c.want)
		})
	}
}

// TestCheckTellsOfCertificates: what can be used and should not be is told, and is no fault.
func TestCheckTellsOfCertificates(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, mode os.FileMode, lasts time.Duration, names ...string) string {
		c, k := pemPair(t, 1, lasts, names...)
		path := filepath.Join(dir, name)
		put(t, path+".pem", c)
		put(t, path+".key", k)
		if err := os.Chmod(path+".key", mode); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("certificate: %q, key: %q", path+".pem", path+".key")
	}
	good := write("good", 0o640, month, "mx.example.org")
	for _, c := range []struct{ name, tls, want string }{
		{"nothing", good, ""},
		{"expired", write("a", 0o600, -time.Minute, "mx.example.org"), "the certificate has expired, on "},
		{"soon", write("b", 0o600, 13*24*time.Hour, "mx.example.org"), "the certificate expires soon, on "},
		{"open key", write("c", 0o604, month, "mx.example.org"), "everybody on this host may use the key"},
		{"another name", write("d", 0o600, month, "www.example.org"), "no certificate of the listener is for the gateway's own name"},
		{"our name in the second", write("e", 0o600, month, "mx.other.example") + ", sni: [{" + good + "}]", ""},
		{"the second", good + ", sni: [{" + write("f", 0o600, -time.Minute, "mx.other.example") + "}]", "has expired"},
		{"old versions", good + `, min: "1.0"`, "versions of TLS that RFC 8996 calls broken"},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "postern.yaml")
			put(t, file, []byte(fmt.Sprintf("hostname: mx.example.org\nlisteners: {public: {address: \":25\", tls: {%s}}}\n"+
				"routes: [{to: [example.org], upstream: up}]\nupstreams: {up: {servers: [\"a.example:25\"]}}\n", c.tls)))
			var out, errs lockedBuffer
			a, err := New(Options{Config: file, ConfigGiven: true, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs})
			if err != nil {
				t.Fatal(err)
			}
			if err := a.Check(); err != nil {
				t.Fatal(err)
			}
			if got := errs.String(); c.want == "" && got != "" || !strings.Contains(got, c.want) || strings.Count(got, "\n") > 1 {
				t.Errorf("told %q, not %q", got, c.want)
			}
		})
	}
}

// TestFaultsOfReloads breaks what the configuration names, one thing at a time, and reloads: what was in force stays
// so, for new clients and for those that are connected.
func TestFaultsOfReloads(t *testing.T) {
	text := strings.Replace(tlsGateway, "upstream: local}", `upstream: local, recipients: {verify: file, file: "{{certs}}/recipients"}}`, 1) +
		"signing: {keys: [{domain: example.org, selector: s1, key: \"{{certs}}/dkim.pem\"}]}\n"
	text = strings.Replace(text, `key.pem"}`, `key.pem", client_ca: "{{certs}}/clients.pem"}, relay: {users: "{{certs}}/users"}`, 1)
	dir := t.TempDir()
	makeKeyFile(t, dir, "dkim.pem")
	put(t, filepath.Join(dir, "users"), []byte(someUser))
	authority, _ := pemPair(t, 3, month, "authority")
	put(t, filepath.Join(dir, "recipients"), []byte("u@example.org\n"))
	put(t, filepath.Join(dir, "clients.pem"), authority)
	g, cert, key := startTLSGateway(t, strings.ReplaceAll(text, "{{certs}}", dir))
	_, otherKey := pemPair(t, 9, month, "mx.example.org")
	whole, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	before := connect(t, g.addr)
	before.startTLS()
	overwrite := func(path string, data []byte) func(*testing.T) { return func(t *testing.T) { put(t, path, data) } }
	remove := func(path string) func(*testing.T) {
		return func(t *testing.T) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}
	}
	folder := func(path string) func(*testing.T) {
		return func(t *testing.T) {
			remove(path)(t)
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range []struct {
		name, file string
		spoil      func(*testing.T)
		told       string
	}{
		{"certificate is cut short", cert, overwrite(cert, whole[:len(whole)/2]), "not complete"},
		{"certificate is empty", cert, overwrite(cert, nil), "failed to find any PEM data"},
		{"no certificate", cert, remove(cert), "there is no file"},
		{"no key", key, remove(key), "there is no file"},
		{"key of another", key, overwrite(key, otherKey), "does not match"},
		{"key is a folder", key, folder(key), "is a directory"},
		{"no authorities", filepath.Join(dir, "clients.pem"), remove(filepath.Join(dir, "clients.pem")), "there is no file"},
		{"authorities are none", filepath.Join(dir, "clients.pem"), overwrite(filepath.Join(dir, "clients.pem"), []byte("x")), "holds no certificate"},
		{"no recipients", filepath.Join(dir, "recipients"), remove(filepath.Join(dir, "recipients")), "there is no file"},
		{"recipients are a folder", filepath.Join(dir, "recipients"), folder(filepath.Join(dir, "recipients")), "is a directory"},
		{"no users", filepath.Join(dir, "users"), remove(filepath.Join(dir, "users")), "users"},
		{"users are a folder", filepath.Join(dir, "users"), folder(filepath.Join(dir, "users")), "is a directory"},
		{"users are none", filepath.Join(dir, "users"), overwrite(filepath.Join(dir, "users"), []byte("ann\n")), "users:1"},
		{"signing key is none", filepath.Join(dir, "dkim.pem"), overwrite(filepath.Join(dir, "dkim.pem"), []byte("x")), "dkim.pem"},
		{"no configuration", g.app.o.Config, remove(g.app.o.Config), "no such file"},
		{"configuration is no YAML", g.app.o.Config, overwrite(g.app.o.Config, []byte("hostname: [")), ":1:"},
		{"configuration is empty", g.app.o.Config, overwrite(g.app.o.Config, nil), "the file is empty"},
	} {
		t.Run(c.name, func(t *testing.T) {
			good, err := os.ReadFile(c.file)
			if err != nil {
				t.Fatal(err)
			}
			const msg = "configuration not taken: the old one is in force"
			n := len(g.log.lines(t, msg))
			c.spoil(t)
			g.reload(t.Context())
			lines := g.log.lines(t, msg)
			if len(lines) != n+1 || lines[n]["level"] != "ERROR" || !strings.Contains(fmt.Sprint(lines[n]["error"]), c.told) {
				t.Errorf("told %v", lines[n:])
			}
			if !strings.Contains(g.scrape(), "postern_config_last_reload_successful 0") {
				t.Error("the metric says nothing of it")
			}
			if got := connect(t, g.addr).startTLS(); got != 1 {
				t.Errorf("certificate %d", got)
			}
			before.say("RSET", "250")
			if err := os.RemoveAll(c.file); err != nil {
				t.Fatal(err)
			}
			put(t, c.file, good)
			g.reload(t.Context())
			if !strings.Contains(g.scrape(), "postern_config_last_reload_successful 1") {
				t.Error("it is not taken when all is well again")
			}
		})
	}
	before.message()
}
