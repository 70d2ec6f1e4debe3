package edge

import (
	"bytes"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// pausing is a connection on which the client falls silent wherever it is told to: behind each "|" of what it sends.
type pausing struct {
	net.Conn
	pause func()
}

func (p *pausing) Write(b []byte) (n int, err error) {
	for {
		part, rest, found := bytes.Cut(b, []byte("|"))
		k, err := p.Conn.Write(part)
		if n += k; err != nil || !found {
			return n, err
		}
		p.pause()
		b = rest
		n++
	}
}

// paused is a dialog with a pause at whatever a client can be waited for.
const paused = `
	S: 220
	raw: "|EH|LO client.example\r|\n|"
	S: 250
	raw: "MAIL FROM:<a@sender.example> SIZE=9\r\nRCPT TO:|<b@ours.example>\r\n"
	S: 250
	S: 250
	raw: "DATA\r\n|"
	S: 354
	raw: "|Subject: x\r\n|\r|\n.|.\r|\n.|\r|\nQUIT"
	S: 250 2\.0\.0 Ok: queued
	content: "Subject: x\r\n\r\n.\r\n"
	raw: "ER\r\n"
	S: 500
	raw: "MAIL FROM:<a@sender.example>\r\nRCPT TO:<b@ours.example>\r\nBDAT 12\r\n|Subject:| x\r\n|BDAT 5 LAST|\r\n\r\nx|\r\nRS"
	S: 250
	S: 250
	S: 250
	S: 250 2\.0\.0 Ok: queued
	content: "Subject: x\r\n\r\nx\r\n"
	raw: "ET\r\nBDAT 3\r\na|bcNOOP\r\n|"
	S: 250
	S: 503
	S: 250
	C: QUIT
	S: 221
	EOF:`

// TestPauses: a dialog goes on where a client paused, over a socket and through TLS.
func TestPauses(t *testing.T) {
	setup := func(_ *door, cfg *ListenerConfig) { cfg.Chunking, cfg.Limits.Idle = true, longWait }
	t.Run("socket", func(t *testing.T) {
		t.Parallel()
		d := newDoor(t, nil, setup)
		c := dialDoor(t, d)
		c.conn = &pausing{c.conn, func() { time.Sleep(moment + 100*time.Millisecond) }}
		c.steps(paused)
	})
	t.Run("TLS", func(t *testing.T) {
		t.Parallel()
		d := newDoor(t, nil, setup)
		c := dialDoor(t, d)
		c.steps("S: 220\nC: EHLO x\nS: 250\nC: STARTTLS\nS: 220")
		c.conn = &halved{c.conn, moment + 100*time.Millisecond}
		c.handshake()
		c.conn = &pausing{c.conn, func() { time.Sleep(moment + 100*time.Millisecond) }}
		c.steps(strings.Replace(paused, "S: 220\n", "", 1))
	})
}

// halved sends the first records in two parts.
type halved struct {
	net.Conn
	pause time.Duration
}

func (h *halved) Write(b []byte) (int, error) {
	if h.pause == 0 {
		return h.Conn.Write(b)
	}
	n, err := h.Conn.Write(b[:len(b)/2])
	if err != nil {
		return n, err
	}
	time.Sleep(h.pause)
	h.pause = 0
	k, err := h.Conn.Write(b[n:])
	return n + k, err
}

// TestDialogsWithPauses: a pause at each wait makes no difference.
func TestDialogsWithPauses(t *testing.T) {
	for _, s := range scripts(t) {
		if s.differing(EnginePostern) {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			s.paused = true
			parts, _ := s.chosen(EnginePostern, "")
			if failure := s.play(t, EnginePostern, parts, longWait); failure != "" {
				t.Fatal(failure)
			}
		})
	}
}

// TestPausesHoldNoStack: nothing of the dialog is on the stack while its client is silent.
func TestPausesHoldNoStack(t *testing.T) {
	for name, script := range map[string]string{
		"greeted":    "S: 220",
		"EHLO":       "S: 220\nC: EHLO x\nS: 250",
		"content":    "S: 220\nC: EHLO x\nS: 250\nC: MAIL FROM:<a@s.example>\nS: 250\nC: RCPT TO:<b@ours.example>\nS: 250\nC: DATA\nS: 354\nC: x",
		"STARTTLS":   "S: 220\nC: EHLO x\nS: 250\nC: STARTTLS\nS: 220",
		"TLS":        "S: 220\nC: EHLO x\nS: 250\nC: STARTTLS\nS: 220\nstarttls:\nC: EHLO x\nS: 250",
		"in a chunk": "S: 220\nC: EHLO x\nS: 250\nC: BDAT 10\nC: x",
	} {
		t.Run(name, func(t *testing.T) {
			d := newDoor(t, nil, func(_ *door, cfg *ListenerConfig) { cfg.Chunking = true })
			c := dialDoor(t, d)
			defer c.close()
			c.steps(script)
			waitFor(t, func() bool {
				all := make([]byte, 1<<20)
				all = all[:runtime.Stack(all, true)]
				return bytes.Contains(all, []byte("edge.(*wire).wake")) && !bytes.Contains(all, []byte("edge.(*dialog).run"))
			})
		})
	}
}

// TestDrainWakes: a server that drains does not wait for the silent.
func TestDrainWakes(t *testing.T) {
	before := goleak.IgnoreCurrent()
	d := newDoor(t, nil, nil)
	c := begin(t, d)
	time.Sleep(600 * time.Millisecond)
	began := time.Now()
	if err := d.srv.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.steps("S: 421 4\\.3\\.2\nEOF:")
	if took := time.Since(began); took > time.Minute { // it would have five of them
		t.Errorf("that took %v", took)
	}
	waitFor(t, func() bool { return goleak.Find(before) == nil })
}

// TestRecords: whatever TLS asks for, it is given no octet of the next record.
func TestRecords(t *testing.T) {
	stream := "\x16\x03\x01\x00\x03abc" + "\x17\x03\x03\x00\x00" + "\x17\x03\x03\x01\x00" + strings.Repeat("x", 256)
	ends := []int{8, 13, 13 + 5 + 256}
	for size := 1; size < 300; size++ {
		r := &records{Conn: readConn{r: strings.NewReader(stream)}}
		at, i := 0, 0
		for p := make([]byte, size); ; {
			n, err := r.Read(p)
			if at += n; at > ends[i] {
				t.Fatalf("reads of %d: %d octets lead over the end of a record at %d", size, n, ends[i])
			} else if at == ends[i] && i < len(ends)-1 {
				i++
			}
			if err == io.EOF {
				break
			}
		}
		if at != len(stream) {
			t.Fatalf("reads of %d: %d octets of %d", size, at, len(stream))
		}
	}
}

type readConn struct {
	net.Conn
	r io.Reader
}

func (c readConn) Read(p []byte) (int, error) { return c.r.Read(p) }
