package app

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/peertest"
)

// mtas are the mail servers.
var mtas = []struct {
	name  string
	start func(testing.TB, peertest.MTAOptions) *peertest.MTA
	utf8  bool
}{
	{"Postfix", peertest.StartPostfix, true},
	{"Exim", peertest.StartExim, true},
	{"OpenSMTPD", peertest.StartOpenSMTPD, false},
}

// TestMTAs gives each errand to real mail servers, one for each way, has them send all to the gateway, and waits until
// they have done with them. What was taken has arrived once and as it was sent, what was put off came by itself, and
// what was refused was given back to its sender with the gateway's words.
func TestMTAs(t *testing.T) {
	t.Parallel()
	d := openDoors(t)
	var paths []peertest.Path
	for _, w := range ways() {
		p := peertest.Path{Domain: w.domain(), Addr: d.addr[w.name], TLS: w.tls}
		if w.auth {
			p.User, p.Password = user, password
		}
		paths = append(paths, p)
	}
	for _, m := range mtas {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			mta := m.start(t, peertest.MTAOptions{Domain: "client.test", Paths: paths})
			for _, w := range ways() {
				for _, e := range queued(w, m.utf8) {
					hand(t, mta.Addr, e, m.name, w)
				}
			}
			mta.Settle(t, 5*time.Minute)
			arrived, bounces := d.arrivals(t), returned(mta.Stored(t))
			for _, w := range ways() {
				for _, e := range queued(w, m.utf8) {
					d.settled(t, e, m.name, w, arrived, bounces)
				}
			}
			if m.name == "Exim" && !regexp.MustCompile(`=> bob@extended\.test .* L K C="250`).MatchString(mta.Log()) {
				t.Error("Exim used no CHUNKING, or no pipelining")
			}
		})
	}
}

// queued gives the errands for servers with a queue.
func queued(w way, utf8 bool) (all []errand) {
	for _, e := range errands(w) {
		if !e.again && (utf8 || !e.utf8) {
			all = append(all, e)
		}
	}
	if w.more {
		all = append(all, notified)
	}
	if !w.auth {
		all = append(all, insideRefusal, parted)
	}
	return all
}

// insideRefusal has a recipient that the server inside refuses when the gateway hands the message on: nothing is sent,
// everybody is put off, and the retry is told at RCPT.
var insideRefusal = errand{name: "refused inside", to: []string{"alice", "closed"}, body: "\r\nfor two, one of whom is gone\r\n"}

// parted has recipients that cannot share a transaction: no score counts for the postmaster. Of two the second is asked
// to come by itself.
var parted = errand{name: "parted", to: []string{"postmaster", "bob"}, body: "\r\nfor two who are judged by other rules\r\n"}

// notified is one whose sender wants to be told when it arrives (RFC 3461). Where everybody on the way has DSN, that is for
// the last server to do.
var notified = errand{name: "notified", to: []string{"bob"}, notify: true, body: "\r\nis it there?\r\n"}

// hand gives an errand to a mail server.
func hand(t *testing.T, addr string, e errand, sender string, w way) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	r := bufio.NewReader(c)
	options := " BODY=8BITMIME"
	if e.utf8 {
		options += " SMTPUTF8"
	}
	wishes := ""
	if e.notify {
		options, wishes = options+" RET=HDRS ENVID=QQ314159", " NOTIFY=SUCCESS,FAILURE"
	}
	lines := []string{"", "EHLO client.test\r\n", "MAIL FROM:<" + e.from(sender) + ">" + options + "\r\n"}
	for _, to := range e.recipients(w) {
		lines = append(lines, "RCPT TO:<"+to+">"+wishes+"\r\n")
	}
	stuffed := strings.ReplaceAll("\r\n"+e.content(sender, w), "\r\n.", "\r\n..")[2:]
	for _, line := range append(lines, "DATA\r\n", stuffed+".\r\n") {
		if _, err := io.WriteString(c, line); err != nil {
			t.Fatal(err)
		}
		if reply, err := readReply(r); err != nil || reply[0] != '2' && reply[0] != '3' {
			t.Fatalf("%s: %.80q: %s, %v", e.mark(sender, w), line, reply, err)
		}
	}
}

// returned gives the texts of bounces, with blanks in place of folds, by the errand that each returns.
func returned(stored [][]byte) map[string][]string {
	all := map[string][]string{}
	mark := regexp.MustCompile(`X-Errand: ([^\r\n]+)`)
	for _, raw := range stored {
		if m := mark.FindSubmatch(raw); m != nil {
			all[string(m[1])] = append(all[string(m[1])], strings.Join(strings.Fields(string(raw)), " "))
		}
	}
	return all
}

// settled looks at what became of an errand.
func (d *doors) settled(t *testing.T, e errand, sender string, w way, arrived map[string]map[string]peertest.Taken, bounces map[string][]string) {
	t.Helper()
	mark := e.mark(sender, w)
	var back []string // what bounces must tell
	for _, local := range e.to {
		to := local + "@" + w.domain()
		m, here := arrived[mark][to]
		reply := e.refused
		switch local {
		case "nobody":
			reply = unknownReply
		case "closed":
			reply = "550 5.2.1"
		}
		if here != (reply == "") {
			t.Errorf("%s: arrived at %s: %v", mark, to, here)
		}
		if here {
			compareArrival(t, mark, w, m, e.content(sender, w))
			if asked := strings.Contains(m.Options, "ENVID=QQ314159") && strings.Contains(m.Wishes, "NOTIFY=SUCCESS,FAILURE"); asked != e.notify {
				t.Errorf("%s: asked for notifications: %q, %q", mark, m.Options, m.Wishes)
			}
		}
		if reply != "" {
			back = append(back, to, reply)
		}
	}
	text := strings.Join(bounces[mark], "\n")
	for _, words := range back {
		if !strings.Contains(text, words) {
			t.Errorf("%s: no bounce tells of %q:\n%.3000s", mark, words, text)
		}
	}
	if len(back) == 0 && text != "" {
		t.Errorf("%s: was given back, too:\n%.3000s", mark, text)
	}
	for _, b := range bounces[mark] {
		if !strings.Contains(b, fmt.Sprintf("(%s-", d.cfg.Load().Node)) {
			t.Errorf("%s: the bounce lacks the id:\n%.3000s", mark, b)
		}
	}
}
