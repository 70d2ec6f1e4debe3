package app

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/internal/edge"
	"github.com/postern-mail/postern/internal/peertest"
	"github.com/postern-mail/postern/internal/users"
	"github.com/postern-mail/postern/mail"
)

// comeAgain is a filter that puts off each recipient whose name begins with "later" once for each sender, as greylisting
// does.
func comeAgain() filter.Factory {
	return filter.Factory{Kind: "come-again", New: func(_ filter.Env, _ func(any) error) (filter.Spec, filter.Filter, error) {
		var mu sync.Mutex
		seen := map[string]bool{}
		check := func(_ context.Context, in *filter.Input) (filter.Result, error) {
			to := in.Recipient.Address
			pair := in.Transaction.From.String() + " " + to.String()
			mu.Lock()
			defer mu.Unlock()
			if !strings.HasPrefix(to.Local(), "later") || seen[pair] {
				return filter.Result{}, nil
			}
			seen[pair] = true
			later := mail.NewReply(451, 4, 7, 1, "Please come again")
			return filter.Result{Propose: filter.Defer, Reply: &later}, nil
		}
		return filter.Spec{Phases: filter.In(filter.Rcpt)}, filter.Func(check), nil
	}}
}

// way is one way to reach the gateway: an engine, with or without TLS.
type way struct {
	name   string // also the first label of the domain to which mail comes this way
	engine string
	tls    string // none, starttls, implicit
	more   bool   // CHUNKING and DSN are offered
	auth   bool   // clients log in, and send to a domain that is none of ours
}

func (w way) domain() string { return w.name + ".test" }

func ways() (all []way) {
	for _, engine := range edge.Engines() {
		for _, tls := range []string{"none", "starttls", "implicit"} {
			all = append(all, way{name: engine + "-" + tls, engine: engine, tls: tls})
		}
		all = append(all, way{name: engine + "-submission", engine: engine, tls: "starttls", auth: true},
			way{name: engine + "-smtps", engine: engine, tls: "implicit", auth: true})
	}
	return append(all, way{name: "extended", engine: edge.EnginePostern, tls: "starttls", more: true})
}

// doors is a gateway with a door for each way, in front of a sink.
type doors struct {
	*testGateway
	sink *peertest.Sink
	addr map[string]string // by the name of the way
}

// known are the local parts that there are in each domain; "later" stands for all names that begin so.
var known = []string{"bob", "alice", "later", "later-alone", "grüße", "closed", "open"}

