package arc

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	mathrand "math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/postern-mail/postern/internal/dkim"
	"github.com/postern-mail/postern/internal/peertest"
)

// Chains that are made here are validated by python3-dkim, and its chains here.

const chains = 50 // each way

var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

// theirVerify reads messages and the keys, and writes a status for each.
const theirVerify = `
import sys, json, dkim
job = json.load(sys.stdin)
keys = job["keys"]
def txt(name, timeout=5):
    name = name.decode() if isinstance(name, bytes) else name
    return keys.get(name.rstrip(".")).encode()
out = []
for m in job["messages"]:
    cv, results, reason = dkim.ARC(m.encode("latin-1")).verify(dnsfunc=txt)
    out.append([(cv or b"ended").decode(), str(reason)])
json.dump(out, sys.stdout)
`

// theirSeal reads messages and how many sets each is to get, and writes the messages with their sets on top.
const theirSeal = `
import sys, json, dkim
job = json.load(sys.stdin)
key = job["key"].encode()
out = []
for m, n in zip(job["messages"], job["sets"]):
    m = m.encode("latin-1")
    for i in range(n):
        arc = b"none" if not b"\narc-seal:" in b"\n" + m.lower() else b"pass"
        ar = b"Authentication-Results: their.example; arc=" + arc + b"; dmarc=pass header.from=example.com\r\n"
        lines = dkim.arc_sign(ar + m, b"r", b"their.example", key, b"their.example", linesep=b"\r\n")
        assert len(lines) == 3, lines
        m = b"".join(lines) + m
    out.append(m.decode("latin-1"))
json.dump(out, sys.stdout)
`

// python runs a script of theirs.
func python(t *testing.T, script string, job, out any) {
	t.Helper()
	in, err := json.Marshal(job)
	if err != nil {
		t.Fatal(err)
	}
	cmd := peertest.Command(t, "python3", "-c", script)
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), &stderr
	text, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, &stderr)
	}
	if err := json.Unmarshal(text, out); err != nil {
		t.Fatal(err)
	}
}

// letter writes some message. The body ends with a line end: theirs and ours agree about others too, but not all servers.
func letter(r *mathrand.Rand) string {
	words := []string{"tea", "at", "five", "  ", "\t", "=C3=A4", ".", "", "x:y;", "(a)", "\"b\"", strings.Repeat("long ", 15)}
	text := func(n int) string {
		var b strings.Builder
		for range n {
			b.WriteString(words[r.IntN(len(words))] + " ")
		}
		return b.String()
	}
	var b strings.Builder
	for _, name := range []string{"Received", "From", "To", "Cc", "Subject", "Date", "Message-ID", "X-Other", "DKIM-Signature", "Received"} {
		switch {
		case name == "From":
			b.WriteString("From: Ann <ann@example.com>\r\n")
		case r.IntN(4) > 0:
			b.WriteString(name + ":" + strings.Repeat(" ", r.IntN(3)) + "x" + text(r.IntN(4)) + "\r\n")
			if r.IntN(3) == 0 {
				b.WriteString("\t" + "y" + text(r.IntN(4)) + "\r\n")
			}
		}
	}
	b.WriteString("\r\n")
	for range r.IntN(8) {
		b.WriteString(text(r.IntN(6)) + "\r\n")
	}
	return b.String()
}

func rsaRecord(t *testing.T) string {
	t.Helper()
	text, err := dkim.Record(rsaKey().Public())
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestTheyValidateOurs(t *testing.T) {
	r := mathrand.New(mathrand.NewPCG(8, 617))
	keys := records{"r._domainkey.rsa.example": rsaRecord(t)}
	job := struct {
		Keys     records  `json:"keys"`
		Messages []string `json:"messages"`
	}{Keys: keys}
	var want []string
	for i := range chains {
		message := letter(r)
		n := 1 + r.IntN(4)
		for j := range n {
			s := &Sealer{Domain: "rsa.example", Selector: "r", Key: rsaKey()} // of ARC they know no Ed25519
			came := Pass
			if j == 0 {
				came = None
			}
			message = seal(t, message, s, came, "mx.example; dmarc=pass header.from=example.com;\r\n\tspf=none")
		}
		status := "pass"
		if i%10 == 9 {
			message, status = message+"more\r\n", "fail"
		}
		if got := validate(t, message, keys); string(got.Status) != status {
			t.Errorf("here: %s, %s", got.Status, got.Reason)
		}
		job.Messages, want = append(job.Messages, message), append(want, status)
	}
	var got [][2]string
	python(t, theirVerify, job, &got)
	for i := range want {
		if i >= len(got) || got[i][0] != want[i] {
			t.Errorf("%d: got %v, want %s for\n%s", i, got[i], want[i], job.Messages[i])
		}
	}
}

func TestWeValidateTheirs(t *testing.T) {
	r := mathrand.New(mathrand.NewPCG(5, 2))
	keys := keyRecords("ed.example")
	keys["r._domainkey.their.example"] = rsaRecord(t)
	job := struct {
		Key      string   `json:"key"`
		Messages []string `json:"messages"`
		Sets     []int    `json:"sets"`
	}{Key: string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rsaKey())}))}
	var below []int
	for range chains {
		message, n := letter(r), 0
		if r.IntN(3) == 0 { // theirs on top of ours
			message, n = seal(t, message, sealerOf("ed.example"), None, "mx.ed.example; none"), 1
		}
		job.Messages, below, job.Sets = append(job.Messages, message), append(below, n), append(job.Sets, 1+r.IntN(4))
	}
	var got []string
	python(t, theirSeal, job, &got)
	if len(got) != chains {
		t.Fatalf("%d messages", len(got))
	}
	for i, message := range got {
		chain := validate(t, message, keys)
		if n := below[i] + job.Sets[i]; chain.Status != Pass || len(chain.Sets) != n || chain.Oldest != 0 {
			t.Errorf("%d: %s, %s, %d sets, want %d, oldest %d, of\n%s", i, chain.Status, chain.Reason, len(chain.Sets), n, chain.Oldest, message)
		}
		if chain := validate(t, message+"more\r\n", keys); chain.Status != Fail {
			t.Errorf("%d, changed: %s", i, chain.Status)
		}
		if r, ok := ParseAuthResults(body(&chain.Sets[len(chain.Sets)-1].AuthResults)); !ok || fmt.Sprint(r.Results[len(r.Results)-1]) != "{dmarc pass [{header.from example.com}]}" {
			t.Errorf("%d: results %+v", i, r)
		}
	}
}
