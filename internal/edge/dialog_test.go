package edge

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
	"go.uber.org/goleak"

	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/upstream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestDialogs runs the files of testdata/dialog: a comment that says why, a file "config" with one setting
// on each line, and files whose names begin with "dialog", each a connection of its own, run in order.
//
//	C: TEXT        send the line
//	raw: "…"       send the octets of a Go string, which may hold ${…}: "a${3x10}" is a followed by "x" ten times
//	S: RE          one whole reply, lines joined by "\n", must match the expression at its beginning
//	S!: RE         and no line of the last reply may match
//	EOF:           the server must close the connection without another word
//	silent:        nothing must have come for a moment
//	starttls:      make the handshake
//	delivered: N   so many messages in all have been delivered to the first relay
//	from: A        reverse-path of the last one
//	to: A,B        its recipients
//	content: "…"   everything below the Received field of the last one
//	top: RE        everything from its beginning up to there must match somewhere
//	held: N RE     so many messages are in quarantine, and the last one's kind matches
//	log: RE        a line of the log must match
//	nolog: RE      none may
//	no5yz:         no reply of this connection was a 5yz
func TestDialogs(t *testing.T) {
	files, err := filepath.Glob("testdata/dialog/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no dialog files: %v", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(f)
			if err != nil {
				t.Fatal(err)
			}
			runDialogs(t, a)
		})
	}
}

func runDialogs(t *testing.T, a *txtar.Archive) {
	settings := map[string][]string{}
	for _, file := range a.Files {
		if file.Name != "config" {
			continue
		}
		for _, line := range strings.Split(strings.TrimSpace(string(file.Data)), "\n") {
			if key, value, ok := strings.Cut(line, ":"); ok {
				settings[key] = append(settings[key], strings.TrimSpace(value))
			}
		}
	}
	d := newDoor(t, settings["filter"], func(d *door, cfg *ListenerConfig) {
		for key, values := range settings {
			for _, v := range values {
				configure(t, d, cfg, key, v)
			}
		}
	})
	for _, file := range a.Files {
		if strings.HasPrefix(file.Name, "dialog") {
			c := dialDoor(t, d)
			c.implicit(settings)
			for i, line := range strings.Split(string(file.Data), "\n") {
				c.where = fmt.Sprintf("%s:%d: %s", file.Name, i+1, line)
				c.step(line)
			}
			c.close()
		}
	}
}

func configure(t *testing.T, d *door, cfg *ListenerConfig, key, v string) {
	number := func() int {
		n, err := strconv.Atoi(v)
		if err != nil {
			t.Fatalf("config %s: %v", key, err)
		}
		return n
	}
	duration := func() time.Duration {
		dur, err := time.ParseDuration(v)
		if err != nil {
			t.Fatalf("config %s: %v", key, err)
		}
		return dur
	}
	switch key {
	case "filter":
	case "hostname":
		d.gw.Hostname = v
	case "soft_bounce":
		d.gw.SoftBounce = v == "true"
	case "observe":
		d.gw.Observe = v == "true"
	case "bare_newlines":
		cfg.RejectBare = v == "reject"
	case "message":
		cfg.Limits.Message = int64(number())
	case "header":
		cfg.Limits.Header = int64(number())
	case "recipients":
		cfg.Limits.Recipients = number()
	case "connections":
		cfg.Limits.Connections = number()
	case "per_client":
		cfg.Limits.PerClient = number()
		d.gw.ExemptNetworks = nil
	case "errors":
		cfg.Limits.Errors = number()
	case "idle":
		cfg.Limits.Idle = duration()
	case "data":
		cfg.Limits.Data = duration()
	case "tls":
		cfg.Implicit = v == "implicit"
		if v == "none" {
			cfg.TLS = nil
		}
	case "quarantine_reply":
		if v == "accept" {
			d.gw.Policies["default"].QuarantineReply = QuarantineAccept
		}
	case "quarantine":
		switch v {
		case "full":
			d.quarantine.err = fmt.Errorf("quarantine: %w", syscall.ENOSPC)
		case "broken":
			d.quarantine.err = errors.New("disk on fire")
		case "none":
			d.gw.Quarantine = nil
		}
	case "engine":
		cfg.Engine = v
	case "chunking":
		cfg.Chunking = v == "true"
	case "temp_dir":
		d.gw.TempDir = v
	case "directory":
		d.gw.Recipients["file"] = fakeRecipients{err: errors.New("directory is down")}
	case "privacy":
		d.gw.Privacy = map[string]Privacy{"domain": PrivacyDomain, "hash": PrivacyHash}[v]
	case "cached":
		addr, rest, _ := strings.Cut(v, " ")
		d.relay.cached = map[string]mail.Reply{addr: parseReply(rest)}
	case "relay":
		d.relay.answer = relayAnswer(t, v)
	default:
		t.Fatalf("unknown setting %q", key)
	}
}

