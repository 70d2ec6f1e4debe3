package edge

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// client is the other side of a dialog.
type client struct {
	t        *testing.T
	d        *door
	conn     net.Conn
	r        *bufio.Reader
	engine   string
	patience time.Duration // for each reply
	last     string
	replies  []string
	where    string
	fronted  bool
	fail     func(string)
}

func newClient(t *testing.T, d *door, conn net.Conn) *client {
	c := &client{t: t, d: d, conn: conn, r: bufio.NewReader(conn), patience: longWait}
	c.fail = func(what string) { t.Helper(); t.Fatal(what) }
	return c
}

func dialDoor(t *testing.T, d *door) *client {
	conn, err := net.Dial("tcp", d.addr)
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(t, d, conn)
	c.setDeadline()
	return c
}

func (c *client) setDeadline() { _ = c.conn.SetDeadline(time.Now().Add(c.patience)) }

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
	c.fail(fmt.Sprintf("%s\n\t%s\nlog:\n%s", c.where, fmt.Sprintf(format, args...), strings.Join(c.d.log.lines(), "\n")))
}

func (c *client) send(s string) {
	c.setDeadline()
	if _, err := io.WriteString(c.conn, s); err != nil {
		c.fatal("send: %v", err)
	}
}

// reply reads one whole reply.
func (c *client) reply() string {
	c.setDeadline()
	var lines []string
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			c.fatal("reading a reply: %v (so far %q)", err, append(lines, line))
		}
		if !strings.HasSuffix(line, "\r\n") {
			c.fatal("reply line %q does not end in CRLF", line)
		}
		if len(line) > 512 { // RFC 5321 4.5.3.1.5
			c.fatal("reply line of %d octets", len(line))
		}
		line = strings.TrimSuffix(line, "\r\n")
		lines = append(lines, line)
		if len(line) < 4 || line[3] != '-' {
			c.inspect(lines)
			c.last = strings.Join(lines, "\n")
			c.replies = append(c.replies, c.last)
			return c.last
		}
	}
}

var (
	replyLine = regexp.MustCompile(`^([2-5][0-5][0-9])[ -]([\t -~]*)$`)
	statusOf  = regexp.MustCompile(`^([245])\.[0-9]{1,3}\.[0-9]{1,3} `)

	// Those of RFC 5321 4.2.3, RFC 3207 4 and RFC 4954 6.
	replyCodes = strings.Fields(`211 214 220 221 250 251 252 354 421 450 451 452 455 500 501 502 503 504 550 551 552 553 554 555
		454 235 334 432 530 534 535 538`)
)

