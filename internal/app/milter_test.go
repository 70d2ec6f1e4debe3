package app

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/peertest"
)

// TestOpenDKIM has a real opendkim as a milter: it signs what comes, a second one verifies that, and finds a change.
func TestOpenDKIM(t *testing.T) {
	t.Parallel()
	d := peertest.StartOpenDKIM(t, "sv", "InternalHosts 127.0.0.1\nOn-BadSignature reject\n")
	g := startGatewayWith(t, fmt.Sprintf(scannerGateway, `milter: {name: opendkim, servers: ["unix:`+d.Addr+`"], timeout: 1m}`))
	text := "From: Bob <bob@example.org>\r\nTo: bob@example.org\r\nSubject:  two blanks\r\n and a fold\r\nDate: Mon, 23 Nov 2026 09:00:00 +0000\r\n" +
		"Message-ID: <1@example.org>\r\n\r\nHello Bob.\r\n"
	g.wants(t, "sign", text, "250")
	all := g.stored(t)
	if len(all) != 1 || strings.Count(all[0], "DKIM-Signature: v=1;") != 1 || !strings.Contains(all[0], " d=example.org; s=s;") {
		t.Fatalf("no signature: %q", all)
	}
	_, field, _ := strings.Cut(strings.ReplaceAll(all[0], "\r\n", "\n"), "DKIM-Signature:")
	signed := "DKIM-Signature:"
	for line := range strings.Lines(field) {
		if signed != "DKIM-Signature:" && line[0] != ' ' && line[0] != '\t' {
			break
		}
		signed += strings.TrimSuffix(line, "\n") + "\r\n"
	}
	for _, c := range []struct{ what, content, code string }{
		{"verify", signed + text, "250"},
		{"changed", strings.Replace(signed+text, "Hello Bob.", "Hello Eve.", 1), "550 5.7.0 bad DKIM signature data"},
	} {
		reply, err := sample{from: "bob@example.org", to: "bob@example.org", content: []byte(c.content)}.send(t.Context(), g.from(t, "203.0.113.7"))
		if err != nil || !strings.HasPrefix(reply, c.code) {
			t.Errorf("%s: %s, %v", c.what, reply, err)
		}
	}
	if all := strings.Join(g.stored(t), "\n"); !strings.Contains(all, "dkim=pass (2048-bit key") {
		t.Errorf("no result of opendkim's: %s", all)
	}
}

// TestOpenDKIMFails kills and stalls a real opendkim.
func TestOpenDKIMFails(t *testing.T) {
	t.Parallel()
	d := peertest.StartOpenDKIM(t, "v", "On-BadSignature reject\n")
	options := `milter: {name: opendkim, servers: ["unix:` + d.Addr + `"]`
	g := startScanned(t, options)
	bad := "DKIM-Signature: v=1; a=rsa-sha256; c=simple/simple; d=example.org; s=s; h=from; bh=AAAA; b=AAAA\r\n" + fmt.Sprintf(plainText, "x", "x")
	scannerFails(t, g, options, d, "opendkim", fmt.Sprintf(plainText, "x", "x"), bad)
}

// pills are rules for SpamAssassin.
const pills = "body T_PILLS /cheap pills/\nscore T_PILLS 6\nbody T_VERY /very cheap/\nscore T_VERY 9\nrequired_score 5\nreport_safe 0\nadd_header all Status _YESNO_, score=_SCORE_\n"

// TestSpamassMilter has a real spamass-milter, which asks a real spamd.
func TestSpamassMilter(t *testing.T) {
	t.Parallel()
	d, _ := peertest.StartSpamassMilter(t, pills, "12")
	g := startGatewayWith(t, fmt.Sprintf(scannerGateway, `milter: {name: sa, servers: ["unix:`+d.Addr+`"], body: ignore, timeout: 1m}`))
	g.wants(t, "clean", fmt.Sprintf(plainText, "x", "hello"), "250")
	g.wants(t, "spam", "X-Spam-Flag: NO\r\nX-Spam-Status: No, score=-9\r\n"+fmt.Sprintf(plainText, "x", "cheap pills"), "250")
	g.wants(t, "much spam", fmt.Sprintf(plainText, "x", "very cheap pills"), "550 5.7.1")
	all := strings.Join(g.stored(t), "\n\n")
	for field, want := range map[string]int{"X-Spam-Status: Yes, score=6.0": 1, "X-Spam-Status: No, score=0.0 required=5.0": 2, "X-Spam-Flag": 0, "score=-9": 0} {
		if got := strings.Count(all, field); got != want {
			t.Errorf("%s stands there %d times, not %d", field, got, want)
		}
	}
	if t.Failed() {
		t.Log(all)
	}
	if !strings.Contains(g.log.String(), `"symbol":"MILTER"`) {
		t.Error("no MILTER in the log")
	}
}

// TestSpamassMilterFails kills and stalls a real spamass-milter, and the spamd behind it, without which it lets everything pass.
func TestSpamassMilterFails(t *testing.T) {
	for _, who := range []string{"milter", "spamd"} {
		t.Run(who, func(t *testing.T) {
			t.Parallel()
			d, spamd := peertest.StartSpamassMilter(t, pills, "12", "--connect-retries=1") // by default it takes three seconds to give up
			options := `milter: {name: sa, servers: ["unix:` + d.Addr + `"], body: ignore, expect: [X-Spam-Checker-Version]`
			g := startScanned(t, options)
			fails := map[string]*peertest.Daemon{"milter": d, "spamd": spamd}[who]
			scannerFails(t, g, options, fails, "sa", fmt.Sprintf(plainText, "x", "hello"), fmt.Sprintf(plainText, "x", "very cheap pills"))
		})
	}
}

