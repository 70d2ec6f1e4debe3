package certs

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// shake makes a handshake with a door, and gives what the client knows of it.
func shake(t testing.TB, d *Door, client *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	done := make(chan error, 1)
	go func() {
		s := tls.Server(b, d.Config())
		err := s.Handshake()
		if err == nil {
			_, err = s.Write([]byte("x")) // TLS 1.3 sends tickets before it
		}
		done <- err
	}()
	client.InsecureSkipVerify = true
	c := tls.Client(a, client)
	err := c.Handshake()
	if err == nil {
		_, err = c.Read(make([]byte, 1))
	} else {
		a.Close()
	}
	return c.ConnectionState(), errors.Join(err, <-done)
}

func serial(t testing.TB, d *Door, client *tls.Config) int64 {
	t.Helper()
	s, err := shake(t, d, client)
	if err != nil {
		t.Fatal(err)
	}
	return s.PeerCertificates[0].SerialNumber.Int64() - 1
}

// TestChoose asks a door for names, with kinds of keys that the client can use.
func TestChoose(t *testing.T) {
	dir := t.TempDir()
	pair := func(serial int64, m maker) Pair {
		m.serial = serial
		c := issue(t, m)
		base := filepath.Join(dir, string(rune('a'+serial)))
		return Pair{Certificate: write(t, base+".crt", c.cert), Key: write(t, base+".key", c.key)}
	}
	set, err := ReadSet(Spec{Min: tls.VersionTLS12, Pairs: []Pair{
		pair(0, maker{}),
		pair(1, maker{key: rsaKey(t)}),
		pair(2, maker{names: []string{"mail.second.example", "*.second.example"}}),
		pair(3, maker{names: []string{"mx.third.example"}, key: rsaKey(t)}),
	}})
	if err != nil {
		t.Fatal(err)
	}
	var d Door
	d.Use(set)
	rsaOnly := []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
	for _, c := range []struct {
		name, ask string
		suites    []uint16
		want      int64
	}{
		{"no name", "", nil, 0},
		{"no name, RSA only", "", rsaOnly, 1},
		{"the first", "mx.example.org", nil, 0},
		{"the first, RSA only", "mx.example.org", rsaOnly, 1},
		{"another", "mail.second.example", nil, 2},
		{"another, case", "MAIL.second.EXAMPLE", nil, 2},
		{"by a wildcard", "x.second.example", nil, 2},
		{"not by a wildcard", "x.y.second.example", nil, 0},
		{"of RSA", "mx.third.example", nil, 3},
		{"unknown", "mx.unknown.example", nil, 0},
		{"unknown, RSA only", "mx.unknown.example", rsaOnly, 1},
		{"of no kind that the client can use", "mail.second.example", rsaOnly, 1},
		{"nonsense", strings.Repeat("a", 300), nil, 0},
		{"an address", "192.0.2.1", nil, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := serial(t, &d, &tls.Config{ServerName: c.ask, MaxVersion: tls.VersionTLS12, CipherSuites: c.suites}); got != c.want {
				t.Errorf("certificate %d, not %d", got, c.want)
			}
		})
	}
}

// TestMin: a door takes no version below its own.
func TestMin(t *testing.T) {
	dir := t.TempDir()
	m := issue(t, maker{})
	p := Pair{Certificate: write(t, filepath.Join(dir, "c"), m.cert), Key: write(t, filepath.Join(dir, "k"), m.key)}
	for _, lowest := range []uint16{tls.VersionTLS10, tls.VersionTLS11, tls.VersionTLS12, tls.VersionTLS13} {
		set, err := ReadSet(Spec{Min: lowest, Pairs: []Pair{p}})
		if err != nil {
			t.Fatal(err)
		}
		var d Door
		d.Use(set)
		for v := uint16(tls.VersionTLS10); v <= tls.VersionTLS13; v++ {
			_, err := shake(t, &d, &tls.Config{MinVersion: v, MaxVersion: v})
			if (err == nil) != (v >= lowest) {
				t.Errorf("%s at a door of %s: %v", tls.VersionName(v), tls.VersionName(lowest), err)
			}
		}
	}
}

// files is a door on a folder of files.
type files struct {
	t         testing.TB
	dir       string
	cert, key string
	ca        string
	door      Door
}

