// Package dkimpeers has real programs verify what internal/dkim signs, and the other way round: python3-dkim, and the
// library of opendkim. It is for tests.
package dkimpeers

import (
	"bufio"
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509" // the program that speaks for the peers
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/dkim"
	"github.com/postern-mail/postern/internal/peertest"
	"github.com/postern-mail/postern/mail"
)

//go:embed peers.py
var program string

// Peers are the names of those who are compared with.
var Peers = []string{"python3-dkim", "opendkim"}

// Count says how many messages went each way between us and a peer, with one algorithm and canonicalisation.
type Count struct {
	Peer, Algorithm, Canons string
	Ours, OursPass          int // signed here, and what the peer verified of them
	Theirs, TheirsPass      int // signed by the peer, and what was verified here
	TheirsBad               int // of those that were not, what the peer does not verify either
	Broken, BrokenAgreed    int // of ours with an octet changed, and on how many of them the verdict was the same
}

// Run signs n random messages each way for each peer, spread over all canonicalisations and both algorithms, and
// complains to t of each that does not verify.
func Run(t *testing.T, n int) []Count {
	s := start(t)
	r := mathrand.New(mathrand.NewPCG(6376, 8463))
	var counts []Count
	at := map[string]int{}
	for i := range n {
		message := Message(r)
		job := job{
			Canons:    []string{"simple/simple", "simple/relaxed", "relaxed/simple", "relaxed/relaxed"}[i%4],
			Algorithm: []string{"rsa-sha256", "ed25519-sha256"}[i/4%2],
		}
		job.Selector = strings.TrimSuffix(job.Algorithm, "-sha256")
		for _, peer := range Peers {
			job.Peer = peer
			key := peer + job.Canons + job.Algorithm
			if _, ok := at[key]; !ok {
				at[key] = len(counts)
				counts = append(counts, Count{Peer: peer, Algorithm: job.Algorithm, Canons: job.Canons})
			}
			s.bothWays(t, r, &counts[at[key]], job, message)
		}
	}
	return counts
}

// bothWays takes one message to one peer and back.
func (s *session) bothWays(t *testing.T, r *mathrand.Rand, c *Count, j job, message string) {
	complain := func(what string, a any, message string) {
		t.Errorf("%s, %s, %s: %s: %+v\n%q", c.Peer, c.Algorithm, c.Canons, what, a, message)
	}
	ours := s.sign(t, j, message)
	c.Ours++
	if a := s.verify(t, j, ours); a.Pass {
		c.OursPass++
	} else {
		complain("signed here", a, ours)
	}
	j.Op, j.Message = "sign", []byte(message)
	c.Theirs++
	if a := s.ask(t, j); a.Error != "" {
		complain("can't sign", a, message)
	} else if got := s.judge(t, string(a.Message)); got == dkim.Pass {
		c.TheirsPass++
	} else if !s.verify(t, j, string(a.Message)).Pass {
		c.TheirsBad++
	} else {
		complain("signed there", got, string(a.Message))
	}
	// A change of an octet in the body may be none to the canonical form: both must say the same.
	broken := []byte(ours)
	at := strings.Index(ours, "\r\n\r\n") + 4
	if at == len(broken) {
		return
	}
	at += r.IntN(len(broken) - at)
	if strings.IndexByte("\r\n", broken[at]) >= 0 {
		return
	}
	broken[at] = " \tx"[r.IntN(3)]
	c.Broken++
	a, got := s.verify(t, j, string(broken)), s.judge(t, string(broken))
	if a.Pass == (got == dkim.Pass) {
		c.BrokenAgreed++
	} else {
		complain(fmt.Sprintf("octet %d changed, %s here", at, got), a, string(broken))
	}
}

// session is a run of the peers' program.
type session struct {
	in      io.Writer
	out     *bufio.Reader
	records records
	keys    map[string]crypto.Signer // by selector
}

type job struct {
	Op        string `json:"op"`
	Peer      string `json:"peer"`
	Canons    string `json:"canons"`
	Algorithm string `json:"algorithm"`
	Selector  string `json:"selector"`
	Message   []byte `json:"message"`
}

type answer struct {
	Pass    bool   `json:"pass"`
	Message []byte `json:"message"`
	Error   string `json:"error"`
}

type records map[string]string