// inspect holds each reply against the rules for all of them: the grammar and the codes of RFC 5321 4.2, and
// RFC 2034 4, by which every line of every 2yz, 4yz and 5yz has one enhanced code of the same class, but for
// the greeting and the answer to EHLO and HELO.
func (c *client) inspect(lines []string) {
	var greeting bool
	var code, status string
	for i, line := range lines {
		m := replyLine.FindStringSubmatch(line)
		if m == nil {
			c.fatal("%q is no reply line", line)
		}
		if i == 0 {
			code = m[1]
			greeting = code == "220" && (len(c.replies) == 0 || c.fronted) || code == "250" && strings.HasPrefix(m[2]+" ", c.d.gw.Hostname+" ")
		}
		switch s := statusOf.FindString(m[2]); {
		case m[1] != code:
			c.fatal("reply with two codes: %q", lines)
		case greeting || code[0] == '3':
			if s != "" {
				c.fatal("enhanced code in %q", line)
			}
		case s == "" || s[0] != code[0] || i > 0 && s != status:
			c.fatal("enhanced code %q in %q", s, line)
		default:
			status = s
		}
	}
	if !c.d.gw.SoftBounce && !slices.Contains(replyCodes, code) {
		c.fatal("%s is no code of SMTP", code)
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

func (c *client) match(re, s string) bool {
	r, err := regexp.Compile(`(?s)\A` + re)
	if err != nil {
		c.fatal("%v", err)
	}
	return r.MatchString(s)
}

// dialog runs the lines of one dialog. A line with an engine's name takes the place of the one above it where
// this engine runs, and that one must then fail.
func (c *client) dialog(name, text string) {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	for i, line := range lines {
		op, _, _ := strings.Cut(line, ":")
		if strings.HasSuffix(op, "]") && !strings.HasPrefix(line, "#") {
			continue // with the line above it
		}
		c.where = fmt.Sprintf("%s:%d: %s", name, i+1, line)
		own := ""
		for _, next := range lines[i+1:] {
			word, v, _ := strings.Cut(next, ":")
			if !strings.HasPrefix(word, op+"[") {
				break
			}
			if word == op+"["+c.engine+"]" {
				own = op + ":" + v
			}
		}
		if own == "" {
			c.step(line)
			continue
		}
		c.step(own)
		if c.holds(line) {
			c.fatal("%s does not differ", c.engine)
		}
	}
}

// holds reports whether a step that only looks would do: for S, at the last reply.
func (c *client) holds(line string) (ok bool) {
	op, v, _ := strings.Cut(line, ":")
	v = strings.TrimSpace(v)
	if op == "S" {
		return c.match(v, c.last)
	}
	fail := c.fail
	defer func() {
		c.fail = fail
		if r := recover(); r != nil && r != dialogFailure("") {
			panic(r)
		}
	}()
	c.fail = func(string) { panic(dialogFailure("")) }
	c.expect(op, v)
	return true
}

// step runs one line of a dialog; empty ones and those that begin with # are none.
//
//	C: TEXT        send the line
//	raw: "…"       send the octets of a Go string, which may hold ${…}: "a${3x10}" is a followed by "10" three times
//	cut: "…"       the same, octet by octet, each read by itself with clock: bubble
//	S: RE          one whole reply, lines joined by "\n", must match the expression at its beginning
//	S!: RE         and no line of the last reply may match
//	write: RE      what the server sends in one write must match; clock: bubble only
//	EOF:           the server must close the connection without another word
//	end:           the server must close the connection, whatever it says before
//	silent:        nothing must have come for a moment
//	starttls:      make the handshake
//	shut:          send no more, but go on reading
//	wait: TIME     let the time pass; clock: bubble only
//	drain:         the server begins to drain
//	ehlo:          read the greeting, send EHLO client.example, read its 250
//	rcpt:          send MAIL FROM:<a@sender.example>, RCPT TO:<b@ours.example>, both get their 250
//	data:          send DATA, which gets its 354
//	secure:        ehlo, STARTTLS, the handshake, EHLO again
//	outward:       send MAIL FROM:<a@ours.example>, RCPT TO:<b@foreign.example>, both get their 250
//	no5yz:         no reply of this connection was a 5yz
func (c *client) step(line string) {
	op, v, ok := strings.Cut(line, ":")
	v = strings.TrimSpace(v)
	if strings.HasPrefix(line, "#") || line == "" {
		return
	}
	if !ok {
		c.fatal("no step")
	}
	switch op {
	case "C":
		c.fronted = strings.HasPrefix(v, "XCLIENT ") // whose good answer is a greeting
		c.send(v + "\r\n")
	case "raw":
		c.send(c.unquote(v))
	case "cut":
		for _, b := range []byte(c.unquote(v)) {
			c.send(string([]byte{b}))
		}
	case "ehlo", "rcpt", "data", "secure", "outward":
		c.macro(op)
	case "S":
		if got := c.reply(); !c.match(v, got) {
			c.fatal("reply %q does not match", got)
		}
	case "S!":
		if regexp.MustCompile(v).MatchString(c.last) {
			c.fatal("reply %q matches", c.last)
		}
	case "no5yz":
		for _, r := range c.replies {
			if strings.HasPrefix(r, "5") {
				c.fatal("a 5yz: %q", r)
			}
		}
	default:
		c.stream(op, v)
	}
}

func (c *client) macro(op string) {
	for _, s := range map[string][]string{
		"ehlo":    {"S: 220 ", "C: EHLO client.example", "S: 250-"},
		"rcpt":    {"C: MAIL FROM:<a@sender.example>", "S: 250 ", "C: RCPT TO:<b@ours.example>", "S: 250 "},
		"data":    {"C: DATA", "S: 354 "},
		"secure":  {"ehlo:", "C: STARTTLS", "S: 220 ", "starttls:", "C: EHLO client.example", "S: 250-"},
		"outward": {"C: MAIL FROM:<a@ours.example>", "S: 250 ", "C: RCPT TO:<b@foreign.example>", "S: 250 "},
	}[op] {
		c.step(s)
	}
}

// stream does what concerns the connection.
func (c *client) stream(op, v string) {
	switch op {
	case "write":
		b := make([]byte, 64<<10)
		n, err := c.conn.Read(b)
		if !c.match(v, string(b[:n])) {
			c.fatal("one write is %q, %v", b[:n], err)
		}
	case "EOF":
		c.setDeadline()
		if got, err := io.ReadAll(c.r); len(got) > 0 || err != nil && !errors.Is(err, syscall.ECONNRESET) {
			c.fatal("got %q, %v; want the end of the connection", got, err)
		}
	case "end":
		c.setDeadline()
		if _, err := io.Copy(io.Discard, c.r); err != nil && !errors.Is(err, syscall.ECONNRESET) {
			c.fatal("%v; want the end of the connection", err)
		}
	case "silent":
		_ = c.conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if b, err := c.r.ReadByte(); err == nil {
			c.fatal("got octet %q", b)
		} else if !errors.Is(err, syscall.ETIMEDOUT) && !isTimeout(err) {
			c.fatal("%v", err)
		}
		c.setDeadline()
	case "starttls":
		c.handshake()
	case "shut":
		if s, ok := c.conn.(interface{ CloseWrite() error }); !ok || s.CloseWrite() != nil {
			c.fatal("can't")
		}
	case "wait":
		d, err := time.ParseDuration(v)
		if err != nil {
			c.fatal("%v", err)
		}
		time.Sleep(d)
	case "drain":
		for _, w := range c.d.srv.stop() { // what Drain does before it waits
			w.drain()
		}
	default:
		c.expect(op, v)
	}
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

// expect checks what happened behind the door.
//
//	delivered: N   so many messages in all have been delivered to the first relay
//	sent: N        and so many to the second, which goes outward where somebody may relay
//	from: A        reverse-path of the last one
//	to: A,B        its recipients
//	flags: F F     what else was said of it: SMTPUTF8, 8BITMIME
//	content: "…"   everything below the Received field of the last one
//	top: RE        everything from its beginning up to there must match somewhere
//	told: A,B      the last sender who was told that the next server has a message, of these recipients; "" for nobody
//	held: N RE     so many messages are in quarantine, and the last one's kind matches
//	log: RE        a line of the log must match
//	nolog: RE      none may
func (c *client) expect(op, v string) {
	got := c.d.relay.all()
	last := func() delivered {
		if len(got) == 0 {
			c.fatal("nothing was delivered")
		}
		return got[len(got)-1]
	}
	switch op {
	case "sent":
		if got := c.d.second.all(); strconv.Itoa(len(got)) != v {
			c.fatal("%d were sent: %+v", len(got), got)
		}
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
	case "dsn":
		if s := fmt.Sprintf("%+v", last().env.DSN); s != v {
			c.fatal("dsn %s", s)
		}
	case "told":
		told := ""
		for _, s := range c.d.spool.notified() {
			told = s.e.From + " " + s.groups()
			if !s.e.Bounce {
				told += ", unproved"
			}
		}
		if told != v {
			c.fatal("told: %q", told)
		}
	case "flags":
		var flags []string
		for name, set := range map[string]bool{"SMTPUTF8": last().env.SMTPUTF8, "8BITMIME": last().env.Body8Bit} {
			if set {
				flags = append(flags, name)
			}
		}
		if want := strings.Fields(v); len(flags) != len(want) || slices.ContainsFunc(want, func(f string) bool { return !slices.Contains(flags, f) }) {
			c.fatal("flags %q", flags)
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
