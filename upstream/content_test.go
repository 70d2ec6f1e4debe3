package upstream

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/postern-mail/postern/mail"
)

// captured is a connection that keeps what is written.
type captured struct {
	net.Conn
	bytes.Buffer
	writes int
	most   int // octets that it takes, 0 for all
}

func (c *captured) Write(p []byte) (int, error) {
	c.writes++
	if c.most > 0 && c.Len()+len(p) > c.most {
		return 0, io.ErrClosedPipe
	}
	return c.Buffer.Write(p)
}

func (c *captured) Read(p []byte) (int, error) { return c.Buffer.Read(p) }

func (*captured) SetDeadline(time.Time) error     { return nil }
func (*captured) SetReadDeadline(time.Time) error { return nil }

var someTime = &Timeouts{Block: time.Minute, Dot: time.Minute, Command: time.Minute}

// composed makes a message of content and fields before it, as the edge does.
func composed(t testing.TB, content string, memory int, top ...string) *mail.Message {
	g := mail.NewIngest(mail.IngestOptions{Memory: memory, Unstuff: true})
	_, _ = g.Write([]byte(content))
	b, _, err := g.Blob()
	if err != nil {
		t.Fatal(err)
	}
	m := mail.NewMessage(b)
	b.Release()
	for _, s := range top {
		under := m
		m = under.Prepend([]byte(s))
		under.Release()
	}
	return m
}

func octets(t testing.TB, m *mail.Message) []byte {
	var b bytes.Buffer
	if _, err := m.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

var contentPieces = rapid.SampledFrom([]string{
	"\r\n", "a", ".", "..", ".\r\n", "\r\n.\r\n", "\r\n..", "\n.\n", "Subject: x\r\n", strings.Repeat("line\r\n", 3000), strings.Repeat("x", 70000),
})

// What a server gets is the message with its dots and its end, wherever its octets lie.
func TestContent(t *testing.T) {
	some := func(t *rapid.T, name string, n int) string {
		return strings.Join(rapid.SliceOfN(contentPieces, 0, n).Draw(t, name), "")
	}
	rapid.Check(t, func(rt *rapid.T) {
		var top []string
		for range rapid.IntRange(0, 3).Draw(rt, "fields") {
			top = append(top, some(rt, "field", 3))
		}
		m := composed(t, some(rt, "content", 12), rapid.SampledFrom([]int{0, -1, 1 << 20}).Draw(rt, "memory"), top...)
		defer m.Release()
		want := stuffed([][]byte{octets(t, m)})
		var nc captured
		tx := transaction{c: newConn(&nc, "s1", someTime), m: m}
		if o := tx.content(); o.Kind != Delivered || !bytes.Equal(nc.Bytes(), want) {
			rt.Fatalf("%s: got %d octets, want %d: %.200q", o.Kind, nc.Len(), len(want), nc.Bytes())
		}
	})
}

func TestContentOverSocket(t *testing.T) {
	long := strings.Repeat(strings.Repeat("x", 76)+"\r\n", 20<<10)
	for _, tt := range []struct {
		name, content string
		memory        int
		top           []string
	}{
		{"nothing", "", 0, nil},
		{"short", "a\r\n", 0, []string{"Received: x\r\n"}},
		{"no end of line", "a", 0, nil},
		{"dots", "a\r\n..b\r\n.\r\n", 0, []string{".x: y\r\n"}},
		{"a dot where a run begins", "x\r\n", 0, []string{".", "\r\n", "\r", "a"}},
		{"many runs", "x\r\n", 0, strings.Split(strings.Repeat("Received: x\r\n,", 100), ",")},
		{"more than the socket takes", long, 4 << 20, []string{"Received: x\r\n"}},
		{"a file", long, -1, []string{"Received: x\r\n"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			nc, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			server, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer server.Close()
			got := make(chan []byte)
			go func() {
				all, _ := io.ReadAll(server)
				got <- all
			}()
			m := composed(t, tt.content, tt.memory, tt.top...)
			defer m.Release()
			tx := transaction{c: newConn(nc, "s1", someTime), m: m}
			o := tx.content()
			_ = nc.Close()
			if all := <-got; o.Kind != Delivered || !bytes.Equal(all, stuffed([][]byte{octets(t, m)})) {
				t.Errorf("%s, %d octets, not as they should be", o.Kind, len(all))
			}
		})
	}
}

// The final dot is not sent where anything has failed before.
func TestContentCutShort(t *testing.T) {
	long := strings.Repeat("line\r\n", 100_000)
	m := composed(t, long, -1, "Received: x\r\n")
	nc := captured{most: 200_000}
	tx := transaction{c: newConn(&nc, "s1", someTime), m: m}
	if o := tx.content(); o.Kind != Unreachable || !tx.c.broken || strings.Contains(nc.String(), "\r\n.\r\n") {
		t.Errorf("where the server takes no more: %s, %d octets", o.Kind, nc.Len())
	}
	m.Release()
	nc = captured{}
	tx = transaction{c: newConn(&nc, "s1", someTime), m: m}
	if o := tx.content(); o.Kind != OurFault || !errors.Is(o.Err, mail.ErrReleased) || !tx.c.broken || nc.Len() > 0 {
		t.Errorf("where the message is gone: %s, %v, %d octets", o.Kind, o.Err, nc.Len())
	}
}

// A short message goes out in one write, behind TLS too.
func TestContentInOneWrite(t *testing.T) {
	m := composed(t, strings.Repeat("line\r\n", 100), 0, "Received: x\r\n")
	defer m.Release()
	var nc captured
	tx := transaction{c: newConn(&nc, "s1", someTime), m: m}
	if o := tx.content(); o.Kind != Delivered || nc.writes != 1 {
		t.Errorf("%s, %d writes", o.Kind, nc.writes)
	}
}

func BenchmarkContent(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go io.Copy(io.Discard, c) //nolint:errcheck // until it ends
		}
	}()
	for _, bb := range []struct {
		name string
		size int
	}{{"4KB", 4 << 10}, {"100KB", 100 << 10}} {
		b.Run(bb.name, func(b *testing.B) {
			nc, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				b.Fatal(err)
			}
			defer nc.Close()
			m := composed(b, strings.Repeat(strings.Repeat("x", 76)+"\r\n", bb.size/78), 0, "Received: x\r\n")
			defer m.Release()
			tx := transaction{c: newConn(nc, "s1", someTime), m: m}
			b.SetBytes(m.Size())
			b.ReportAllocs()
			for b.Loop() {
				if o := tx.content(); o.Kind != Delivered {
					b.Fatal(o)
				}
			}
		})
	}
}

