package app

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/edge"
	"github.com/postern-mail/postern/internal/peertest"
)

// TestSmuggling sends everything that some server takes for the end of a message, with a second message behind it, and
// has the gateway hand on what it takes to servers that are lenient: a Postfix that is told to be, an Exim, and an
// OpenSMTPD, which is by nature. Each must store one message for each that the gateway acknowledged, with the content
// that it should have.
func TestSmuggling(t *testing.T) {
	t.Parallel()
	payloads := endsOfData(t)
	t.Logf("%d ways to end a message", len(payloads))
	backends := map[string]*peertest.MTA{}
	for _, m := range mtas {
		name := strings.ToLower(m.name)
		backends[name] = m.start(t, peertest.MTAOptions{Domain: name + ".test", Lenient: true})
	}
	g := startGateway(t, fmt.Sprintf(`
hostname: mx.example.org
listeners:
  normalize: {address: "127.0.0.1:0"}
  chunks: {address: "127.0.0.1:0", chunking: true}
  normalize-go: {address: "127.0.0.1:0", engine: go-smtp}
  reject: {address: "127.0.0.1:0", bare_newlines: reject}
  reject-go: {address: "127.0.0.1:0", bare_newlines: reject, engine: go-smtp}
routes: [{to: [postfix.test], upstream: postfix}, {to: [exim.test], upstream: exim}, {to: [opensmtpd.test], upstream: opensmtpd}]
upstreams: {postfix: {servers: [%q]}, exim: {servers: [%q]}, opensmtpd: {servers: [%q]}}
state: {directory: "{{dir}}/state"}
filters: []
`, backends["postfix"].Addr, backends["exim"].Addr, backends["opensmtpd"].Addr))

	for name, backend := range backends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			doors := g.listeners
			if name != "postfix" {
				doors = doors[:2] // what they get through the others is the same
			}
			sent := smuggleAll(t, doors, payloads, name+".test")
			want := map[string]carried{} // by the id that the gateway gave
			for _, s := range append(sent, sendDots(t, g.addr, name+".test")...) {
				for i, id := range s.acknowledged {
					want[id] = carried{s.name, s.contents[i]}
				}
			}
			if len(want) < len(payloads)/2 {
				t.Fatalf("only %d of %d messages were taken: too few to show anything", len(want), len(sent))
			}
			compareStored(t, backend.Messages(t, len(want)), want)
			backend.Settle(t, 5*time.Minute)
			if n := len(backend.Stored(t)); n != len(want) {
				t.Errorf("%d messages were acknowledged, %d are stored", len(want), n)
			}
			controlMessage(t, backend, name+".test")
		})
	}
}

// carried is a message that the gateway acknowledged: the name of its payload, and the content that it should have.
type carried struct{ name, content string }

// Line ends, and what some server may take for one or pass over.
var (
	ends  = []string{"\n", "\r", "\r\n", "\n\r", "\r\r\n", "\r\n\r", "\x00\r\n", "\r\x00\n", "\r\n\x00", ""}
	other = []string{"\n\n", "\r\r", "\v", "\f", "\u0085", " \r\n", "\t\n"}
)

