package app

import (
	"crypto/md5" //nolint:gosec // it is the format of a base of signatures
	"fmt"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/peertest"
)

// clamdBase is a base of signatures with the test file, and a text that is called potentially unwanted.
func clamdBase() map[string]string {
	return map[string]string{
		"test.hdb": fmt.Sprintf("%x:%d:Test.Eicar\n", md5.Sum([]byte(eicar())), len(eicar())), //nolint:gosec // see above
		"test.ndb": fmt.Sprintf("PUA.Test.Text:0:*:%x\nOther.Text:0:*:%x\n", "unwanted stuff", "other stuff"),
	}
}

// TestClamd has a real clamd in front of the mailbox: a virus in a nested archive is found, and where clamd fails
// nothing is let through.
func TestClamd(t *testing.T) {
	t.Parallel()
	d := peertest.StartClamd(t, clamdBase(), "StreamMaxLength 1M")
	nested := attached("a.zip", zipped(t, "b.zip", zipped(t, "c.com", []byte(eicar()))))
	clean := attached("a.zip", zipped(t, "b.zip", zipped(t, "c.com", []byte("nothing"))))
	t.Run("reject", func(t *testing.T) {
		t.Parallel()
		g := startGatewayWith(t, fmt.Sprintf(scannerGateway, `clamd: {servers: ["unix:`+d.Addr+`"], timeout: 1m}`))
		g.wants(t, "clean", clean, "250")
		g.wants(t, "nested", nested, "550 5.7.1")
		g.wants(t, "nested, from the cache", nested, "550 5.7.1")
		g.wants(t, "unwanted", attached("x.txt", []byte("this is unwanted stuff")), "250")
		g.wants(t, "too large", attached("x.bin", make([]byte, 2<<20)), "451")
		if got := len(g.stored(t)); got != 2 {
			t.Errorf("%d messages are stored", got)
		}
		for _, want := range []string{`"symbol":"VIRUS"`, `part 2 \"a.zip\": Test.Eicar.UNOFFICIAL`, `"symbol":"VIRUS_SUSPECT"`, `"symbol":"VIRUS_UNSCANNED"`} {
			if !strings.Contains(g.log.String(), want) {
				t.Errorf("no %s in the log", want)
			}
		}
		if got := g.breaker(t, "clamd"); got != "closed" {
			t.Errorf("the breaker is %q", got)
		}
	})
	t.Run("strip", func(t *testing.T) {
		t.Parallel()
		g := startGatewayWith(t, fmt.Sprintf(scannerGateway, `clamd: {servers: ["unix:`+d.Addr+`"], timeout: 1m, action: strip}`))
		g.wants(t, "nested", nested, "250")
		all := g.stored(t)
		if len(all) != 1 || !strings.Contains(all[0], "a virus was found in it") || !strings.Contains(all[0], "Hello.") || strings.Contains(all[0], "base64") {
			t.Errorf("stored: %q", all)
		}
		// What the first signature hides is found in what is left; it can't be said where, so the message is held.
		g.wants(t, "more behind it", strings.Replace(nested, "--b1--\r\n", "--b1--\r\nother stuff\r\n", 1), "550 5.7.1")
		if got := len(g.stored(t)); got != 1 {
			t.Errorf("%d messages are stored", got)
		}
		if got := g.metric(t, "postern_quarantine_messages"); got != "2" { // one of them is the original of the first
			t.Errorf("%s messages are held", got)
		}
	})
	t.Run("quarantine", func(t *testing.T) {
		t.Parallel()
		g := startGatewayWith(t, fmt.Sprintf(scannerGateway, `clamd: {servers: ["unix:`+d.Addr+`"], timeout: 1m, action: quarantine, signatures: {"Test.*": tag}}`))
		g.wants(t, "let off by name", nested, "250")
		g.wants(t, "other", attached("x.txt", []byte("other stuff")), "550 5.7.1")
		if got := g.metric(t, "postern_quarantine_messages"); got != "1" {
			t.Errorf("%s messages are held", got)
		}
	})
}

// TestClamdFails kills and stalls a real clamd.
func TestClamdFails(t *testing.T) {
	t.Parallel()
	d := peertest.StartClamd(t, clamdBase(), "")
	options := `clamd: {servers: ["unix:` + d.Addr + `"], cache: 0`
	g := startScanned(t, options)
	scannerFails(t, g, options, d, "clamd", attached("a.txt", []byte("clean")), attached("a.com", []byte(eicar())))
}

// TestClamdTurns: with two servers no message waits for the one that is gone, and with on_error: continue mail passes
// without a scanner.
func TestClamdTurns(t *testing.T) {
	t.Parallel()
	a, b := peertest.StartClamd(t, clamdBase(), ""), peertest.StartClamd(t, clamdBase(), "")
	options := `clamd: {servers: ["unix:` + a.Addr + `", "unix:` + b.Addr + `"], on_error: continue, pause: 1m, faults: 2, cache: 0`
	g := startGatewayWith(t, fmt.Sprintf(scannerGateway, options+", timeout: 1m}"))
	take := func(timeout string) {
		t.Helper()
		g.take(t, strings.ReplaceAll(fmt.Sprintf(scannerGateway, options+", timeout: "+timeout+"}"), "{{dir}}", g.dir))
	}
	bad := attached("a.com", []byte(eicar()))
	g.wants(t, "both there", bad, "550")
	a.Kill()
	g.wants(t, "one is gone", bad, "550")
	b.Stall()
	take("2s") // for the one that hangs: the others have all the time that they need
	g.wants(t, "the other hangs", bad, "250")
	b.Resume()
	take("1m")
	g.wants(t, "the other is back", bad, "550")
	b.Kill()
	g.wants(t, "none is there", bad, "250")
	if got := g.breaker(t, "clamd"); got != "closed" { // of the best: one fault
		t.Errorf("the breaker is %q", got)
	}
}
