package app

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/peertest"
)

// scannerGateway has one filter, of the kind and with the options that a test gives.
const scannerGateway = `hostname: mx.example.org
big_senders: []
listeners: {public: {address: "127.0.0.1:0", early_talkers: 0s, limits: {per_client: 100, rate: 10000}}}
routes: [{to: [example.org], upstream: local}]
upstreams: {local: {maildir: "{{dir}}/mail"}}
state: {directory: "{{dir}}/state"}
policies: {default: {tag: 5, reject: 15}}
filters:
  - %s
`

// stored gives the messages in the maildir.
func (g *testGateway) stored(t *testing.T) (all []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(g.dir, "mail", "new", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(b))
	}
	return all
}

// send sends one message and gives the reply to its content.
func (g *testGateway) send(t *testing.T, content string) string {
	t.Helper()
	reply, err := sample{from: "alice@client.test", to: "bob@example.org", content: []byte(content)}.send(context.Background(), g.addr)
	if err != nil {
		t.Fatal(err)
	}
	return reply
}

// wants sends a message and fails the test where the reply is another one.
func (g *testGateway) wants(t *testing.T, what, content, code string) {
	t.Helper()
	if reply := g.send(t, content); !strings.HasPrefix(reply, code) {
		t.Errorf("%s: %s; want %s", what, reply, code)
	}
}

// wantsAtLast is wants for a scanner that is there: on a machine under load it may be late, and what is deferred comes again.
func (g *testGateway) wantsAtLast(t *testing.T, what, content, code string) {
	t.Helper()
	reply := g.send(t, content)
	for end := time.Now().Add(2 * time.Minute); strings.HasPrefix(reply, "451") && time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		reply = g.send(t, content)
	}
	if !strings.HasPrefix(reply, code) {
		t.Errorf("%s: %s; want %s", what, reply, code)
	}
}

// runs gives how many runs of the filter ended so.
func (g *testGateway) runs(t *testing.T, name, outcome string) string {
	t.Helper()
	return g.metric(t, fmt.Sprintf(`postern_filter_runs_total{filter=%q,mode="enforce",outcome=%q}`, name, outcome))
}

// breaker gives the state of the filter's breaker.
func (g *testGateway) breaker(t *testing.T, name string) string {
	t.Helper()
	var is []string
	for _, s := range []string{"closed", "half_open", "open"} {
		if g.metric(t, fmt.Sprintf(`postern_filter_breaker_state{filter=%q,state=%q}`, name, s)) == "1" {
			is = append(is, s)
		}
	}
	return strings.Join(is, ",")
}

// startScanned starts a gateway in front of a scanner, with the options of the filter but their last bracket. A scanner that is there has all
// the time that a machine under load may take.
func startScanned(t *testing.T, options string) *testGateway {
	t.Helper()
	return startGatewayWith(t, fmt.Sprintf(scannerGateway, options+", faults: 3, pause: 1s, timeout: 1m}"))
}