// endsOfData gives all that is to be tried as the end of a message, by name.
func endsOfData(t *testing.T) map[string]string {
	all := map[string]string{}
	for _, a := range ends {
		for _, b := range ends {
			all[fmt.Sprintf("%q", a+"."+b)] = a + "." + b
		}
	}
	for _, s := range other {
		all[fmt.Sprintf("%q", s+".\r\n")] = s + ".\r\n"
		all[fmt.Sprintf("%q", "\r\n."+s)] = "\r\n." + s
	}
	for _, s := range []string{"\r\n..\r\n", "\n..\n", "\r\n. \r\n", "\r\n.\t\r\n", "\r\n .\r\n", "\r\n.\r\n.\r\n"} {
		all[fmt.Sprintf("%q", s)] = s
	}
	folder := peertest.Shared(t, "suites/smtp/smuggling-payloads")
	raw, err := os.ReadFile(folder + "/payloads/payloads.yaml")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^- id: (\S+)\n\s+bytes_b64: "([^"]+)"`).FindAllStringSubmatch(string(raw), -1)
	for _, m := range found {
		b, err := base64.StdEncoding.DecodeString(m[2])
		if err != nil {
			t.Fatal(err)
		}
		all[m[1]] = string(b)
	}
	var consult struct{ Inbound, Outbound []string }
	raw, err = os.ReadFile(folder + "/sec-consult-eod.json")
	if err == nil {
		err = json.Unmarshal(raw, &consult)
	}
	if err != nil || len(found) != 13 || len(consult.Inbound) != 7 || len(consult.Outbound) != 9 {
		t.Fatalf("the suite is not what it was: %v", err)
	}
	for _, s := range slices.Concat(consult.Inbound, consult.Outbound) {
		all[fmt.Sprintf("%q", s)] = s
	}
	for name, p := range maps.Clone(all) {
		all[behindLF+name] = p
	}
	return all
}

// behindLF begins the names of payloads that come behind lines which end with LF alone.
const behindLF = "LF lines, "

// smuggled is one attempt and what became of it.
type smuggled struct {
	name         string
	contents     []string // that the messages should have, in the order in which they end
	acknowledged []string // their ids
}

// smuggleAll tries each payload at each listener.
func smuggleAll(t *testing.T, doors []*listener, payloads map[string]string, domain string) []smuggled {
	t.Helper()
	type job struct {
		name, payload string
		door          *listener
	}
	jobs := make(chan job)
	var mu sync.Mutex
	var all []smuggled
	var working sync.WaitGroup
	for range 4 {
		working.Go(func() {
			for j := range jobs {
				s := smuggle(t, j.door, j.name, j.payload, domain)
				mu.Lock()
				all = append(all, s)
				mu.Unlock()
			}
		})
	}
	for _, door := range doors {
		for name, p := range payloads {
			jobs <- job{name, p, door}
		}
	}
	close(jobs)
	working.Wait()
	return all
}

var queuedAs = regexp.MustCompile(`(?m)^250 2\.0\.0 Ok: queued as (\S+)\r$`)

// smuggle makes one attempt.
func smuggle(t *testing.T, door *listener, name, payload, domain string) smuggled {
	head := fmt.Sprintf("From: <a@client.test>\r\nTo: <u@%s>\r\nDate: Thu, 26 Nov 2026 10:00:00 +0000\r\n", domain)
	carrier := head + "Message-ID: <carrier@client.test>\r\nSubject: carrier\r\n\r\nbefore"
	second := head + "Message-ID: <second@client.test>\r\nSubject: second\r\n\r\nsmuggled\r\n"
	if strings.HasPrefix(name, behindLF) {
		carrier = strings.ReplaceAll(carrier, "\r\n", "\n")
	}
	text := carrier + payload + fmt.Sprintf("MAIL FROM:<admin@%s>\r\nRCPT TO:<victim@%s>\r\nDATA\r\n", domain, domain) + second
	if door.cfg.Chunking {
		return smuggleInChunk(t, door, name, text+".\r\n", domain)
	}
	replies, err := converse(door.net.Addr().String(), fmt.Sprintf("MAIL FROM:<a@client.test>\r\nRCPT TO:<u@%s>\r\n", domain), text+".\r\n", "QUIT\r\n")
	if err != nil {
		t.Errorf("%s at %s: %v", name, door.cfg.Name, err)
	}
	s := smuggled{name: name + " at " + door.cfg.Name}
	for _, m := range queuedAs.FindAllStringSubmatch(replies, -1) {
		s.acknowledged = append(s.acknowledged, m[1])
	}
	// RFC 5321 4.1.1.4: CRLF.CRLF ends the content. Where the payload holds one, there are two messages indeed.
	first, _, _ := strings.Cut(text+".\r\n", "\r\n.\r\n")
	first += "\r\n"
	two := len(first) < len(text)
	for _, content := range []string{first, second}[:map[bool]int{false: 1, true: 2}[two]] {
		bare := canonical(content) != unstuffedLines(content)
		switch {
		case strings.Contains(content, "\x00"), bare && door.cfg.BareNewlines == "reject": // refused
		default:
			s.contents = append(s.contents, canonical(content))
		}
	}
	switch {
	case two && door.cfg.Engine == edge.EnginePostern: // content behind DATA, before its reply, ends the connection
		s.contents = s.contents[:min(len(s.contents), len(s.acknowledged), 1)]
	case two && !strings.HasSuffix(payload, "\r\n.\r\n"): // what comes behind the end is no command
		s.contents = s.contents[:len(s.acknowledged)]
	}
	if len(s.acknowledged) != len(s.contents) {
		t.Errorf("%s: %d messages acknowledged, not %d:\n%s", s.name, len(s.acknowledged), len(s.contents), replies)
		s.acknowledged = nil
	}
	return s
}