func newFiles(t testing.TB) *files {
	dir := t.TempDir()
	f := &files{t: t, dir: dir, cert: filepath.Join(dir, "cert.pem"), key: filepath.Join(dir, "key.pem"), ca: filepath.Join(dir, "ca.pem")}
	first := issue(t, maker{serial: 1})
	write(t, f.cert, first.cert)
	write(t, f.key, first.key)
	write(t, f.ca, issue(t, maker{names: []string{"clients"}, ca: true}).cert)
	set, err := ReadSet(f.spec())
	if err != nil {
		t.Fatal(err)
	}
	f.door.Use(set)
	return f
}

func (f *files) spec() Spec {
	return Spec{
		Min: tls.VersionTLS12, Pairs: []Pair{{Place: "public", Certificate: f.cert, Key: f.key}},
		ClientCA: f.ca, ClientPlace: "public.client_ca",
	}
}

// replace puts a file in the place of another, as careful programs do.
func (f *files) replace(path string, data []byte) {
	f.t.Helper()
	if err := os.Rename(write(f.t, path+".new", data), path); err != nil {
		f.t.Fatal(err)
	}
}

// expect polls twice, and compares what is told of the certificate and what is in use then.
func (f *files) expect(when string, serialNow int64, told string) {
	f.t.Helper()
	var said []string
	for range 2 {
		for _, c := range f.door.Poll() {
			if c.Err != nil {
				said = append(said, c.Err.Error())
			} else {
				said = append(said, "taken")
			}
		}
	}
	if got := strings.Join(said, "; "); told == "" && got != "" || !strings.Contains(got, told) || len(said) > 1 {
		f.t.Errorf("%s: told %q, not %q", when, got, told)
	}
	if got := serial(f.t, &f.door, &tls.Config{}); got != serialNow {
		f.t.Errorf("%s: certificate %d is in use, not %d", when, got, serialNow)
	}
}

// TestPoll changes the files in the ways that people and programs do.
func TestPoll(t *testing.T) {
	f := newFiles(t)
	second, third, fourth := issue(t, maker{serial: 2}), issue(t, maker{serial: 3}), issue(t, maker{serial: 4})
	f.expect("nothing has happened", 1, "")

	f.replace(f.cert, second.cert)
	f.expect("the certificate without its key", 1, "private key does not match")
	f.expect("still", 1, "")
	f.replace(f.key, second.key)
	f.expect("the key too", 2, "taken")

	config := f.door.Config()
	if err := os.Chtimes(f.cert, time.Now(), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	f.replace(f.key, second.key)
	f.expect("the same octets in new files", 2, "")
	if f.door.Config() != config {
		t.Error("the same octets ended the sessions of clients")
	}

	write(t, f.key, third.key)
	write(t, f.cert, third.cert[:200])
	f.expect("written halfway", 2, "not complete")
	write(t, f.cert, third.cert)
	f.expect("written", 3, "taken")

	if err := os.Rename(f.key, f.key+".away"); err != nil {
		t.Fatal(err)
	}
	f.expect("the key is gone", 3, "no such file")
	if s := f.door.States(); s[0].Taken || !s[1].Taken || s[0].Place != "public" || s[0].NotAfter.IsZero() || !s[1].NotAfter.IsZero() {
		t.Errorf("states %+v", s)
	}
	if err := os.Rename(f.key+".away", f.key); err != nil {
		t.Fatal(err)
	}
	f.expect("the key is back", 3, "taken")

	if err := os.Remove(f.cert); err != nil {
		t.Fatal(err)
	}
	f.expect("no certificate", 3, "no such file")
	write(t, f.cert, fourth.cert)
	f.expect("a certificate without its key", 3, "private key does not match")
	write(t, f.key, fourth.key)
	f.expect("and with it", 4, "taken")

	write(t, f.ca, []byte("none"))
	f.expect("no authority", 4, "holds no certificate")
	before := f.door.Config()
	write(t, f.ca, issue(t, maker{names: []string{"others"}, ca: true}).cert)
	f.expect("another authority", 4, "taken")
	if f.door.Config() == before || f.door.Config().ClientCAs.Equal(before.ClientCAs) {
		t.Error("the authorities are the old ones")
	}
}

// TestPollOfLinks renews as certbot does: the files are links, of which one after the other points to a new file.
func TestPollOfLinks(t *testing.T) {
	f := newFiles(t)
	link := func(path string, data []byte, version string) {
		t.Helper()
		target := write(t, filepath.Join(f.dir, filepath.Base(path)+version), data)
		if err := os.Symlink(target, path+".link"); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".link", path); err != nil {
			t.Fatal(err)
		}
	}
	second := issue(t, maker{serial: 2})
	link(f.key, second.key, "2")
	f.expect("one link", 1, "private key does not match")
	link(f.cert, second.cert, "2")
	f.expect("both links", 2, "taken")
}