func openDoors(t *testing.T) *doors {
	t.Helper()
	dir := t.TempDir()
	cert, key := writeCertificate(t, dir, "mx.example.org")
	users := writeUser(t, dir)
	d := &doors{sink: peertest.StartSink(t), addr: map[string]string{}}
	// Each door has an address of its own: OpenSMTPD pauses between connections to one.
	var listeners, domains, mailboxes strings.Builder
	for i, w := range ways() {
		mode := map[string]string{"none": "starttls", "starttls": "starttls", "implicit": "implicit"}[w.tls]
		relay := ""
		if w.auth {
			relay = fmt.Sprintf("relay: {users: %q}, ", users)
		}
		fmt.Fprintf(&listeners, "  %s: {address: \"127.0.0.%d:0\", engine: %s, chunking: %v, dsn: %v, %stls: {certificate: %q, key: %q, mode: %s}, limits: {errors: 50}}\n",
			w.name, 11+i, w.engine, w.more, w.more, relay, cert, key, mode)
		if w.auth {
			continue
		}
		fmt.Fprintf(&domains, "%s, ", w.domain())
		for _, local := range known {
			fmt.Fprintf(&mailboxes, "%s@%s\n", local, w.domain())
		}
	}
	file := filepath.Join(dir, "mailboxes")
	if err := os.WriteFile(file, []byte(mailboxes.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	d.sink.Refuse = func(_, to string) string {
		if strings.HasPrefix(to, "closed@") {
			return "550 5.2.1 mailbox closed"
		}
		return ""
	}
	d.testGateway = startGatewayWith(t, fmt.Sprintf(`
hostname: mx.example.org
listeners:
%s
routes: [{to: [%s], upstream: sink, recipients: {verify: file, file: %q}}, {to: ["*"], upstream: sink}]
upstreams: {sink: {servers: [%q], tls: none}}
state: {directory: "{{dir}}/state"}
dns: {servers: ["127.0.0.1:9"]}
filters:
  - come-again
  - attachments: {classes: {executable: reject}}
`, listeners.String(), strings.TrimSuffix(domains.String(), ", "), file, d.sink.Addr), comeAgain())
	for _, l := range d.listeners {
		d.addr[l.cfg.Name] = l.net.Addr().String()
	}
	return d
}

// The user of all clients.
const user, password = "ann@client.test", "a long enough secret"

func writeUser(t *testing.T, dir string) string {
	t.Helper()
	file := filepath.Join(dir, "users")
	if err := users.Add(file, users.New{Name: user, Password: password, Send: []string{"client.test"}}); err != nil {
		t.Fatal(err)
	}
	return file
}

// errand is a message that every client is to send, and what is to become of it.
type errand struct {
	name    string
	to      []string // local parts
	utf8    bool
	body    string // with the fields that describe it
	refused string // the reply to its content; "" for none
	notify  bool   // its sender wants to be told of its arrival, too
	again   bool   // for recipients that were put off a moment ago; servers with a queue do that by themselves
}

// Fates of recipients, by their local parts; those that are not here get what is sent to them.
const (
	unknownReply = "550 5.1.1 No such mailbox here"
	laterReply   = "451 4.7.1 Please come again"
)

var refusedRecipients = map[string]string{"nobody": unknownReply, "later": laterReply, "later-alone": laterReply}

func errands(w way) []errand {
	if w.auth {
		return []errand{{name: "elsewhere", to: []string{"bob"}, body: "\r\nhello\r\n.\r\nend\r\n"}, {name: "from others", to: []string{"bob", "alice"}, body: "\r\nagain\r\n"}}
	}
	text := "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
	return []errand{
		{name: "plain", to: []string{"bob"}, body: "\r\nhello\r\n"},
		{name: "recipients", to: []string{"bob", "nobody", "later", "alice"}, body: "\r\nto several\r\n"},
		{name: "one for later", to: []string{"later-alone"}, body: "\r\nto one that is put off\r\n"},
		{name: "one for later again", to: []string{"later-alone"}, again: true, body: "\r\nto one that was put off\r\n"},
		{name: "dots", to: []string{"bob"}, body: "\r\n.\r\n..\r\n.x\r\n\r\n.\r\n" + strings.Repeat("y", 998) + "\r\n." + strings.Repeat("z", 997) + "\r\nend\r\n"},
		{name: "8bit", to: []string{"bob", "alice"}, body: text + "Grüße aus Köln\r\n"},
		{name: "large", to: []string{"bob"}, body: "\r\n" + strings.Repeat(".234567890123456789012345678901234567890123456789012345678901234567890123\r\n", 14_000)},
		{name: "internationalized", to: []string{"grüße", "bob"}, utf8: true, body: text + "Straße\r\n"},
		{name: "program", to: []string{"bob"}, refused: "550 5.7.1 attachment refused", body: "Content-Type: application/octet-stream; name=\"a.exe\"\r\n" +
			"Content-Disposition: attachment; filename=\"a.exe\"\r\nContent-Transfer-Encoding: base64\r\n\r\nTVqQAAMAAAAEAAAA//8AALgAAABIQVJNTEVTUyBTQU1QTEU=\r\n"},
	}
}

func (e errand) recipients(w way) (all []string) {
	for _, local := range e.to {
		all = append(all, local+"@"+w.domain())
	}
	return all
}

// content gives the message; the field X-Errand tells it from all others.
func (e errand) content(sender string, w way) string {
	subject := e.name
	if e.utf8 {
		subject = "Grüße"
	}
	return fmt.Sprintf("From: <%s>\r\nTo: <%s>\r\nSubject: %s\r\nDate: Thu, 26 Nov 2026 10:00:00 +0000\r\n"+
		"Message-ID: <%s@client.test>\r\nX-Errand: %s\r\nMIME-Version: 1.0\r\n%s", e.from(sender), e.recipients(w)[0], subject,
		strings.ReplaceAll(e.mark(sender, w), " ", "."), e.mark(sender, w), e.body)
}

func (e errand) from(sender string) string {
	if e.utf8 {
		return "jürgen." + sender + "@client.test"
	}
	return "ann." + sender + "@client.test"
}

func (e errand) mark(sender string, w way) string { return sender + " " + w.name + " " + e.name }

// arrivals gives what the sink has taken, by errand and recipient. A message that came to a recipient twice is an
// error of the test, as is one that no errand is known for.
func (d *doors) arrivals(t *testing.T) map[string]map[string]peertest.Taken {
	t.Helper()
	if !comesTrue(func() bool { n, _ := d.queue.Len(); return n == 0 }) { // what those who log in have sent
		t.Error("mail waits in the spool")
	}
	all := map[string]map[string]peertest.Taken{}
	for _, m := range d.sink.Taken() {
		_, mark, _ := strings.Cut(m.Content, "\r\nX-Errand: ")
		mark, _, _ = strings.Cut(mark, "\r\n")
		if all[mark] == nil {
			all[mark] = map[string]peertest.Taken{}
		}
		for _, to := range m.To {
			if _, twice := all[mark][to]; twice {
				t.Errorf("%s came to %s twice", mark, to)
			}
			all[mark][to] = m
		}
	}
	return all
}

// compareArrival compares what arrived with what was sent: it must end with just that, and what stands above it must
// be fields that relays put there.
func compareArrival(t *testing.T, name string, w way, m peertest.Taken, sent string) {
	t.Helper()
	if protocol := regexp.MustCompile(`by mx\.example\.org with (?:ESMTP|UTF8SMTP)(S?)(A?) `).FindStringSubmatch(m.Content); protocol == nil ||
		(protocol[1] == "S") != (w.tls != "none") || (protocol[2] == "A") != w.auth {
		t.Errorf("%s: came by %q", name, protocol)
	}
	head, ok := strings.CutSuffix(m.Content, sent)
	if !ok {
		i := strings.Index(m.Content, "From: <")
		t.Errorf("%s: %s", name, difference(m.Content[max(i, 0):], sent))
		return
	}
	for line := range strings.Lines(head) {
		field, _, _ := strings.Cut(line, ":")
		if line[0] == '\t' || line[0] == ' ' || field == "Received" || field == "Authentication-Results" || strings.HasPrefix(field, "X-Spam-") {
			continue
		}
		t.Errorf("%s: a line was put above: %q", name, line)
	}
}

// TestClients has programs without a queue send each errand each way. What was taken arrives as it was sent, and what
// was not is told to the one who sent it, in the gateway's own words.
func TestClients(t *testing.T) {
	t.Parallel()
	d := openDoors(t)
	for _, c := range peertest.Clients() {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			for _, w := range ways() {
				if !c.Slow || w.engine == edge.EnginePostern || w.tls == "starttls" {
					d.run(t, c, w)
				}
			}
			d.guess(t, c)
		})
	}
}

