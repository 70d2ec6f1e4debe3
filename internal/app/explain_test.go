package app

import (
	"bytes"
	"fmt"
	"net/smtp"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/peertest"
)

// TestExplainQueued: of a message in the spool it is said where it is and why, also where no gateway runs; of one that has left
// it, the log alone can tell.
func TestExplainQueued(t *testing.T) {
	backendAddr := peertest.FreeAddr(t)
	g := startGateway(t, "hostname: mx.example.org\nlisteners: {office: {address: \"127.0.0.1:0\", relay: {networks: [127.0.0.0/8]}}}\n"+
		"routes: [{to: [example.org], upstream: inside}]\nupstreams: {inside: {servers: [\""+backendAddr+"\"], tls: none}}\n"+
		"state: {directory: \"{{dir}}/state\"}\nfilters: []\n")
	var to []string
	for i := range 23 {
		to = append(to, fmt.Sprintf("bob%d@example.org", i))
	}
	if err := smtp.SendMail(g.addr, nil, "ann@example.com", to, []byte("Subject: x\r\n\r\nbody\r\n")); err != nil {
		t.Fatal(err)
	}
	explain := func(id, log string, code int) (out, errs string) {
		t.Helper()
		var stdout, stderr bytes.Buffer
		a, err := New(Options{Config: g.app.o.Config, ConfigGiven: true, Stdin: strings.NewReader(""), Stdout: &stdout, Stderr: &stderr})
		if err != nil {
			t.Fatal(err)
		}
		err = a.Explain(t.Context(), id, log)
		if err != nil {
			fmt.Fprintln(&stderr, err)
		}
		got := 0
		if e, ok := err.(*Exit); ok { //nolint:errorlint // as the command looks at it
			got = e.Code
		}
		if got != code {
			t.Errorf("explain %s %s: %v", id, log, err)
		}
		return stdout.String(), stderr.String()
	}
	says := func(text string, want ...string) {
		t.Helper()
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("%q is missing in\n%s", w, text)
			}
		}
	}
	ids, err := filepath.Glob(filepath.Join(g.dir, "state", "spool", "mx-*.msg"))
	if err != nil || len(ids) != 1 {
		t.Fatalf("%q, %v", ids, err)
	}
	id := strings.TrimSuffix(filepath.Base(ids[0]), ".msg")
	if !comesTrue(func() bool { l, err := g.queue.Get(id); return err == nil && l.Groups[0].Cause != "" }) {
		t.Error("it is not tried")
	}
	out, _ := explain(id, "", 0)
	says(out, "from <ann@example.com>", "postern queue show "+id, "deferred", backendAddr, "<bob0@example.org> waiting\n", "<bob19@", "and 3 more")
	if strings.Contains(out, "bob20@") {
		t.Errorf("all are shown:\n%s", out)
	}
	explain("../spool/"+id, "", ExitData)

	log := filepath.Join(g.dir, "log")
	if err := os.WriteFile(log, []byte(g.log.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	out, _ = explain(id, log, 0)
	says(out, "postern queue show "+id, "queued      relay")

	g.close()
	out, errs := explain(id, "", 0)
	if says(out, "no gateway runs", "postern queue show "+id); errs != "" {
		t.Errorf("%q", errs)
	}
	if err := os.Remove(ids[0]); err != nil {
		t.Fatal(err)
	}
	_, errs = explain(id, "", ExitData)
	says(errs, "stands in the log", "--log", "grep")
	out, _ = explain(id, log, 0)
	says(out, "queued      relay")
}