// TestSpamassMilterLarge: what is too large for spamass-milter has no field by which it shows that it has judged. That opens no breaker,
// and keeps nobody else's mail.
func TestSpamassMilterLarge(t *testing.T) {
	t.Parallel()
	d, _ := peertest.StartSpamassMilter(t, pills, "12")
	options := `milter: {name: sa, servers: ["unix:` + d.Addr + `"], body: ignore, expect: [X-Spam-Checker-Version], faults: 2, pause: 1h, timeout: 1m`
	g := startGatewayWith(t, fmt.Sprintf(scannerGateway, options+"}"))
	small := fmt.Sprintf(plainText, "x", "hello")
	large := small + strings.Repeat("hello hello hello\r\n", 30_000)
	g.wantsAtLast(t, "small", small, "250")
	for range 4 {
		g.wants(t, "large", large, "451 4.7.1 message is too large to be checked")
	}
	if got := g.breaker(t, "sa"); got != "closed" {
		t.Errorf("the breaker is %q", got)
	}
	g.wantsAtLast(t, "small, behind large ones", small, "250")
	g.take(t, strings.ReplaceAll(fmt.Sprintf(scannerGateway, options+", oversize: tag}"), "{{dir}}", g.dir))
	g.wantsAtLast(t, "large, marked", large, "250")
	if !strings.Contains(g.log.String(), `"symbol":"MILTER_UNSCANNED"`) {
		t.Error("no MILTER_UNSCANNED in the log")
	}
}

// meddler stands between the gateway and a milter, and changes what the milter answers to the end of a message.
type meddler struct {
	addr   string
	meddle atomic.Pointer[func([]byte) []byte] // of a packet; nil: as it is
}

func startMeddler(t *testing.T, milter string) *meddler {
	t.Helper()
	m := new(meddler)
	m.addr = peertest.Serve(t, func(c net.Conn) {
		s, err := net.Dial("unix", milter)
		if err != nil {
			return
		}
		var last atomic.Int32
		go func() {
			defer func() { _ = s.Close() }()
			for {
				p, err := milterPacket(c)
				if err != nil {
					return
				}
				last.Store(int32(p[4]))
				if _, err := s.Write(p); err != nil {
					return
				}
			}
		}()
		for {
			p, err := milterPacket(s)
			if err != nil {
				return
			}
			if f := m.meddle.Load(); f != nil && last.Load() == 'E' {
				p = (*f)(p)
			}
			if _, err := c.Write(p); err != nil || len(p) == 0 {
				return
			}
		}
	})
	return m
}

// milterPacket reads one packet, with its length.
func milterPacket(r io.Reader) ([]byte, error) {
	head := make([]byte, 5)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	p := append(head, make([]byte, binary.BigEndian.Uint32(head)-1)...)
	_, err := io.ReadFull(r, p[5:])
	return p, err
}

// TestSpamassMilterLies has a real spamass-milter whose answers are changed on the way: nothing is let through for them, the
// breaker opens, and closes when they are its own again; with on_error: continue mail passes.
func TestSpamassMilterLies(t *testing.T) {
	t.Parallel()
	d, _ := peertest.StartSpamassMilter(t, pills, "12")
	m := startMeddler(t, d.Addr)
	options := fmt.Sprintf(`milter: {name: sa, servers: [%q], body: ignore, faults: 4, pause: 1s`, m.addr)
	g := startGatewayWith(t, fmt.Sprintf(scannerGateway, options+", timeout: 1m}"))
	take := func(more string) {
		t.Helper()
		g.take(t, strings.ReplaceAll(fmt.Sprintf(scannerGateway, options+more+"}"), "{{dir}}", g.dir))
	}
	good, bad := fmt.Sprintf(plainText, "x", "hello"), fmt.Sprintf(plainText, "x", "very cheap pills")
	g.wants(t, "all well", bad, "550")
	for _, lie := range []struct {
		name string
		make func([]byte) []byte
	}{
		{"ends", func([]byte) []byte { return nil }},
		{"another letter", func(p []byte) []byte { p[4] = 'Z'; return p }},
		{"a positive reply", func([]byte) []byte { return []byte("\x00\x00\x00\x08y250 ok\x00") }},
		{"a length and no more", func(p []byte) []byte { p[1] = 9; return p }},
	} {
		m.meddle.Store(&lie.make)
		if lie.name == "a length and no more" { // which is waited for: the true answers have all the time that they need
			take(", timeout: 1s")
		}
		g.wants(t, lie.name, bad, "451")
	}
	if got := g.breaker(t, "sa"); got != "open" {
		t.Errorf("the breaker is %q", got)
	}
	take(", timeout: 1s, on_error: continue")
	for i := 0; i == 0 || g.runs(t, "sa", "breaker_open") == "0" && i < 10; i++ { // one of them may be the one that tries
		g.wants(t, "breaker open, and passed on", good, "250")
	}
	if got := g.runs(t, "sa", "breaker_open"); got == "0" || got == "absent" {
		t.Errorf("breaker_open %s times", got)
	}
	passed := len(g.stored(t))
	m.meddle.Store(nil)
	take(", timeout: 1m, on_error: continue")
	for end := time.Now().Add(2 * time.Minute); !strings.HasPrefix(g.send(t, bad), "550"); time.Sleep(100 * time.Millisecond) {
		if passed++; time.Now().After(end) {
			t.Fatal("it does not come back")
		}
	}
	if got := g.breaker(t, "sa"); got != "closed" {
		t.Errorf("back again, the breaker is %q", got)
	}
	if got := len(g.stored(t)); got != passed {
		t.Errorf("%d messages are stored, not %d", got, passed)
	}
}
