package edge

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/postern-mail/postern/internal/peertest"
	"github.com/postern-mail/postern/upstream"
)

// lenientSink is a server that takes for the end of a message whatever any server ever took for one: a dot between
// octets of CR, LF and NUL, and the same octets for the end of a command.
type lenientSink struct {
	l  net.Listener
	wg sync.WaitGroup

	mu       sync.Mutex
	messages []string
}

var lenientEnd = regexp.MustCompile(`[\r\n\x00]\.[\r\n\x00]`)

func startLenientSink(t *testing.T) *lenientSink {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &lenientSink{l: l}
	s.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.wg.Go(func() { s.serve(c) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); s.wg.Wait() })
	return s
}

func (s *lenientSink) serve(c net.Conn) {
	defer c.Close()
	_, _ = io.WriteString(c, "220 sink ESMTP\r\n")
	in, buf, data := "", make([]byte, 4096), false
	for {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		in += string(buf[:n])
		for more := true; more; {
			if data {
				if more = s.content(&in); more {
					data = false
					_, _ = io.WriteString(c, "250 2.0.0 Ok\r\n")
				}
				continue
			}
			i := strings.IndexAny(in, "\r\n\x00")
			if more = i >= 0; !more {
				continue
			}
			line := strings.ToUpper(in[:i])
			in = in[i+1:]
			switch verb, _, _ := strings.Cut(line, " "); verb {
			case "":
			case "EHLO":
				_, _ = io.WriteString(c, "250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n")
			case "DATA":
				data, in = true, "\n"+strings.TrimPrefix(in, "\n")
				_, _ = io.WriteString(c, "354 go\r\n")
			case "QUIT":
				return
			case "MAIL", "RCPT", "RSET", "NOOP":
				_, _ = io.WriteString(c, "250 2.0.0 Ok\r\n")
			default:
				_, _ = io.WriteString(c, "500 5.5.2 what?\r\n")
			}
		}
	}
}

// content takes a message off the input, if it has ended.
func (s *lenientSink) content(in *string) bool {
	m := lenientEnd.FindStringIndex(*in)
	if m == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages = append(s.messages, (*in)[:m[0]])
	*in = (*in)[m[1]:]
	return true
}

func (s *lenientSink) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.messages)
}

func (s *lenientSink) last() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.messages[len(s.messages)-1]
}

// sequences gives all sequences of up to n of the letters.
func sequences(letters string, n int) []string {
	all, last := []string{""}, []string{""}
	for range n {
		var longer []string
		for _, s := range last {
			for _, c := range letters {
				longer = append(longer, s+string(c))
			}
		}
		all, last = append(all, longer...), longer
	}
	return all
}

// endsOfData gives what may be taken for the end of a message: a dot between up to three line ends of any kind, and
// between up to two with NUL among them.
func endsOfData() []string {
	around := sequences("\r\n", 3)
	for _, s := range sequences("\r\n\x00", 2) {
		if strings.Contains(s, "\x00") {
			around = append(around, s)
		}
	}
	var all []string
	for _, before := range around {
		for _, behind := range around {
			all = append(all, before+"."+behind)
		}
	}
	for _, s := range []string{"\v", "\f", "\u0085", "\u2028", " ", "\t", "\r\n\t", "\b", "\x1a"} {
		all = append(all, s+"."+s, s+".\r\n", "\r\n."+s, "\r\n"+s+".\r\n", "\r\n."+s+"\r\n")
	}
	return append(all, "\r\n..\r\n", "\n..\n", "\r\n. \r\n", "\n.\n.\n", "\r.\r.\r", "\n.\n\r\n.\r", "\r\n.\r\r\n.\r")
}

const smuggled = "MAIL FROM:<evil@sender.example>\r\nRCPT TO:<b@ours.example>\r\nDATA\r\nSubject: evil\r\n\r\nsmuggled\r\n"

// TestEndsOfData has every end of data, in one piece and cut into single octets, with each engine: none ends a message but
// CRLF, dot, CRLF, and a next server that takes anything for an end sees one message for each that was acknowledged.
func TestEndsOfData(t *testing.T) {
	for _, engine := range engines {
		for _, reject := range []bool{false, true} {
			for _, cut := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/reject=%v/cut=%v", engine, reject, cut), func(t *testing.T) {
					t.Parallel()
					newSmuggler(t, engine, reject, cut).try(endsOfData())
				})
			}
		}
	}
}