// scannerFails kills a scanner, starts it anew, and stalls it, in front of a gateway of startScanned's with these options: no message is lost or let
// through, the breaker opens and closes, and metrics tell.
func scannerFails(t *testing.T, g *testGateway, options string, d *peertest.Daemon, name, good, bad string) {
	t.Helper()
	timeout := func(d string) { // it is none of what the breaker knows a scanner by
		t.Helper()
		text := fmt.Sprintf(scannerGateway, options+", faults: 3, pause: 1s, timeout: "+d+"}")
		g.take(t, strings.ReplaceAll(text, "{{dir}}", g.dir))
	}
	g.wantsAtLast(t, "good, all well", good, "250")
	before := len(g.stored(t))
	for _, fault := range []struct {
		what         string
		break_, mend func()
		outcome      string
		timeout      string
	}{
		{"killed", d.Kill, d.Start, "error", "1m"},
		{"stalled", d.Stall, d.Resume, "timeout", "1s"},
	} {
		told := strings.Count(g.log.String(), "scanner answers again")
		fault.break_()
		timeout(fault.timeout)
		for range 3 {
			g.wants(t, fault.what, good, "451")
		}
		if got := g.breaker(t, name); got != "open" {
			t.Errorf("%s: the breaker is %q", fault.what, got)
		}
		rested := g.runs(t, name, "breaker_open")
		for range 10 { // on a machine under load one of them may be the one that tries
			g.wants(t, fault.what+", breaker open", good, "451")
			if g.runs(t, name, "breaker_open") != rested {
				break
			}
		}
		if got := g.runs(t, name, fault.outcome); got == "0" || got == "absent" {
			t.Errorf("%s: outcome %s: %s", fault.what, fault.outcome, got)
		}
		if got := g.runs(t, name, "breaker_open"); got == rested {
			t.Errorf("%s: outcome breaker_open: %s", fault.what, got)
		}
		if got := len(g.stored(t)); got != before {
			t.Errorf("%s: %d messages went through", fault.what, got-before)
		}
		fault.mend()
		timeout("1m")
		for end := time.Now().Add(5 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
			if reply := g.send(t, good); strings.HasPrefix(reply, "250") {
				before++
				break
			} else if time.Now().After(end) {
				t.Fatalf("%s: it does not come back: %s", fault.what, reply)
			}
		}
		if got := g.breaker(t, name); got != "closed" {
			t.Errorf("%s, and back: the breaker is %q", fault.what, got)
		}
		if strings.Count(g.log.String(), "scanner answers again") != told+1 {
			t.Errorf("%s: the log does not tell once that it is back", fault.what)
		}
		g.wantsAtLast(t, fault.what+", and back: bad", bad, "550")
	}
	if got := len(g.stored(t)); got != before {
		t.Errorf("%d messages are stored, not %d", got, before)
	}
}

// eicar is the test file that scanners call a virus. It stands here in pieces, so that this file is none.
func eicar() string {
	return `X5O!P%@AP[4\PZX54(P^)7CC)7}` + "$" + "EICAR-STANDARD-" + "ANTIVIRUS-TEST-FILE!$H+H*"
}

// zipped gives a zip file with one file in it.
func zipped(t *testing.T, name string, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.Create(name)
	if err == nil {
		_, err = w.Write(content)
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// attached gives a message with a text and an attachment.
func attached(name string, content []byte) string {
	var b strings.Builder
	b.WriteString("From: Alice <alice@client.test>\r\nTo: bob@example.org\r\nSubject: x\r\nDate: Mon, 23 Nov 2026 09:00:00 +0000\r\n" +
		"Message-ID: <" + fmt.Sprint(time.Now().UnixNano()) + "@client.test>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"b1\"\r\n\r\n--b1\r\n" +
		"Content-Type: text/plain\r\n\r\nHello.\r\n--b1\r\nContent-Type: application/octet-stream; name=\"" + name + "\"\r\n" +
		"Content-Transfer-Encoding: base64\r\n\r\n")
	text := base64.StdEncoding.EncodeToString(content)
	for line := range slices.Chunk([]byte(text), 76) {
		b.Write(line)
		b.WriteString("\r\n")
	}
	b.WriteString("--b1--\r\n")
	return b.String()
}

// TestDocumentedScanners reads the samples of the pages of docs about filters that ask a program.
func TestDocumentedScanners(t *testing.T) {
	for _, page := range []string{"clamd", "rspamd", "http", "milter"} {
		doc, err := os.ReadFile(filepath.Join("..", "..", "docs", "filters", page+".md"))
		if err != nil {
			t.Fatal(err)
		}
		parts := strings.Split(string(doc), "```yaml\n")
		if len(parts) < 2 {
			t.Errorf("%s has no sample", page)
		}
		for _, part := range parts[1:] {
			text, _, _ := strings.Cut(part, "```")
			text = strings.Replace(text, "      ca_file: /etc/postern/inside.pem\n", "", 1) // there is none here
			text += "hostname: mx.example.org\nlisteners: {public: {address: \":25\"}}\nroutes: [{to: [example.org], upstream: x}]\nupstreams: {x: {maildir: m}}\n"
			file := filepath.Join(t.TempDir(), "postern.yaml")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			a, err := New(Options{Config: file, ConfigGiven: true, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out})
			if err == nil {
				err = a.Check()
			}
			if err != nil {
				t.Errorf("%s: %v\n%s\n%s", page, err, out.String(), text)
			}
		}
	}
}
