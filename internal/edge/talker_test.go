package edge

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// spoken is what one side and the other said, until TLS began or the end.
type spoken struct {
	said    strings.Builder
	replies []string // the last line of each
}

// talker is a client that says what it is told to, cut at random. It waits for replies where RFC 2920 3.1 has it wait, but
// for those times when it does not care: from then on it only talks.
type talker struct {
	t     *testing.T
	conn  net.Conn
	r     *bufio.Reader
	rng   *rand.Rand
	talks []*spoken // the last is going on

	cut     int // octets of a piece, at most
	careful int // of 100 times
	due     int // replies that it has not read
	out     []byte
	deaf    bool // it waits no more
	broken  bool // the last replies may be missing
	ended   bool // the server has hung up
}

// converse holds a dialog. whole is false if the last replies may be missing.
func converse(t *testing.T, addr, in string, choices uint64) (talks []*spoken, whole bool) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	c := &talker{
		t: t, conn: conn, r: bufio.NewReader(conn), rng: rand.New(rand.NewPCG(choices, 1)), talks: []*spoken{{}},
		cut: 1 + int(choices%97)*3, careful: []int{100, 95, 80, 0}[choices/97%4], due: 1,
	}
	defer func() { _ = c.conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(longWait))
	if c.careful > 0 { // RFC 5321 3.1: the greeting comes first
		c.listen()
	}
	next := c.line
	for in != "" && !c.ended && next != nil {
		in, next = next(in)
	}
	c.rest()
	return c.talks, !c.broken
}

// step says what comes next of a dialog, and gives what is left and how to go on with it.
type step func(in string) (rest string, next step)

func (c *talker) say(s string) {
	c.talks[len(c.talks)-1].said.WriteString(s)
	c.out = append(c.out, s...)
}

// waits tells whether it waits now.
func (c *talker) waits() bool {
	if !c.deaf && c.rng.IntN(100) >= c.careful {
		c.deaf = true
	}
	return !c.deaf
}

var (
	waitingVerb = regexp.MustCompile(`(?i)^(EHLO|HELO|DATA|VRFY|EXPN|TURN|QUIT|NOOP|STARTTLS|AUTH|XCLIENT|HELP)\b`) // RFC 2920 3.1
	bdatLine    = regexp.MustCompile(`(?i)^BDAT ([0-9]{1,9})( +LAST)?[ \t]*\r?\n`)
)

// line says a command, with its chunk if it has one.
func (c *talker) line(in string) (string, step) {
	line, rest := cutLine(in)
	chunk := ""
	if m := bdatLine.FindStringSubmatch(line); m != nil {
		size, _ := strconv.Atoi(m[1])
		chunk = rest[:min(size, len(rest))]
		rest = rest[len(chunk):]
	}
	c.say(line + chunk)
	c.due++
	if !strings.HasSuffix(line, "\n") || !waitingVerb.MatchString(line) || !c.waits() {
		return rest, c.line
	}
	reply := c.listen()
	verb := strings.ToUpper(line[:4])
	switch {
	case verb == "DATA" && strings.HasPrefix(reply, "354"):
		return rest, c.content
	case verb == "AUTH" && strings.HasPrefix(reply, "334"):
		return rest, c.response
	case verb == "STAR" && strings.HasPrefix(reply, "220"):
		return rest, c.handshake
	}
	return rest, c.line
}

func cutLine(in string) (line, rest string) {
	if i := strings.IndexByte(in, '\n'); i >= 0 {
		return in[:i+1], in[i+1:]
	}
	return in, ""
}

// content says content up to its end.
func (c *talker) content(in string) (string, step) {
	_, rest, ended := slowDots(in)
	c.say(in[:len(in)-len(rest)])
	if !ended {
		return "", nil
	}
	c.due++
	if c.waits() {
		c.listen()
	}
	return rest, c.line
}