func parseReply(s string) mail.Reply {
	var r mail.Reply
	fmt.Sscanf(s, "%d %d.%d.%d", &r.Code, &r.Enhanced[0], &r.Enhanced[1], &r.Enhanced[2])
	w := strings.SplitN(s, " ", 3)
	r.Text = w[len(w)-1]
	return r
}

func relayAnswer(t *testing.T, v string) func(mail.Envelope) upstream.Outcome {
	word, rest, _ := strings.Cut(v, " ")
	return func(env mail.Envelope) upstream.Outcome {
		out := upstream.Outcome{Server: "backend:25", Stage: upstream.StageDot}
		if rest != "" {
			out.Reply = parseReply(rest)
		}
		switch word {
		case "refused":
			out.Kind = upstream.Refused
		case "recipient":
			out.Kind, out.Stage = upstream.RecipientRefused, upstream.StageRcpt
			out.Refused = map[mail.Address]mail.Reply{env.To[0]: out.Reply}
		case "fault":
			out.Kind, out.Stage = upstream.OurFault, upstream.StageMail
		case "unreachable":
			out.Kind, out.Stage = upstream.Unreachable, upstream.StageDial
		case "unknown":
			out.Kind = upstream.Unknown
		case "panic":
			panic("relay is broken")
		case "zero":
			return upstream.Outcome{}
		default:
			t.Errorf("unknown relay answer %q", v)
		}
		return out
	}
}

// client is the other side of a dialog.
type client struct {
	t       *testing.T
	d       *door
	conn    net.Conn
	r       *bufio.Reader
	last    string
	replies []string
	where   string
}

func dialDoor(t *testing.T, d *door) *client {
	conn, err := net.Dial("tcp", d.addr)
	if err != nil {
		t.Fatal(err)
	}
	c := &client{t: t, d: d, conn: conn, r: bufio.NewReader(conn)}
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}

func (c *client) implicit(settings map[string][]string) {
	if v := settings["tls"]; len(v) > 0 && v[0] == "implicit" {
		c.handshake()
	}
}

func (c *client) handshake() {
	tc := tls.Client(c.conn, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // our own certificate
	if err := tc.Handshake(); err != nil {
		c.fatal("handshake: %v", err)
	}
	c.conn, c.r = tc, bufio.NewReader(tc)
}

func (c *client) close() { _ = c.conn.Close() }

func (c *client) fatal(format string, args ...any) {
	c.t.Helper()
	c.t.Fatalf("%s\n\t%s\nlog:\n%s", c.where, fmt.Sprintf(format, args...), strings.Join(c.d.log.lines(), "\n"))
}

func (c *client) send(s string) {
	if _, err := io.WriteString(c.conn, s); err != nil {
		c.fatal("send: %v", err)
	}
}

// reply reads one whole reply.
func (c *client) reply() string {
	var lines []string
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			c.fatal("reading a reply: %v (so far %q)", err, append(lines, line))
		}
		if !strings.HasSuffix(line, "\r\n") {
			c.fatal("reply line %q does not end in CRLF", line)
		}
		line = strings.TrimSuffix(line, "\r\n")
		lines = append(lines, line)
		if len(line) < 4 || line[3] != '-' {
			c.last = strings.Join(lines, "\n")
			c.replies = append(c.replies, c.last)
			return c.last
		}
	}
}