// TestCutOff: a server that has enough in the middle of the content, says so and closes, is gone by, and is not down for that.
func TestCutOff(t *testing.T) {
	for _, c := range []struct {
		name, says string
		kind       Kind
		reply      int
		down       bool
	}{
		{"too big", "S 552 5.3.4 message too big", Refused, 552, false},
		{"not now", "S 452 4.3.1 no space", Refused, 452, false},
		{"closing", "S 421 4.3.2 going down", OurFault, 421, true},
		{"no command", "S 500 5.5.2 what?", OurFault, 500, true},
		{"taken?", "S 250 2.0.0 taken", Unreachable, 0, true},
		{"nothing", "PAUSE 1ms", Unreachable, 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := &backend{name: "s1", done: make(chan struct{}), scripts: [][]string{{
				"S 220 s1", "C EHLO gw.test", "S 250 s1", "C MAIL FROM:<a@x.test>", "S 250 Ok", "C RCPT TO:<b@y.test>",
				"S 250 Ok", "C DATA", "S 354 go", "EAT 100000", c.says,
			}}}
			p := pool(t, Config{Servers: []string{listen(t, b)}})
			o := p.Deliver(t.Context(), envelope(t, "b@y.test"), message(t, strings.Repeat("0123456789abc\r\n", 1<<20)))
			if o.Kind != c.kind || o.Stage != StageBody || o.Reply.Code != c.reply || p.servers[0].down.Load() != c.down {
				t.Errorf("down: %v, %+v", p.servers[0].down.Load(), o)
			}
			if err := b.stop(); err != nil {
				t.Error(err)
			}
		})
	}
}