// TestSmugglingPayloads has those that others have collected.
func TestSmugglingPayloads(t *testing.T) {
	folder := peertest.Shared(t, "suites", "smtp", "smuggling-payloads")
	raw, err := os.ReadFile(filepath.Join(folder, "payloads", "payloads.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, m := range regexp.MustCompile(`bytes_b64: "([^"]+)"`).FindAllStringSubmatch(string(raw), -1) {
		b, err := base64.StdEncoding.DecodeString(m[1])
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(b))
	}
	raw, err = os.ReadFile(filepath.Join(folder, "sec-consult-eod.json"))
	var consult struct{ Inbound, Outbound []string }
	if err == nil {
		err = json.Unmarshal(raw, &consult)
	}
	if err != nil || len(all) != 13 || len(consult.Inbound) != 7 || len(consult.Outbound) != 9 {
		t.Fatalf("not the suite that is known: %v", err)
	}
	all = append(append(all, consult.Inbound...), consult.Outbound...)
	for _, engine := range engines {
		for _, cut := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/cut=%v", engine, cut), func(t *testing.T) { newSmuggler(t, engine, false, cut).try(all) })
		}
	}
}

// TestLenientSink sees to it that the sink is what it says: without a gateway each of these is two messages.
func TestLenientSink(t *testing.T) {
	s := startLenientSink(t)
	d := makeDoor(t, nil, nil)
	for i, end := range []string{"\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r.\r\n", "\r\n\x00.\r\n", "\r\n.\x00\r\n", "\r\r\n.\r\r\n"} {
		conn, err := net.Dial("tcp", s.l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		c := newClient(t, d, conn)
		c.send("EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<b@ours.example>\r\nDATA\r\nA: b\r\n\r\nx" + end + smuggled + ".\r\nQUIT\r\n")
		_, _ = io.Copy(io.Discard, c.r)
		c.close()
		if n := s.count(); n != 2*(i+1) {
			t.Errorf("%q: %d messages", end, n)
		}
	}
}

// smuggler sends messages through a door to a lenient sink.
type smuggler struct {
	t      *testing.T
	sink   *lenientSink
	door   *door
	reject bool
	cut    bool
	n      int
}

func newSmuggler(t *testing.T, engine string, reject, cut bool) *smuggler {
	s := &smuggler{t: t, sink: startLenientSink(t), reject: reject, cut: cut}
	pool, err := upstream.NewPool(upstream.Config{Name: "sink", Servers: []string{s.sink.l.Addr().String()}, TLS: upstream.TLSNone})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pool.Close() })
	s.door = newDoor(t, nil, func(d *door, cfg *ListenerConfig) {
		d.gw.Relays["one"] = pool
		cfg.Engine, cfg.RejectBare, cfg.TLS = engine, reject, nil
		cfg.Limits.Errors = 1 << 30
	})
	return s
}

// dial gives a connection on which nothing is put together that was sent in pieces, where that is wanted.
func (s *smuggler) dial() *client {
	if !s.cut {
		return dialDoor(s.t, s.door)
	}
	ours, theirs := net.Pipe()
	s.door.srv.take(theirs)
	return newClient(s.t, s.door, ours)
}

func (s *smuggler) try(all []string) {
	c := s.dial()
	c.step("ehlo:")
	for _, end := range all {
		c.where = fmt.Sprintf("%q", end)
		c.step("rcpt:")
		c.step("data:")
		if content, behind, ends := strings.Cut("before"+end, "\r\n.\r\n"); ends { // what comes behind it is commands
			s.one(c, content, strings.TrimSuffix(end, behind), "")
			continue
		}
		s.one(c, "before"+end+smuggled, end, smuggled+".\r\n")
		c.step("C: X-STILL-IN-STEP")
		c.step("S: 500 ")
	}
	c.step("C: QUIT")
	c.step("S: 221 ")
	c.close()
}

// one sends one message with end in it, after which more is the rest of it. content is what a strict reader has.
func (s *smuggler) one(c *client, content, end, more string) {
	s.n++
	begins, before := fmt.Sprintf("Subject: %d\r\n\r\nbefore", s.n), s.sink.count()
	c.send(begins)
	if s.cut {
		for _, b := range []byte(end) {
			c.send(string([]byte{b}))
		}
	} else if end != "" {
		c.send(end)
	}
	if more != "" {
		c.send(more)
	}
	reply, acknowledged := c.reply(), 0
	bare := strings.ContainsAny(strings.ReplaceAll(content, "\r\n", ""), "\r\n")
	switch {
	case strings.Contains(content, "\x00"), bare && s.reject:
		if !strings.HasPrefix(reply, "554 5.6.0") {
			c.fatal("reply %q", reply)
		}
	case !strings.HasPrefix(reply, "250 2.0.0"):
		c.fatal("reply %q", reply)
	default:
		acknowledged = 1
	}
	if n := s.sink.count() - before; n != acknowledged {
		c.fatal("the next server has %d messages; the last one: %q", n, s.sink.last())
	}
	if acknowledged == 0 {
		return
	}
	last := strings.TrimRight(s.sink.last(), "\r\n")
	if !strings.Contains(last, fmt.Sprintf("Subject: %d\r\n", s.n)) || more != "" && !strings.HasSuffix(last, "smuggled") {
		c.fatal("the next server has %q", last)
	}
}