// smuggleInChunk is the attempt by BDAT, where nothing ends the content but its length, and no dots are put before lines: to
// the server inside it goes by DATA, with every dot that is there.
func smuggleInChunk(t *testing.T, door *listener, name, text, domain string) smuggled {
	lines := strings.NewReplacer("\r\n", "\r\n", "\n", "\r\n", "\r", " ").Replace(text)
	s := smuggled{name: name + " in a chunk"}
	c, err := net.Dial("tcp", door.net.Addr().String())
	if err != nil {
		t.Error(err)
		return s
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(2 * time.Minute))
	r := bufio.NewReader(c)
	reply := ""
	commands := []string{"EHLO client.test\r\n", "MAIL FROM:<a@client.test>\r\n", "RCPT TO:<u@" + domain + ">\r\n", fmt.Sprintf("BDAT %d LAST\r\n%s", len(text), text), ""}
	for _, command := range commands {
		if reply, err = readReply(r); err == nil {
			_, err = io.WriteString(c, command)
		}
		if err != nil {
			t.Errorf("%s: %v", s.name, err)
			return s
		}
	}
	if m := queuedAs.FindStringSubmatch(reply + "\r\n"); m != nil {
		s.acknowledged, s.contents = m[1:], []string{lines}
	}
	if (len(s.acknowledged) == 0) != strings.Contains(text, "\x00") {
		t.Errorf("%s: %s", s.name, reply)
	}
	return s
}

// sendDots sends well-formed messages of several blocks that are full of dots, so that at the edge of each block, here
// and in the servers, something stands of which the upstream's writer must not lose the thread.
func sendDots(t *testing.T, addr, domain string) (all []smuggled) {
	t.Helper()
	for _, first := range []string{"", "x", "xx", "xxx"} {
		content := "From: <a@client.test>\r\nDate: Thu, 26 Nov 2026 10:00:00 +0000\r\nMessage-ID: <dots@client.test>\r\nSubject: dots\r\n\r\n" + first + strings.Repeat("\r\n.", 40_000) +
			strings.Repeat("\r\n..", 30_000) + "\r\n.\r\n"
		stuffed := strings.ReplaceAll(content, "\r\n.", "\r\n..")
		replies, err := converse(addr, fmt.Sprintf("MAIL FROM:<a@client.test>\r\nRCPT TO:<u@%s>\r\n", domain), stuffed+".\r\n", "QUIT\r\n")
		m := queuedAs.FindStringSubmatch(replies)
		if err != nil || m == nil {
			t.Fatalf("%q, %v", replies, err)
		}
		all = append(all, smuggled{name: "dots behind " + first, acknowledged: m[1:], contents: []string{content}})
	}
	return all
}