// TestPollWaits: what changes from one look to the next is not read yet.
func TestPollWaits(t *testing.T) {
	f := newFiles(t)
	second := issue(t, maker{serial: 2})
	write(t, f.key, second.key)
	if told := f.door.Poll(); len(told) > 0 {
		t.Errorf("at the first look: %v", told)
	}
	write(t, f.cert, second.cert)
	if told := f.door.Poll(); len(told) > 0 {
		t.Errorf("changed since: %v", told)
	}
	f.expect("settled", 2, "taken")
}

// TestSessionsOutliveReloads: a reload that changes nothing lets clients resume their sessions; nobody resumes one
// that began with another certificate.
func TestSessionsOutliveReloads(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			f := newFiles(t)
			client := &tls.Config{MaxVersion: version, ServerName: "mx.example.org", ClientSessionCache: tls.NewLRUClientSessionCache(1)}
			step := func(when string, resumed bool, want int64) {
				t.Helper()
				s, err := shake(t, &f.door, client)
				if err != nil || s.DidResume != resumed || s.PeerCertificates[0].SerialNumber.Int64()-1 != want {
					t.Errorf("%s: resumed %v, serial %d, %v", when, s.DidResume, s.PeerCertificates[0].SerialNumber.Int64()-1, err)
				}
			}
			reload := func() {
				t.Helper()
				set, err := ReadSet(f.spec())
				if err != nil {
					t.Fatal(err)
				}
				f.door.Use(set)
			}
			step("at first", false, 1)
			step("then", true, 1)
			reload()
			step("after a reload", true, 1)
			second := issue(t, maker{serial: 2})
			write(t, f.cert, second.cert)
			write(t, f.key, second.key)
			reload()
			step("after a new certificate", false, 2)
			step("and then", true, 2)
			// A client that resumes shows the certificate of before: it must be verified against new authorities.
			write(t, f.ca, issue(t, maker{names: []string{"others"}, ca: true}).cert)
			reload()
			step("after new authorities", false, 2)
		})
	}
}

// TestAsking: certificates are asked for where authorities are named or somebody wants them, and not elsewhere.
func TestAsking(t *testing.T) {
	f := newFiles(t)
	ca, err := os.ReadFile(f.ca)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(ca)
	authority, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name        string
		ca          string
		ask         bool
		asked       bool
		authorities int
	}{
		{"nobody", "", false, false, 0},
		{"somebody", "", true, true, 0},
		{"authorities", f.ca, false, true, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			spec := f.spec()
			spec.ClientCA, spec.Ask = c.ca, c.ask
			set, err := ReadSet(spec)
			if err != nil {
				t.Fatal(err)
			}
			var d Door
			d.Use(set)
			asked, named := false, [][]byte(nil)
			_, err = shake(t, &d, &tls.Config{GetClientCertificate: func(i *tls.CertificateRequestInfo) (*tls.Certificate, error) {
				asked, named = true, i.AcceptableCAs
				return new(tls.Certificate), nil
			}})
			if err != nil || asked != c.asked || len(named) != c.authorities || c.ca != "" && !bytes.Equal(named[0], authority.RawSubject) {
				t.Errorf("asked: %v, authorities: %d, %v", asked, len(named), err)
			}
		})
	}
}

// TestUnused: a door without a set does nothing.
func TestUnused(t *testing.T) {
	var d Door
	if d.Config() != nil || d.Poll() != nil || d.States() != nil {
		t.Error("a door without a set has something")
	}
}
