package app

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/dns/zone"
)

// dialog says lines to a gateway from an address, and gives the replies: to the connection and EHLO, and to each line.
// A message is one line, "DATA" and its content.
func dialog(t *testing.T, addr, from string, lines ...string) (replies []string) {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: time.Minute}
	c, err := d.DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(2 * time.Minute))
	r := bufio.NewReader(c)
	say := func(text string) {
		if text != "" {
			if _, err := c.Write([]byte(text + "\r\n")); err != nil {
				t.Fatal(err)
			}
		}
		reply, err := readReply(r)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		replies = append(replies, reply)
	}
	say("")
	say("EHLO client.example")
	for _, line := range lines {
		verb, content, _ := strings.Cut(line, " ")
		if verb == "DATA" {
			say(verb)
			if strings.HasPrefix(replies[len(replies)-1], "354") {
				replies = replies[:len(replies)-1]
				say(content + "\r\n.")
			}
			continue
		}
		say(line)
	}
	return replies[2:]
}

// codes gives the first digits of replies.
func codes(replies []string) string {
	var all []string
	for _, r := range replies {
		all = append(all, r[:3])
	}
	return strings.Join(all, " ")
}

const greylistZones = `
pool.example TXT v=spf1 ip4:127.0.0.0/8 -all
alone.example TXT v=spf1 ip4:127.0.2.2 -all
client.example A 127.0.0.1
`

// greylistGateway has a delay of two seconds.
func greylistGateway(t *testing.T, more string) *testGateway {
	t.Helper()
	names, err := zone.Serve(greylistZones)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = names.Close() })
	return startGateway(t, fmt.Sprintf(`
hostname: mx.postern.example
exempt_networks: []
listeners: {public: {address: "127.0.0.1:0", early_talkers: 0s, relay: {networks: [127.0.9.0/24]}}}
big_senders: []
routes: [{to: [postern.example], upstream: local}, {to: ["*"], upstream: local}]
upstreams: {local: {maildir: "{{dir}}/mail"}}
state: {directory: "{{dir}}/state"}
dns: {servers: [%q]}
filters: [iprev, spf, %s]
`, names.Addr(), more))
}