var repeat = regexp.MustCompile(`\$\{(\d+)x([^}]*)\}`)

func (c *client) unquote(v string) string {
	s, err := strconv.Unquote(v)
	if err != nil {
		c.fatal("bad string: %v", err)
	}
	return repeat.ReplaceAllStringFunc(s, func(m string) string {
		p := repeat.FindStringSubmatch(m)
		n, _ := strconv.Atoi(p[1])
		return strings.Repeat(p[2], n)
	})
}

func (c *client) step(line string) {
	op, v, ok := strings.Cut(line, ":")
	v = strings.TrimSpace(v)
	if !ok || strings.HasPrefix(line, "#") {
		return
	}
	switch op {
	case "C":
		c.send(v + "\r\n")
	case "raw":
		c.send(c.unquote(v))
	case "S":
		if got := c.reply(); !regexp.MustCompile(`(?s)\A` + v).MatchString(got) {
			c.fatal("reply %q does not match", got)
		}
	case "S!":
		if regexp.MustCompile(v).MatchString(c.last) {
			c.fatal("reply %q matches", c.last)
		}
	case "EOF":
		if got, err := io.ReadAll(c.r); len(got) > 0 || err != nil && !errors.Is(err, syscall.ECONNRESET) {
			c.fatal("got %q, %v; want the end of the connection", got, err)
		}
	case "silent":
		_ = c.conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if b, err := c.r.ReadByte(); err == nil {
			c.fatal("got octet %q", b)
		}
		_ = c.conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	case "starttls":
		c.handshake()
	case "no5yz":
		for _, r := range c.replies {
			if strings.HasPrefix(r, "5") {
				c.fatal("a 5yz: %q", r)
			}
		}
	default:
		c.expect(op, v)
	}
}

// expect checks what happened behind the door.
func (c *client) expect(op, v string) {
	got := c.d.relay.all()
	last := func() delivered {
		if len(got) == 0 {
			c.fatal("nothing was delivered")
		}
		return got[len(got)-1]
	}
	switch op {
	case "delivered":
		if strconv.Itoa(len(got)) != v {
			c.fatal("%d were delivered: %+v", len(got), got)
		}
	case "from":
		if s := last().env.From.String(); s != v {
			c.fatal("from %q", s)
		}
	case "to":
		var to []string
		for _, a := range last().env.To {
			to = append(to, a.String())
		}
		if s := strings.Join(to, ","); s != v {
			c.fatal("to %q", s)
		}
	case "content":
		_, content := splitTop(last().content)
		if content != c.unquote(v) {
			c.fatal("content is %q", content)
		}
	case "top":
		top, _ := splitTop(last().content)
		if !regexp.MustCompile(v).MatchString(top) {
			c.fatal("top is %q", top)
		}
	case "held":
		n, kind, _ := strings.Cut(v, " ")
		kept := c.d.quarantine.all()
		if strconv.Itoa(len(kept)) != n || len(kept) > 0 && kept[len(kept)-1].Kind != kind {
			c.fatal("held: %+v", kept)
		}
	case "log", "nolog":
		re, found := regexp.MustCompile(v), false
		for _, l := range c.d.log.lines() {
			found = found || re.MatchString(l)
		}
		if found != (op == "log") {
			c.fatal("log does not fit")
		}
	default:
		c.fatal("unknown step")
	}
}

var ourReceived = regexp.MustCompile(`Received: from [^;]*;\r\n\t[A-Z][a-z]{2}, [^\r]*\r\n`)

// splitTop cuts a delivered message behind our Received field.
func splitTop(s string) (top, content string) {
	m := ourReceived.FindStringIndex(s)
	if m == nil {
		return "", s
	}
	return s[:m[1]], s[m[1]:]
}
