package exchange

import (
	"bufio"
	"crypto/tls"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/peertest/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// talk says lines to a server and gives its replies, the lines of each put together with "|".
func talk(t *testing.T, nc net.Conn, lines ...string) (replies []string) {
	t.Helper()
	_ = nc.SetDeadline(time.Now().Add(10 * time.Second))
	br := bufio.NewReader(nc)
	for _, line := range append([]string{""}, lines...) {
		if line != "" {
			_, _ = nc.Write([]byte(line + "\r\n"))
		}
		reply := ""
		for more := true; more; {
			got, err := br.ReadString('\n')
			if err != nil {
				return append(replies, "closed")
			}
			more = len(got) > 3 && got[3] == '-'
			reply += strings.TrimSpace(got) + "|"
		}
		replies = append(replies, strings.TrimSuffix(reply, "|"))
	}
	return replies
}

func dial(t *testing.T, s *Server) net.Conn {
	t.Helper()
	nc, err := net.Dial("tcp", s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	return nc
}

const (
	ok       = "250 2.1.5 Recipient OK"
	noSuch   = "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup"
	noRelay  = "550 5.7.54 SMTP; Unable to relay recipient in non-accepted domain"
	tooMany  = "452 4.5.3 Too many recipients"
	tooBig   = "552 5.3.4 Message size exceeds fixed maximum message size"
	overload = "452 4.3.1 Insufficient system resources"
)

func TestDialogs(t *testing.T) {
	t.Parallel()
	bob := []string{"bob@example.org"}
	mail, known, unknown := "MAIL FROM:<a@x.test>", "RCPT TO:<Bob@example.org>", "RCPT TO:<who@example.org>"
	for _, c := range []struct {
		name string
		o    Options
		say  []string
		last string
	}{
		{"known", Options{Mailboxes: bob}, []string{"EHLO gw", mail, known}, ok},
		{"unknown at RCPT", Options{Mailboxes: bob}, []string{"EHLO gw", mail, unknown}, noSuch},
		{"unknown at the end", Options{Mailboxes: bob, Unknown: AtData}, []string{"EHLO gw", mail, unknown, "DATA", "Subject: x\r\n\r\n."}, noSuch},
		{"foreign", Options{}, []string{"EHLO gw", mail, "RCPT TO:<a@y.test>"}, noRelay},
		{"foreign, of its own servers", Options{Internal: true}, []string{"EHLO gw", mail, "RCPT TO:<a@y.test>"}, ok},
		{"too many", Options{Recipients: 1}, []string{"EHLO gw", mail, known, unknown}, tooMany},
		{"too big, told", Options{}, []string{"EHLO gw", mail + " SIZE=37748737"}, tooBig},
		{"too big, not told", Options{Size: 10}, []string{"EHLO gw", mail, known, "DATA", "Subject: x\r\n\r\n."}, tooBig},
		{"short of resources", Options{BackPressure: time.Millisecond}, []string{"EHLO gw", mail}, overload},
		{"anonymous", Options{NoAnonymous: true}, []string{"EHLO gw", mail}, "530 5.7.57 SMTP; Client was not authenticated to send anonymous mail during MAIL FROM"},
		{"greeting", Options{Refuse: "421 4.3.2 Service not active"}, nil, "421 4.3.2 Service not active"},
		{"idle", Options{Idle: 50 * time.Millisecond}, []string{"EHLO gw", ""}, "421 4.4.1 Connection timed out"},
		{"bad order", Options{}, []string{"EHLO gw", known}, "503 5.5.2 Need mail command"},
		{"no command", Options{}, []string{"XCLIENT NAME=x"}, "500 5.3.3 Unrecognized command 'XCLIENT'"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.o.Tarpit = -1
			got := talk(t, dial(t, Start(t, c.o)), c.say...)
			if last := got[len(got)-1]; last != c.last {
				t.Errorf("%q, not %q", last, c.last)
			}
		})
	}
}

func TestEHLO(t *testing.T) {
	t.Parallel()
	cert := &tls.Certificate{}
	const modern = "250-ex01.corp.test Hello [127.0.0.1]|250-SIZE 37748736|250-PIPELINING|250-DSN|250-ENHANCEDSTATUSCODES|250-STARTTLS|" +
		"250-X-ANONYMOUSTLS|250-AUTH NTLM|250-X-EXPS GSSAPI NTLM|250-8BITMIME|250-BINARYMIME|250-CHUNKING|250-SMTPUTF8|250 XRDST"
	for name, c := range map[string]struct {
		o    Options
		want string
	}{
		"2019":  {Options{Cert: cert}, modern},
		"lacks": {Options{Cert: cert, Lacks: []string{"8BITMIME", "XRDST"}}, strings.NewReplacer("250-8BITMIME|", "", "250-SMTPUTF8|250 XRDST", "250 SMTPUTF8").Replace(modern)},
		"2010":  {Options{Cert: cert, OldStyle: true}, strings.Replace(modern, "250-SMTPUTF8|250 XRDST", "250-XEXCH50|250-XRDST|250 XSHADOW", 1)},
	} {
		if got := talk(t, dial(t, Start(t, c.o)), "EHLO gw"); !slices.Equal(got[1:], []string{c.want}) {
			t.Errorf("%s: %q", name, got[1:])
		}
	}
}

// TestLimits: a connection too many is turned away, refusals come late, and the header firewall holds.
func TestLimits(t *testing.T) {
	t.Parallel()
	s := Start(t, Options{PerSource: 2, Tarpit: 100 * time.Millisecond})
	first, second := dial(t, s), dial(t, s)
	talk(t, first)
	talk(t, second)
	if got := talk(t, dial(t, s)); !strings.HasPrefix(got[0], "421 4.3.2 ") {
		t.Errorf("the third: %q", got)
	}
	start := time.Now()
	_, _ = first.Write([]byte("EHLO gw\r\nMAIL FROM:<>\r\nRCPT TO:<a@y.test>\r\n"))
	br := bufio.NewReader(first)
	for line := ""; !strings.HasPrefix(line, "550 "); line, _ = br.ReadString('\n') {
	}
	if took := time.Since(start); took < 100*time.Millisecond {
		t.Errorf("a refusal after %v", took)
	}
	_, _ = first.Write([]byte("RCPT TO:<a@example.org>\r\nBDAT 111 LAST\r\n" +
		"X-MS-Exchange-Organization-SCL: -1\r\nX-MS-Exchange-Forest-A: 1\r\n folded\r\nX-MS-Exchange-CrossTenant-Id: x\r\n\r\nhi\r\n"))
	for line := ""; !strings.Contains(line, "Queued mail for delivery"); {
		var err error
		if line, err = br.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.Taken(); len(got) != 1 || got[0].Content != "X-MS-Exchange-CrossTenant-Id: x\r\n\r\nhi\r\n" || got[0].SCL() != 0 {
		t.Errorf("%+v", got)
	}
	if s.MostConnections() != 2 {
		t.Errorf("%d connections", s.MostConnections())
	}
}