// delivered counts the messages in the maildir.
func (g *testGateway) delivered(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir(filepath.Join(g.dir, "mail", "new"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return len(all)
}

const hello = "DATA Subject: x\r\n\r\nx"

// TestGreylist sends a message until it is taken, over a restart between the first try and the second.
func TestGreylist(t *testing.T) {
	t.Parallel()
	g := greylistGateway(t, "greylist: {delay: 2s}")
	try := []string{"MAIL FROM:<prvs=1234abcdef=bob@client.example>", "RCPT TO:<u@postern.example>", hello}
	began := time.Now()
	replies := dialog(t, g.addr, "127.0.1.1", try...)
	if !strings.HasPrefix(replies[1], "451 4.7.1 Greylisted, please come again in 2 seconds (") {
		t.Fatalf("%q", replies)
	}
	want := 2
	if got := codes(dialog(t, g.addr, "127.0.1.1", try...)); got != "250 451 503" {
		if want++; time.Since(began) < 2*time.Second { // else this was the second try, on a machine under load
			t.Errorf("at once: %s", got)
		}
	}
	g.restart(t)
	time.Sleep(2 * time.Second)
	try[0] = "MAIL FROM:<prvs=9999abcdef=bob@client.example>"
	if got := codes(dialog(t, g.addr, "127.0.1.77", try...)); got != "250 250 250" {
		t.Errorf("after the delay and a restart: %s", got)
	}
	g.restart(t)
	if got := codes(dialog(t, g.addr, "127.0.1.1", try...)); got != "250 250 250" {
		t.Errorf("the next message, after a restart: %s", got)
	}
	if n := g.delivered(t); n != want {
		t.Errorf("%d messages were delivered, not %d", n, want)
	}
	verdicts := g.log.lines(t, "verdict")
	if because := fmt.Sprint(verdicts[0]["because"]); because != "greylist: GREYLIST_DEFERRED first seen (127.0.1.0/24), waits 2s" {
		t.Errorf("because %s", because)
	}
	if last := fmt.Sprint(verdicts[len(verdicts)-1]["findings"]); !strings.Contains(last, "127.0.1.0/24, this sender and this recipient are known") {
		t.Errorf("found %s", last)
	}
}

// TestGreylistOfPools sends from another network with each try: by SPF the second is taken, without it the first after
// twice the delay.
func TestGreylistOfPools(t *testing.T) {
	t.Parallel()
	g := greylistGateway(t, "greylist: {delay: 2s}")
	message := func(from string) []string {
		return []string{"MAIL FROM:<" + from + ">", "RCPT TO:<u@postern.example>", hello}
	}
	began := time.Now()
	first := dialog(t, g.addr, "127.0.1.1", message("news@pool.example")...)
	other := dialog(t, g.addr, "127.0.2.1", message("bob@client.example")...)
	seen := time.Now() // both have been by now, and not before began
	if codes(first) != "250 451 503" || codes(other) != "250 451 503" {
		t.Fatalf("%q, %q", first, other)
	}
	time.Sleep(2 * time.Second)
	if got := codes(dialog(t, g.addr, "127.0.3.1", message("news@pool.example")...)); got != "250 250 250" {
		t.Errorf("by SPF: %s", got)
	}
	if got := codes(dialog(t, g.addr, "127.0.4.1", message("more@pool.example")...)); got != "250 250 250" {
		t.Errorf("another sender of the domain: %s", got)
	}
	if got := codes(dialog(t, g.addr, "127.0.5.1", message("bob@client.example")...)); got != "250 451 503" && time.Since(began) < 4*time.Second {
		t.Errorf("without SPF, after the delay: %s", got)
	}
	time.Sleep(time.Until(seen.Add(4 * time.Second)))
	if got := codes(dialog(t, g.addr, "127.0.6.1", message("bob@client.example")...)); got != "250 250 250" {
		t.Errorf("without SPF, after twice the delay: %s", got)
	}
}

// TestGreylistOfMixedRecipients has one who is known and two who are not: what is taken is taken once, what is sent away
// comes again in whatever company, and nobody is told to come alone.
func TestGreylistOfMixedRecipients(t *testing.T) {
	t.Parallel()
	g := greylistGateway(t, "greylist: {delay: 2s}")
	rcpt := func(to ...string) []string {
		lines := []string{"MAIL FROM:<bob@client.example>"}
		for _, u := range to {
			lines = append(lines, "RCPT TO:<"+u+"@postern.example>")
		}
		return append(lines, hello)
	}
	dialog(t, g.addr, "127.0.1.1", rcpt("a")...)
	time.Sleep(2 * time.Second)
	if got := codes(dialog(t, g.addr, "127.0.1.1", rcpt("a")...)); got != "250 250 250" {
		t.Fatal(got)
	}
	if got := codes(dialog(t, g.addr, "127.0.1.1", rcpt("b", "a", "c")...)); got != "250 451 250 451 250" {
		t.Errorf("a known one among others: %s", got)
	}
	time.Sleep(2 * time.Second)
	if got := codes(dialog(t, g.addr, "127.0.1.2", rcpt("b", "c")...)); got != "250 250 250 250" {
		t.Errorf("the others, again: %s", got)
	}
	if got := codes(dialog(t, g.addr, "127.0.1.1", rcpt("a", "b", "c", "postmaster")...)); got != "250 250 250 250 452 250" {
		t.Errorf("all of them: %s", got) // the postmaster is judged in another way, with and without greylisting
	}
	if n := g.delivered(t); n != 4 {
		t.Errorf("%d messages were delivered", n)
	}
}

// TestGreylistAndOurOwnMail: answers to what goes out through this gateway do not wait, nor do bounces.
func TestGreylistAndOurOwnMail(t *testing.T) {
	g := greylistGateway(t, "greylist: {delay: 2s}")
	if got := codes(dialog(t, g.addr, "127.0.9.1", "MAIL FROM:<u@postern.example>", "RCPT TO:<carol@client.example>", hello)); got != "250 250 250" {
		t.Fatalf("outward: %s", got)
	}
	if got := codes(dialog(t, g.addr, "127.0.1.1", "MAIL FROM:<carol@client.example>", "RCPT TO:<u@postern.example>", hello)); got != "250 250 250" {
		t.Errorf("an answer: %s", got)
	}
	if got := codes(dialog(t, g.addr, "127.0.7.1", "MAIL FROM:<>", "RCPT TO:<u@postern.example>", hello)); got != "250 250 250" {
		t.Errorf("a bounce: %s", got)
	}
	if got := codes(dialog(t, g.addr, "127.0.7.1", "MAIL FROM:<>", "RCPT TO:<v@postern.example>", hello)); got != "250 451 503" {
		t.Errorf("a bounce to somebody who has written nothing: %s", got)
	}
}

// TestGreylistIsObserved: what only observes sends nobody away, whomever it knows, and waivers let off.
func TestGreylistIsObserved(t *testing.T) {
	g := greylistGateway(t, "greylist: {delay: 2s, observe: true}, access: {allow_entries: [alone.example proof=spf waive=grey until=never]}, greylist: {name: grey, delay: 2s}")
	if got := codes(dialog(t, g.addr, "127.0.2.2", "MAIL FROM:<bob@alone.example>", "RCPT TO:<u@postern.example>", "RCPT TO:<v@postern.example>", hello)); got != "250 250 250 250" {
		t.Errorf("%s", got)
	}
	if got := codes(dialog(t, g.addr, "127.0.2.3", "MAIL FROM:<bob@alone.example>", "RCPT TO:<u@postern.example>", hello)); got != "250 451 503" {
		t.Errorf("without the proof: %s", got)
	}
	if would := g.log.lines(t, "verdict")[0]["would"]; would != "defer" {
		t.Errorf("the log says that it would %v", would)
	}
}