// LookupTXT implements dkim.Resolver.
func (r records) LookupTXT(_ context.Context, name string) ([]string, error) {
	if text, ok := r[name]; ok {
		return []string{text}, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

func start(t *testing.T) *session {
	t.Helper()
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	edKey := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	s := &session{records: records{}, keys: map[string]crypto.Signer{"rsa": rsaKey, "ed25519": edKey}}
	hello := map[string]any{
		"records": s.records, "file": filepath.Join(t.TempDir(), "keys"),
		"seed": base64.StdEncoding.EncodeToString(edKey.Seed()),
		"rsa":  string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rsaKey)})),
	}
	for selector, key := range s.keys {
		text, err := dkim.Record(key.Public())
		if err != nil {
			t.Fatal(err)
		}
		s.records[selector+"._domainkey.example.org"] = text
	}
	der, err := x509.MarshalPKCS8PrivateKey(edKey)
	if err != nil {
		t.Fatal(err)
	}
	hello["ed"] = string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	cmd := peertest.Command(t, "python3", "-c", program)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the peers' program: %v\n%s", err, complaints.String())
		}
	})
	s.in, s.out = in, bufio.NewReader(out)
	if err := json.NewEncoder(in).Encode(hello); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *session) ask(t *testing.T, j job) (a answer) {
	t.Helper()
	if err := json.NewEncoder(s.in).Encode(j); err != nil {
		t.Fatal(err)
	}
	line, err := s.out.ReadBytes('\n')
	if err != nil {
		t.Fatalf("the peers' program answers no more: %v", err)
	}
	if err := json.Unmarshal(line, &a); err != nil {
		t.Fatal(err)
	}
	return a
}

func (s *session) verify(t *testing.T, j job, message string) answer {
	t.Helper()
	j.Op, j.Message = "verify", []byte(message)
	return s.ask(t, j)
}

// split reads a message as the gateway does.
func split(message string) (*dkim.Fields, io.WriterTo) {
	c := mail.NewContent(mail.NewBlob([]byte(message)), mail.LineFaults{}, mail.Limits{})
	defer c.Release()
	h := c.Header()
	return dkim.NewFields(h.Fields()), strings.NewReader(message[h.Octets():])
}

func (s *session) sign(t *testing.T, j job, message string) string {
	t.Helper()
	fields, body := split(message)
	signer := &dkim.Signer{Domain: "example.org", Selector: j.Selector, Key: s.keys[j.Selector], Canons: j.Canons}
	all, err := dkim.Sign(fields, body, signer)
	if err != nil {
		t.Fatal(err)
	}
	return all[0] + message
}

// judge gives our word on the topmost signature.
func (s *session) judge(t *testing.T, message string) dkim.Result {
	t.Helper()
	fields, body := split(message)
	checks, err := dkim.Verify(t.Context(), fields, body, dkim.Options{Resolver: s.records})
	if err != nil || len(checks) == 0 {
		t.Fatalf("%d signatures, %v", len(checks), err)
	}
	return checks[0].Result
}

// Message makes a message that is canonical on the wire and odd in other ways that RFC 5322 and RFC 6532 allow.
func Message(r *mathrand.Rand) string {
	words := []string{
		"tea", "at", "five", " ", "  ", "\t", "=?utf-8?q?caf=C3=A9?=", "a;b", "b=c", "x:y", "\u00e9", "!", "~", "\r\n ", "\r\n\t ", " \r\n  ",
	}
	value := func(parts int) string {
		var b strings.Builder
		for range r.IntN(parts) {
			b.WriteString(words[r.IntN(len(words))])
		}
		return "v" + b.String() + "w"
	}
	var b strings.Builder
	names := []string{"Subject", "To", "Date", "X-Other", "subject", "Received", "List-Id", "MIME-Version", "cc", "Reply-To"}
	n := 5 + r.IntN(5)
	from := r.IntN(n)
	for i := range n {
		if i == from {
			fmt.Fprintf(&b, "From: %s <a@example.org>\r\n", value(4))
		}
		fmt.Fprintf(&b, "%s:%s%s\r\n", names[r.IntN(len(names))], []string{"", " ", "\t", "  "}[r.IntN(4)], value(8))
	}
	b.WriteString("\r\n")
	lines := []string{"", "", " ", "\t", "text", " text", "text ", "two  blanks", "a\tb ", ".", "..", strings.Repeat("long ", 30), "\u00fc", "=20"}
	for range r.IntN(12) {
		b.WriteString(lines[r.IntN(len(lines))] + "\r\n")
	}
	return b.String()
}