// response says a response of SASL.
func (c *talker) response(in string) (string, step) {
	line, rest := cutLine(in)
	c.say(line)
	c.due++
	if strings.HasSuffix(line, "\n") && c.waits() && strings.HasPrefix(c.listen(), "334") {
		return rest, c.response
	}
	return rest, c.line
}

// handshake begins TLS.
func (c *talker) handshake(in string) (string, step) {
	c.flush()
	secure := tls.Client(c.conn, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // our own certificate
	if err := secure.Handshake(); err != nil {
		c.t.Fatalf("handshake: %v", err)
	}
	c.conn, c.r = secure, bufio.NewReader(secure)
	c.talks = append(c.talks, &spoken{})
	return in, c.line
}

// flush sends what was said, in pieces.
func (c *talker) flush() {
	for len(c.out) > 0 && !c.ended {
		n := min(len(c.out), 1+c.rng.IntN(c.cut))
		if _, err := c.conn.Write(c.out[:n]); err != nil {
			break
		}
		c.out = c.out[n:]
	}
	c.out = c.out[:0]
}

// listen sends what was said, reads all replies that are due, and gives the last.
func (c *talker) listen() (reply string) {
	c.flush()
	for ; c.due > 0 && !c.ended; c.due-- {
		reply = c.reply()
	}
	return reply
}

// reply reads one reply, and gives its last line.
func (c *talker) reply() string {
	now := c.talks[len(c.talks)-1]
	for {
		line, err := c.r.ReadString('\n')
		switch {
		case err == nil && len(line) > 3 && line[3] == ' ':
			now.replies = append(now.replies, line)
			return line
		case err == nil:
			continue
		case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
			c.broken = true
		case !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
			c.t.Fatalf("reading a reply: %v, after %q to %q", err, now.replies, now.said.String())
		}
		c.ended = true
		return ""
	}
}

// rest ends what was said, and reads what is left of the replies.
func (c *talker) rest() {
	c.flush()
	if !c.ended {
		if s, ok := c.conn.(*tls.Conn); ok {
			_ = s.CloseWrite()
		} else {
			_ = c.conn.(*net.TCPConn).CloseWrite()
		}
	}
	for !c.ended {
		c.reply()
	}
}

// acknowledged is a message that we said we have taken.
type acknowledged struct {
	content  string
	from     string
	to       []string
	readable bool // from and to are those of plain addresses
	relay    bool // the client had logged in
}

// model follows a dialog with the replies it got: SMTP as simple as it can be told.
type model struct {
	sent    map[string]acknowledged // by the id in the reply
	strange []string                // replies that should not have been

	replies  []string
	hello    bool
	open     bool
	rcpts    int
	relay    bool
	from     string
	to       []string
	readable bool
	chunked  bool // it has begun
	chunks   string
}

func follow(talks []*spoken) *model {
	m := &model{sent: map[string]acknowledged{}}
	for i, t := range talks {
		m.replies = t.replies
		if i == 0 {
			m.next() // the greeting
		} else {
			m.relay, m.hello = false, false
		}
		m.begin("")
		for in, ok := t.said.String(), true; ok; {
			in, ok = m.step(in)
		}
	}
	return m
}

func (m *model) next() (reply string) {
	if len(m.replies) > 0 {
		reply, m.replies = m.replies[0], m.replies[1:]
	}
	return reply
}

// begin begins or ends a transaction.
func (m *model) begin(from string) {
	m.from, m.to, m.chunks, m.readable, m.open, m.rcpts, m.chunked = from, nil, "", true, false, 0, false
}

// may tells whether a command that is as plain as can be has its turn; known is false of all others.
func (m *model) may(line string) (may, known bool) {
	switch line {
	case "MAIL FROM:<a@s.example>\r\n":
		return m.hello && !m.open, true
	case "RCPT TO:<b@ours.example>\r\n", "RCPT TO:<d@ours.example>\r\n", "RCPT TO:<postmaster>\r\n":
		return m.open && !m.chunked, true
	case "DATA\r\n":
		return m.rcpts > 0 && !m.chunked, true
	case "RSET\r\n", "EHLO client.example\r\n":
		return true, true
	}
	return false, false
}

// step follows one command, and gives what was said behind it; ok is false where nothing more of that counts.
func (m *model) step(in string) (rest string, ok bool) {
	line, rest := cutLine(in)
	if !strings.HasSuffix(line, "\n") {
		return "", false
	}
	if c := bdatLine.FindStringSubmatch(line); c != nil {
		return m.chunk(rest, c[1], c[2] != "")
	}
	verb, reply := strings.ToUpper(line[:min(4, len(line))]), m.next()
	outOfTurn := strings.HasPrefix(reply, "554 5.5.0 SMTP synchronization")
	if may, known := m.may(line); known && reply != "" && !outOfTurn && (may && reply[0] == '5' || !may && reply[0] < '4') {
		m.strange = append(m.strange, line+reply)
	}
	for verb == "AUTH" && strings.HasPrefix(reply, "334") {
		if line, rest = cutLine(rest); !strings.HasSuffix(line, "\n") {
			return "", false
		}
		reply = m.next()
	}
	switch code := reply[:min(3, len(reply))]; {
	case code == "", code == "421", code == "221", outOfTurn:
		return "", false
	case code == "220" && verb != "XCLI":
		return "", false // TLS
	case code == "220":
		m.relay, m.hello = false, false
		m.begin("")
	case code == "235":
		m.relay = true
	case code == "354":
		content, rest, ended := slowDots(rest)
		if !ended {
			return "", false
		}
		m.answered(content, true)
		return rest, true
	case code[0] != '2':
	case verb == "MAIL":
		m.begin(m.path(line))
		m.open = true
	case verb == "RCPT":
		m.rcpts++
		if to := m.path(line); !slices.Contains(m.to, to) {
			m.to = append(m.to, to)
		}
	case verb == "EHLO", verb == "HELO", verb == "RSET":
		m.begin("")
		m.hello = m.hello || verb != "RSET"
	}
	return rest, true
}

// chunk follows BDAT.
func (m *model) chunk(in, digits string, last bool) (rest string, ok bool) {
	size, _ := strconv.Atoi(digits)
	if size > len(in) {
		return "", false
	}
	m.chunks += in[:size]
	switch reply := m.peek(); {
	case reply == "", strings.HasPrefix(reply, "421"), strings.HasPrefix(reply, "502"):
		return "", false
	case strings.HasPrefix(reply, "503"):
		m.next()
		m.chunks = ""
	case strings.HasPrefix(reply, "250") && strings.Contains(reply, "octets received") && !last:
		m.next()
		m.chunked = true
	default:
		m.answered(m.chunks, false)
	}
	return in[size:], true
}

func (m *model) peek() string {
	if len(m.replies) == 0 {
		return ""
	}
	return m.replies[0]
}

var (
	queued     = regexp.MustCompile(`^250 2\.0\.0 Ok: queued as (\S+)`)
	notOurs    = regexp.MustCompile(`^(5[0-9][0-9] |4[0-9][0-9] |$)`)
	ourFault   = regexp.MustCompile(`^45[0-9] 4\.3\.0 `)
	angled     = regexp.MustCompile(`<([a-z.@]*)>`)
	postmaster = map[string]string{"postmaster": "admin@ours.example"}
)

// answered takes note of what became of a message.
func (m *model) answered(content string, dots bool) {
	reply := m.next()
	switch id := queued.FindStringSubmatch(reply); {
	case id != nil:
		m.sent[id[1]] = acknowledged{canonical(content, dots), m.from, m.to, m.readable, m.relay}
	case !notOurs.MatchString(reply), ourFault.MatchString(reply):
		m.strange = append(m.strange, reply)
	}
	m.begin("")
}

// path gives the path of a command, if it is one of those that are read in one way only.
func (m *model) path(line string) string {
	p := angled.FindStringSubmatch(line)
	if p == nil || !slices.Contains(words, line) {
		m.readable = false
		return line
	}
	if own, ok := postmaster[p[1]]; ok {
		return own
	}
	return p[1]
}