// converse begins a transaction, sends what stands for its content, with the command behind it if there is one, and gives
// what is answered.
func converse(addr, envelope, content, last string) (string, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return "", err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(2 * time.Minute))
	r := bufio.NewReader(c)
	for line := range strings.Lines("EHLO client.test\r\n" + envelope + "DATA\r\n") {
		if _, err := readReply(r); err != nil {
			return "", err
		}
		if _, err := io.WriteString(c, line); err != nil {
			return "", err
		}
	}
	if reply, err := readReply(r); err != nil || !strings.HasPrefix(reply, "354") {
		return "", fmt.Errorf("%q, %w", reply, err)
	}
	if _, err := io.WriteString(c, content+last); err != nil {
		return "", err
	}
	if last == "" {
		return readReply(r)
	}
	all, err := io.ReadAll(r)
	return string(all), err
}

// canonical says again, line by line, what the gateway should make of content: CRLF and bare LF end lines, a bare CR is
// a blank, and a dot that leads a line goes away; unless it is the whole line behind a bare LF, which ends nothing.
func canonical(content string) string {
	var b strings.Builder
	behindBare := false
	for line := range strings.Lines(content) {
		text, whole := strings.CutSuffix(line, "\r\n")
		if !whole {
			text = strings.TrimSuffix(line, "\n")
		}
		if strings.HasPrefix(text, ".") && !(behindBare && text == ".") {
			text = text[1:]
		}
		b.WriteString(strings.ReplaceAll(text, "\r", " ") + "\r\n")
		behindBare = !whole
	}
	return b.String()
}

// unstuffedLines takes the dots away that lead lines behind CRLF.
func unstuffedLines(content string) string {
	return strings.ReplaceAll("\r\n"+content, "\r\n.", "\r\n")[2:]
}

var receivedID = regexp.MustCompile(`by mx\.example\.org with \S+ id (\S+)`)

// compareStored compares what a server has stored with what it should have.
func compareStored(t *testing.T, stored [][]byte, want map[string]carried) {
	t.Helper()
	seen := map[string]bool{}
	for _, raw := range stored {
		m := receivedID.FindSubmatch(raw)
		if m == nil {
			t.Errorf("a message that the gateway has not sent:\n%s", raw)
			continue
		}
		id := string(m[1])
		w, ok := want[id]
		i := bytes.Index(raw, []byte("From: <a@client.test>\r\n"))
		switch {
		case !ok:
			t.Errorf("%s is stored and was not acknowledged:\n%s", id, raw)
		case seen[id]:
			t.Errorf("%s (%s) is stored twice", id, w.name)
		case i < 0 || string(raw[i:]) != w.content:
			t.Errorf("%s: %s", w.name, difference(string(raw[max(i, 0):]), w.content))
		}
		seen[id] = true
	}
	if len(seen) < len(want) {
		t.Errorf("%d messages of %d are missing", len(want)-len(seen), len(want))
	}
}

// difference shows where one content ceases to be the other.
func difference(got, want string) string {
	i := 0
	for i < len(got) && i < len(want) && got[i] == want[i] {
		i++
	}
	from := max(i-20, 0)
	return fmt.Sprintf("%d octets in place of %d; from %d on\n%.60q, not\n%.60q", len(got), len(want), from, got[from:], want[from:])
}

// controlMessage tries the oldest payload of all without the gateway: did it not end the content, the test would show nothing.
// The lines before it end with LF alone, too: newer versions of Exim go by the first of them.
func controlMessage(t *testing.T, m *peertest.MTA, domain string) {
	t.Helper()
	replies, err := converse(m.Addr, fmt.Sprintf("MAIL FROM:<a@client.test>\r\nRCPT TO:<u@%s>\r\n", domain),
		"Subject: carrier\n\nbefore\n.\n", "")
	if err != nil || !strings.HasPrefix(replies, "250") {
		t.Errorf("%s, asked without the gateway, is not lenient: %q, %v", m.Name, replies, err)
	}
}