// guess has a client log in with a password that is wrong: it is told so, and nothing is sent.
func (d *doors) guess(t *testing.T, c peertest.Client) {
	t.Helper()
	w := way{name: edge.EnginePostern + "-submission", tls: "starttls", auth: true}
	e := errand{name: "wrong password", to: []string{"bob"}, body: "\r\nhello\r\n"}
	answers := c.Send(t, peertest.Session{
		Addr: d.addr[w.name], TLS: w.tls, User: user, Password: "a guess",
		Submission: []peertest.Submission{{From: e.from(c.Name), To: e.recipients(w), Content: e.content(c.Name, w)}},
	})
	if said := strings.Join(strings.Fields(answers[0].Said), " "); answers[0].Sent || !strings.Contains(said, "535") || !strings.Contains(said, "5.7.8") {
		t.Errorf("%s with a wrong password: sent %v\n%.3000s", c.Name, answers[0].Sent, answers[0].Said)
	}
	if len(d.arrivals(t)[e.mark(c.Name, w)]) > 0 {
		t.Errorf("%s sent with a wrong password", c.Name)
	}
}

func (d *doors) run(t *testing.T, c peertest.Client, w way) {
	t.Helper()
	sender := strings.ReplaceAll(c.Name, " ", "-")
	s := peertest.Session{Addr: d.addr[w.name], TLS: w.tls, Chunking: w.more}
	if w.auth {
		s.User, s.Password = user, password
	}
	var sent []errand
	for _, e := range errands(w) {
		if e.utf8 && !c.UTF8 {
			continue
		}
		sent = append(sent, e)
		s.Submission = append(s.Submission, peertest.Submission{From: e.from(sender), To: e.recipients(w), UTF8: e.utf8, Content: e.content(sender, w)})
	}
	answers := c.Send(t, s)
	arrived := d.arrivals(t)
	for i, e := range sent {
		mark := e.mark(sender, w)
		mixed := false
		replies := map[string]string{}
		for _, local := range e.to {
			if reply := refusedRecipients[local]; !e.again && reply != "" {
				replies[local], mixed = reply, true
			}
		}
		fine := e.refused == "" && !mixed
		if answers[i].Sent != fine && !(mixed && c.Partial) {
			t.Errorf("%s: the client says sent: %v\n%.3000s", mark, answers[i].Sent, answers[i].Said)
		}
		if !strings.Contains(answers[i].Said, e.refused) {
			t.Errorf("%s: the client does not tell of %q:\n%.3000s", mark, e.refused, answers[i].Said)
		}
		for _, local := range e.to {
			m, here := arrived[mark][local+"@"+w.domain()]
			reply := replies[local]
			if here != (e.refused == "" && reply == "" && (c.Partial || !mixed)) {
				t.Errorf("%s: arrived at %s: %v", mark, local, here)
			}
			if reply != "" && c.Partial && !strings.Contains(answers[i].Said, reply) {
				t.Errorf("%s: the client does not tell of %q:\n%.3000s", mark, reply, answers[i].Said)
			}
			content := e.content(sender, w)
			if w.more && c.Chunks {
				content = strings.ReplaceAll(content, "\r\n.", "\r\n..")
			}
			if here {
				compareArrival(t, mark, w, m, content)
			}
		}
	}
}
