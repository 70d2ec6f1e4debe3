package upstream

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// sink is a server that takes whatever comes and remembers the X-Id of each message; with faults it does
// so badly.
type sink struct {
	addr   string
	faulty bool

	mu    sync.Mutex
	ids   map[string]int
	conns map[net.Conn]struct{}
	wg    sync.WaitGroup
}

func newSink(t testing.TB, faulty bool) *sink {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &sink{addr: l.Addr().String(), faulty: faulty, ids: map[string]int{}, conns: map[net.Conn]struct{}{}}
	s.wg.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns[nc] = struct{}{}
			s.mu.Unlock()
			s.wg.Go(func() {
				s.serve(nc)
				_ = nc.Close()
				s.mu.Lock()
				delete(s.conns, nc)
				s.mu.Unlock()
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		s.mu.Lock()
		for nc := range s.conns {
			_ = nc.Close()
		}
		s.mu.Unlock()
		s.wg.Wait()
	})
	return s
}

func (s *sink) taken() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.ids)
}

// chance happens once in n times, if faults are wanted.
func (s *sink) chance(n int) bool { return s.faulty && rand.IntN(n) == 0 }

func (s *sink) serve(nc net.Conn) {
	br, bw := bufio.NewReaderSize(nc, 128<<10), bufio.NewWriter(nc)
	say := func(reply string) {
		_, _ = bw.WriteString(reply + "\r\n")
		if br.Buffered() == 0 {
			_ = bw.Flush()
		}
	}
	say("220 sink")
	for {
		line, err := br.ReadSlice('\n')
		if err != nil || s.chance(300) {
			return
		}
		switch verb, _, _ := strings.Cut(strings.ToUpper(string(line[:4])), " "); verb {
		case "EHLO":
			say("250-sink\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 SIZE")
		case "BDAT":
			if !s.chunk(br, say, strings.TrimSpace(string(line[4:]))) {
				return
			}
		case "MAIL":
			if s.chance(50) {
				say("421 4.3.2 shutting down")
				_ = bw.Flush()
				return
			}
			if s.chance(50) {
				say("451 4.3.0 not now")
				continue
			}
			say("250 2.1.0 Ok")
		case "RCPT":
			say("250 2.1.5 Ok")
		case "DATA":
			say("354 go")
			if !s.data(br, say) {
				return
			}
		case "QUIT":
			say("221 bye")
			return
		default:
			say("250 2.0.0 Ok")
		}
	}
}

// data takes one message; false means that the connection is to be closed.
func (s *sink) data(br *bufio.Reader, say func(string)) bool {
	var id string
	for {
		line, err := br.ReadSlice('\n')
		if err != nil || s.chance(3000) {
			return false
		}
		if rest, ok := bytes.CutPrefix(line, []byte("X-Id: ")); ok {
			id = strings.TrimSpace(string(rest))
		}
		if string(line) == ".\r\n" {
			break
		}
	}
	if s.chance(40) {
		say("451 4.3.0 try again")
		return true
	}
	if id != "" {
		s.mu.Lock()
		s.ids[id]++
		s.mu.Unlock()
	}
	if s.chance(40) {
		return false
	}
	say("250 2.0.0 Ok")
	return true
}

// chunk takes one chunk of a message; false means that the connection is to be closed.
func (s *sink) chunk(br *bufio.Reader, say func(string), arg string) bool {
	size, last := strings.CutSuffix(arg, " LAST")
	n, err := strconv.ParseInt(size, 10, 64)
	if err != nil {
		return false
	}
	chunk := make([]byte, n)
	if _, err := io.ReadFull(br, chunk); err != nil || s.chance(40) {
		return false
	}
	if s.chance(40) {
		say("451 4.3.0 try again")
		return true
	}
	if last {
		if _, rest, ok := bytes.Cut(chunk, []byte("X-Id: ")); ok {
			id, _, _ := bytes.Cut(rest, []byte("\r\n"))
			s.mu.Lock()
			s.ids[string(id)]++
			s.mu.Unlock()
		}
		if s.chance(40) {
			return false
		}
	}
	say("250 2.0.0 Ok")
	return true
}

func BenchmarkRelay(b *testing.B) {
	for _, size := range []int{4 << 10, 100 << 10} {
		for _, chunking := range []bool{false, true} {
			name := fmt.Sprintf("%dKiB", size>>10)
			if chunking {
				name += "/chunking"
			}
			b.Run(name, func(b *testing.B) { benchmarkRelay(b, size, chunking) })
		}
	}
}

func benchmarkRelay(b *testing.B, size int, chunking bool) {
	s := newSink(b, false)
	p := pool(b, Config{Servers: []string{s.addr}, Chunking: chunking})
	m := message(b, "Subject: x\r\n\r\n"+strings.Repeat(strings.Repeat("x", 74)+"\r\n", size/76))
	env := envelope(b, "b@y.test")
	b.SetBytes(m.Size())
	b.ReportAllocs()
	for b.Loop() {
		if o := p.Deliver(b.Context(), env, m); o.Kind != Delivered {
			b.Fatalf("%+v", o)
		}
	}
}
