package edge

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/postern-mail/postern/mail"
)

// words are what FuzzSession makes dialogs of. A byte below len(words) is one of them, any other itself.
var words = []string{
	"EHLO client.example\r\n", "HELO x\r\n", "MAIL FROM:<a@s.example>\r\n", "MAIL FROM:<> SIZE=10 BODY=8BITMIME\r\n",
	"RCPT TO:<b@ours.example>\r\n", "RCPT TO:<c@second.example>\r\n", "RCPT TO:<postmaster>\r\n", "RCPT TO:<x@elsewhere.example>\r\n",
	"DATA\r\n", "\r\n.\r\n", ".\r\n", "RSET\r\n", "NOOP\r\n", "\r\n", "\n", ".", "\r", "\n.\n", "\r\n..", "Subject: x\r\n\r\n",
	"BDAT 3\r\nabc", "BDAT 2 LAST\r\nab", "STARTTLS\r\n", "AUTH PLAIN\r\n", "VRFY x\r\n", "QUIT\r\n", "\x00", "\xff", "MAIL FROM:<a@s.example>\n",
	"some text that is a little longer than the rest ", "RCPT TO:<\"q r\"@ours.example>\r\n", "mail from:<a@s.example> smtputf8\r\n",
}

// FuzzSession has random dialogs, cut at random, with a door, and follows each with a model of SMTP of its
// own: nothing is acknowledged that was not delivered just so, and nothing is delivered that was not sent.
func FuzzSession(f *testing.F) {
	f.Add([]byte{0, 2, 4, 8, 19, 29, 9, 25}, uint64(1))
	f.Add([]byte{0, 2, 4, 8, 17, 2, 4, 8, 29, 9, 2, 4, 8, 9, 25}, uint64(2))
	f.Add([]byte{0, 2, 4, 20, 11, 2, 4, 21, 25}, uint64(3))
	f.Add([]byte{0, 22, 2, 4, 8, 19, 9}, uint64(4))
	f.Add([]byte{0, 2, 4, 8, 19, 16, 16, 14, 15, 16, 14, 29, 13, 10, 11}, uint64(5))
	f.Add([]byte{1, 3, 6, 6, 8, 18, 29, 26, 9, 3, 6, 8, 18, 29, 9, 12}, uint64(6))
	d := newDoor(f, nil, func(_ *door, cfg *ListenerConfig) { cfg.Limits.Message = 2000 })
	f.Fuzz(func(t *testing.T, script []byte, cuts uint64) {
		if len(script) > 300 {
			return // long dialogs find nothing that short ones do not
		}
		var in strings.Builder
		for _, b := range script {
			if int(b) < len(words) {
				in.WriteString(words[b])
			} else {
				in.WriteByte(b)
			}
		}
		d.relay.mu.Lock()
		d.relay.got = nil
		d.relay.mu.Unlock()
		d.second.got = nil
		replies, whole := converse(t, d, in.String(), cuts)
		waitFor(t, func() bool { d.srv.mu.Lock(); defer d.srv.mu.Unlock(); return len(d.srv.wires) == 0 })
		if p := d.metrics.panics; p != 0 {
			t.Fatalf("%d panics:\n%s", p, strings.Join(d.log.lines(), "\n"))
		}
		sent := follow(in.String(), replies)
		got := append(d.relay.all(), d.second.all()...)
		if whole && len(got) != len(sent) {
			t.Fatalf("%d messages acknowledged, %d delivered\nin %q\nreplies %q", len(sent), len(got), in.String(), replies)
		}
		for _, m := range got {
			_, content := splitTop(m.content)
			want, ok := sent[m.env.ID]
			if !ok && whole || ok && want != content {
				t.Fatalf("delivered %q as %s, acknowledged %q\nin %q\nreplies %q", content, m.env.ID, want, in.String(), replies)
			}
			delete(sent, m.env.ID)
		}
		if len(sent) > 0 {
			t.Fatalf("acknowledged and not delivered: %q", sent)
		}
	})
}

// converse sends a dialog in pieces and reads all replies. whole is false if the last ones may be missing.
func converse(t *testing.T, d *door, in string, cuts uint64) (replies []string, whole bool) {
	conn, err := net.Dial("tcp", d.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	type result struct {
		text string
		err  error
	}
	read := make(chan result, 1)
	go func() {
		b, err := io.ReadAll(conn)
		read <- result{string(b), err}
	}()
	rng := rand.New(rand.NewPCG(cuts, 1))
	for in != "" {
		n := min(len(in), 1+rng.IntN(1+int(cuts%97)*3))
		if _, err := io.WriteString(conn, in[:n]); err != nil {
			break
		}
		in = in[n:]
	}
	_ = conn.(*net.TCPConn).CloseWrite()
	r := <-read
	if r.err != nil && !errors.Is(r.err, syscall.ECONNRESET) {
		t.Fatalf("reading replies: %v", r.err)
	}
	for _, line := range strings.SplitAfter(r.text, "\r\n") {
		if len(line) > 3 && line[3] == ' ' {
			replies = append(replies, line)
		}
	}
	return replies, r.err == nil
}

var queued = regexp.MustCompile(`^250 2\.0\.0 Ok: queued as (\S+)`)

// follow reads a dialog with the replies it got, and gives the content of each message that was
// acknowledged, by the id in its reply.
func follow(in string, replies []string) map[string]string {
	sent := map[string]string{}
	next := func() string {
		if len(replies) == 0 {
			return ""
		}
		r := replies[0]
		replies = replies[1:]
		return r
	}
	next() // the greeting
	for {
		_, rest, ok := strings.Cut(in, "\n")
		if !ok {
			return sent
		}
		in = rest
		switch r := next(); {
		case r == "", strings.HasPrefix(r, "421"), strings.HasPrefix(r, "220"):
			return sent
		case strings.HasPrefix(r, "354"):
			content, rest, ended := slowDots(in)
			if !ended {
				return sent
			}
			in = rest
			if m := queued.FindStringSubmatch(next()); m != nil {
				sent[m[1]] = canonical(content)
			}
		}
	}
}

// canonical gives the content as it is delivered below a field of ours: package mail alone says how.
func canonical(content string) string {
	g := mail.NewIngest(mail.IngestOptions{Unstuff: true})
	if _, err := io.WriteString(g, content); err != nil {
		return err.Error()
	}
	b, faults, err := g.Blob()
	if err != nil {
		return err.Error()
	}
	c := mail.NewContent(b, faults, mail.Limits{})
	defer c.Release()
	m, err := mail.Rewrite(c, []mail.Edit{mail.AddField{Name: "X-Top", Body: "1"}}, false)
	if err != nil {
		return err.Error()
	}
	defer m.Release()
	var out strings.Builder
	if _, err := m.WriteTo(&out); err != nil {
		return err.Error()
	}
	return strings.TrimPrefix(out.String(), "X-Top: 1\r\n")
}
