package app

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/peertest"
)

// TestDemo runs the demo and compares what became of each sample with what its table promises.
func TestDemo(t *testing.T) {
	dir := t.TempDir()
	var out bytes.Buffer
	a, err := New(Options{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Demo(context.Background(), DemoOptions{Once: true, Dir: dir}); err != nil {
		t.Fatal(err)
	}
	for about, want := range map[string]string{
		"plain text from a partner":              "250 2.0.0",
		"text, HTML and a PDF":                   "250 2.0.0",
		"a letter with a DKIM signature":         "250 2.0.0",
		"a program that calls itself an invoice": "ATTACHMENT_EXECUTABLE",
		"a script whose name reads backwards":    "ATTACHMENT_SCRIPT",
		"a forwarded message with a program":     "ATTACHMENT_EXECUTABLE",
		"our own director, from outside":         "OWN_DOMAIN_UNPROVEN",
		"looks like spam in many ways":           "550 5.7.1",
		"a sender domain that does not exist":    "550 5.1.8",
		"a sender domain that takes no mail":     "550 5.7.27",
		"the same program, to a mailbox":         "held",
		"a mailbox that does not exist":          "550 5.1.1",
		"mail for somebody else's domain":        "554 5.7.1",
		"a second message smuggled":              "250 2.0.0",
		"a complaint to postmaster":              "250 2.0.0",
		"an author whose domain asks":            "dmarc: DMARC_FAIL_REJECT",
	} {
		found := false
		for line := range strings.Lines(out.String()) {
			found = found || strings.HasPrefix(line, about) && strings.Contains(line, want)
		}
		if !found {
			t.Errorf("no line %q with %q in\n%s", about, want, out.String())
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "mail", "new", "*"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 10 {
		t.Errorf("%d messages delivered, not 10: the smuggled one must not be one of its own", len(files))
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte("TVqQAA")) {
			t.Errorf("%s holds a program:\n%s", f, b)
		}
		if bytes.Contains(b, []byte("newsletter")) && !bytes.Contains(b, []byte("dkim=pass")) {
			t.Errorf("no dkim=pass in\n%s", b)
		}
	}
}

// TestMetricsAreClean lets Prometheus's own tool judge what /metrics serves.
func TestMetricsAreClean(t *testing.T) {
	g := startGateway(t, `
hostname: mx.example.org
listeners: {public: {address: "127.0.0.1:0"}}
routes: [{to: [example.org], upstream: local}]
upstreams: {local: {maildir: "{{dir}}/mail"}}
state: {directory: "{{dir}}/state"}
metrics: {address: "127.0.0.1:0"}
dns: {servers: ["127.0.0.1:1"]}
`)
	for _, to := range []string{"bob@example.org", "carol@elsewhere.test"} {
		if _, err := (sample{from: "alice@client.test", to: to, content: []byte(invoice)}).send(context.Background(), g.addr); err != nil {
			t.Fatal(err)
		}
	}
	res, err := http.Get("http://" + g.web.addr.String() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var text bytes.Buffer
	if _, err := text.ReadFrom(res.Body); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`postern_messages_total{action="continue",changed="stripped",mode="enforce",route="example.org"} 1`,
		`postern_filter_runs_total{filter="attachments",mode="enforce",outcome="match"} 1`,
		`postern_smtp_connections_total`, `postern_config_last_reload_successful 1`, `postern_quarantine_messages 1`,
		`postern_spam_score_count 1`,
		`postern_build_info`,
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
	cmd := peertest.Command(t, "promtool", "check", "metrics")
	cmd.Stdin = &text
	if out, err := cmd.CombinedOutput(); err != nil || len(bytes.TrimSpace(out)) > 0 {
		t.Errorf("promtool: %v\n%s", err, out)
	}
	for _, args := range [][]string{{"check", "rules", "postern.rules.yml"}, {"test", "rules", "postern.rules.test.yml"}} {
		args[2] = filepath.Join("..", "..", "deploy", "prometheus", args[2])
		if out, err := peertest.Command(t, "promtool", args...).CombinedOutput(); err != nil {
			t.Errorf("promtool: %v\n%s", err, out)
		}
	}
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/nothing": 404} {
		res, err := http.Get("http://" + g.web.addr.String() + path)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%s: %d", path, res.StatusCode)
		}
	}
}

// TestReload takes a good configuration, refuses a bad one, and goes on with the last good one.
func TestReload(t *testing.T) {
	const text = `
hostname: mx.example.org
listeners: {public: {address: "127.0.0.1:0"}}
routes: [{to: [%DOMAIN%], upstream: local}]
upstreams: {local: {maildir: "{{dir}}/mail"}}
state: {directory: "{{dir}}/state"}
filters: []
`
	g := startGateway(t, strings.ReplaceAll(text, "%DOMAIN%", "one.test"))
	try := func(to string) string {
		t.Helper()
		reply, err := sample{from: "a@client.test", to: to, content: []byte("Subject: x\r\n\r\nx\r\n")}.send(context.Background(), g.addr)
		if err != nil {
			t.Fatal(err)
		}
		return reply[:3]
	}
	write := func(text string) {
		t.Helper()
		text = strings.ReplaceAll(text, "{{dir}}", g.dir)
		if err := os.WriteFile(g.app.o.Config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		g.reload(t.Context())
	}
	if a, b := try("u@one.test"), try("u@two.test"); a != "250" || b != "554" {
		t.Fatalf("before: %s, %s", a, b)
	}
	write(strings.ReplaceAll(text, "%DOMAIN%", "two.test"))
	if a, b := try("u@one.test"), try("u@two.test"); a != "554" || b != "250" {
		t.Errorf("after a good reload: %s, %s", a, b)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for name, bad := range map[string]string{
		"unknown key":    strings.ReplaceAll(text, "%DOMAIN%", "three.test") + "nonsense: 1\n",
		"not YAML":       ": [",
		"address in use": strings.ReplaceAll(strings.ReplaceAll(text, "%DOMAIN%", "three.test"), "127.0.0.1:0", taken.Addr().String()),
		"state changed":  strings.ReplaceAll(strings.ReplaceAll(text, "%DOMAIN%", "three.test"), "{{dir}}/state", "{{dir}}/other"),
	} {
		before := len(g.log.lines(t, "configuration not taken: the old one is in force"))
		write(bad)
		if got := len(g.log.lines(t, "configuration not taken: the old one is in force")); got != before+1 {
			t.Errorf("%s: the log does not tell", name)
		}
		if a, b := try("u@two.test"), try("u@three.test"); a != "250" || b != "554" {
			t.Errorf("%s: %s, %s", name, a, b)
		}
	}
}

// TestScanNeedsNoState runs scan in a folder that it may not write to, with no configuration.
func TestScanNeedsNoState(t *testing.T) {
	before, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	a, err := New(Options{Config: filepath.Join(t.TempDir(), "none.yaml"), Stdin: strings.NewReader(invoice), Stdout: &out, Stderr: &out})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Scan(context.Background(), ScanOptions{File: "-", JSON: true}); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	after, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	if len(before) != len(after) {
		t.Errorf("scan left something behind: %v", after)
	}
	if !strings.Contains(out.String(), `"class": "executable"`) {
		t.Errorf("scan said\n%s", out.String())
	}
}
