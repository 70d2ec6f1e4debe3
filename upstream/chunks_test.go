package upstream

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/postern-mail/postern/mail"
)

// chunkedServer answers each chunk with 250 as soon as it is there.
type chunkedServer struct {
	captured
	replies bytes.Buffer
	left    int
}

func (s *chunkedServer) Write(p []byte) (int, error) {
	n, err := s.captured.Write(p)
	for rest := p[:n]; len(rest) > 0; {
		if s.left == 0 {
			line, more, ok := bytes.Cut(rest, crlf)
			if !ok {
				return n, errors.New("half a command")
			}
			size, _ := strings.CutSuffix(strings.TrimPrefix(string(line), "BDAT "), " LAST")
			if s.left, err = strconv.Atoi(size); err != nil {
				return n, err
			}
			rest = more
		}
		k := min(s.left, len(rest))
		s.left -= k
		rest = rest[k:]
		if s.left == 0 {
			s.replies.WriteString("250 2.0.0 Ok\r\n")
		}
	}
	return n, err
}

func (s *chunkedServer) Read(p []byte) (int, error) { return s.replies.Read(p) }

// unchunked takes BDAT commands apart: whether the last was the last, and what they carried.
func unchunked(all []byte, most int) (content []byte, err error) {
	for {
		line, rest, ok := bytes.Cut(all, crlf)
		size, last := strings.CutSuffix(strings.TrimPrefix(string(line), "BDAT "), " LAST")
		n, err := strconv.Atoi(size)
		if !ok || err != nil || n > len(rest) || n > most || n == 0 && !last {
			return nil, fmt.Errorf("%.40q with %d octets behind it", line, len(rest))
		}
		content = append(content, rest[:n]...)
		if all = rest[n:]; last && len(all) == 0 {
			return content, nil
		} else if last || len(all) == 0 {
			return nil, fmt.Errorf("%d octets behind the last chunk, or none is", len(all))
		}
	}
}

// What a server gets in chunks is the message as it is, wherever its octets lie; a line end is put where there is none.
func TestChunks(t *testing.T) {
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
		want := octets(t, m)
		if len(want) > 0 && !bytes.HasSuffix(want, crlf) {
			want = append(want, crlf...)
		}
		most := rapid.IntRange(1, 300_000).Draw(rt, "most")
		if len(want)/most > 1000 {
			most = len(want)/1000 + 1
		}
		var nc chunkedServer
		tx := transaction{c: newConn(&nc, "s1", someTime), m: m}
		tx.c.chunking = int64(most)
		o := tx.chunks()
		got, err := unchunked(nc.Bytes(), most)
		if o.Kind != Delivered || err != nil || !bytes.Equal(got, want) {
			rt.Fatalf("%s, %v: got %d octets, want %d: %.200q", o.Kind, err, len(got), len(want), nc.Bytes())
		}
		if left := nc.replies.String() + strings.Repeat("x", tx.c.br.Buffered()); left == "" {
			rt.Fatal("the reply to the last chunk was read already")
		}
	})
}

// The same over a socket, where octets are written from where they lie.
func TestChunksOverSocket(t *testing.T) {
	long := strings.Repeat(strings.Repeat("x", 76)+"\r\n", 20<<10)
	for _, tt := range []struct {
		name, content string
		memory        int
		top           []string
	}{
		{"nothing", "", 0, nil},
		{"short", "a\r\n", 0, []string{"Received: x\r\n"}},
		{"no end of line", "a", 0, nil},
		{"dots", ".a\r\n..b\r\n.\r\n", 0, nil},
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
			got := make(chan []byte)
			go func() {
				defer server.Close()
				var all chunkedServer
				buf := make([]byte, 1<<20)
				for {
					n, err := server.Read(buf)
					if err != nil {
						break
					}
					_, _ = all.Write(buf[:n])
					_, _ = io.Copy(server, &all.replies)
				}
				got <- all.Bytes()
			}()
			m := composed(t, tt.content, tt.memory, tt.top...)
			defer m.Release()
			tx := transaction{c: newConn(nc, "s1", someTime), m: m}
			tx.c.chunking = 500_000
			o := tx.chunks()
			r, err := tx.c.reply(someTime.Block)
			_ = nc.Close()
			want := octets(t, m)
			if len(want) > 0 && !bytes.HasSuffix(want, crlf) {
				want = append(want, crlf...)
			}
			all, errOf := unchunked(<-got, 500_000)
			if o.Kind != Delivered || err != nil || r.Code != 250 || errOf != nil || !bytes.Equal(all, want) {
				t.Errorf("%s, %v %v, %v: %d octets, not as they should be", o.Kind, r, err, errOf, len(all))
			}
		})
	}
}

// The last chunk is not whole where anything has failed before.
func TestChunksCutShort(t *testing.T) {
	m := composed(t, strings.Repeat("line\r\n", 100_000), -1, "Received: x\r\n")
	nc := chunkedServer{captured: captured{most: 200_000}}
	tx := transaction{c: newConn(&nc, "s1", someTime), m: m}
	tx.c.chunking = maxChunk
	if o := tx.chunks(); o.Kind != Unreachable || !tx.c.broken || nc.left == 0 {
		t.Errorf("where the server takes no more: %s, %d octets", o.Kind, nc.Len())
	}
	m.Release()
	nc = chunkedServer{}
	nc.replies.WriteString("250 reset\r\n")
	tx = transaction{c: newConn(&nc, "s1", someTime), m: m}
	tx.c.chunking = maxChunk
	if o := tx.chunks(); o.Kind != OurFault || !errors.Is(o.Err, mail.ErrReleased) || strings.Contains(nc.String(), "BDAT") {
		t.Errorf("where the message is gone: %s, %v, %q", o.Kind, o.Err, nc.String())
	}
}

// A short message goes out in one write, behind TLS too.
func TestChunksInOneWrite(t *testing.T) {
	m := composed(t, strings.Repeat("line\r\n", 100), 0, "Received: x\r\n")
	defer m.Release()
	var nc chunkedServer
	tx := transaction{c: newConn(&nc, "s1", someTime), m: m}
	tx.c.chunking = maxChunk
	if o := tx.chunks(); o.Kind != Delivered || nc.writes != 1 {
		t.Errorf("%s, %d writes", o.Kind, nc.writes)
	}
}
