package scanner

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// stuck is a connection that sends no more than the first so many writes.
type stuck struct {
	net.Conn
	writes int
	end    chan struct{}
}

// Write implements net.Conn.
func (s *stuck) Write(p []byte) (int, error) {
	if s.writes--; s.writes < 0 {
		<-s.end
		return 0, net.ErrClosed
	}
	return s.Conn.Write(p)
}

// TestHastyServers: what a server says of a message before it has it is no answer; one that needs the first part only is, where that is
// enough.
func TestHastyServers(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood"
	hasty := func(c net.Conn, end chan struct{}) {
		_, _ = c.Read(make([]byte, 10))
		_, _ = io.WriteString(c, ok)
		<-end
	}
	later := func(c net.Conn, end chan struct{}) {
		time.Sleep(100 * time.Millisecond) // what can be sent was
		hasty(c, end)
	}
	first := func(c net.Conn, end chan struct{}) { // it has read the first part
		if req, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			_, _ = io.ReadFull(req.Body, make([]byte, len("{}\n")))
			_, _ = io.WriteString(c, ok)
		}
		<-end
	}
	honest := func(c net.Conn, _ chan struct{}) {
		for r := bufio.NewReader(c); ; {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, req.Body)
			_, _ = io.WriteString(c, ok)
		}
	}
	for name, c := range map[string]struct {
		octets int
		writes int // that succeed; 0: all
		before string
		whole  bool
		serve  func(net.Conn, chan struct{})
		want   error
	}{
		"a small one":                {10, 1, "", true, hasty, errEarly},
		"a middling one":             {10_000, 1, "", true, hasty, errEarly},
		"a large one":                {50_000_000, 0, "", true, hasty, errEarly},
		"half of it":                 {100_000, 2, "", true, later, errEarly},
		"honest, small":              {10, 0, "", true, honest, nil},
		"honest, large":              {20_000_000, 0, "{}\n", true, honest, nil},
		"the first part":             {50_000_000, 2, "{}\n", false, first, nil},
		"without a part":             {50_000_000, 0, "", false, hasty, nil},
		"less than the first part":   {10, 1, strings.Repeat("x", 100_000), false, hasty, errEarly},
		"more than enough, and more": {50_000_000, 0, "{}\n", false, honest, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = l.Close() }()
			end := make(chan struct{})
			defer close(end)
			go func() {
				for {
					conn, err := l.Accept()
					if err != nil {
						return
					}
					go func() {
						defer func() { _ = conn.Close() }()
						c.serve(conn, end)
					}()
				}
			}()
			p := httpPool(t, l.Addr().String())
			s := p.servers[0]
			if c.writes > 0 {
				s.httpClient(&p.options).Transport.(*http.Transport).DialContext = func(ctx context.Context, n, a string) (net.Conn, error) {
					conn, err := s.talk(ctx, n, a)
					if err == nil {
						conn.(*talker).Conn = &stuck{conn.(*talker).Conn, c.writes, end}
					}
					return conn, err
				}
			}
			for range 3 {
				out, err := p.Post(t.Context(), s, Post{Before: []byte(c.before), Content: content("A: b\r\n\r\n" + strings.Repeat("x", c.octets)), Most: 1000, Whole: c.whole})
				if !errors.Is(err, c.want) || c.want == nil && string(out) != "good" {
					t.Errorf("got %q, %v", out, err)
				}
			}
		})
	}
}
