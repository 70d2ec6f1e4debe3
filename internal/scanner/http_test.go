package scanner

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/internal/peertest"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/mail/mailtest"
)

// rawServer answers each connection with what answer writes, after it has read a request's header.
func rawServer(t *testing.T, answer func(net.Conn)) string {
	t.Helper()
	return peertest.Serve(t, func(c net.Conn) {
		b := make([]byte, 1<<16)
		_, _ = c.Read(b)
		answer(c)
	})
}

func httpPool(t *testing.T, servers ...string) *Pool {
	t.Helper()
	p, err := new(Pools).Pool(filter.Env{Log: slog.New(slog.DiscardHandler)}, Options{Kind: "x", Config: Defaults(5, servers...), HTTP: "/check"})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func content(text string) *mail.Content {
	return mail.NewContent(mail.NewBlob([]byte(text)), mail.LineFaults{}, mail.Limits{})
}

// plenty is much more time than anything takes that ends, however busy the machine is.
const plenty = time.Minute

func post(p *Pool, c *mail.Content, limit time.Duration) (out []byte, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	err = p.Ask(ctx, func(ctx context.Context, s *Server) error {
		out, err = p.Post(ctx, s, Post{Header: http.Header{"X-Id": {"1"}}, Content: c, Most: 1000})
		return err
	})
	return out, err
}

// TestHostileAnswers: whatever a server answers, it is bounded in octets and in time, and an error.
func TestHostileAnswers(t *testing.T) {
	drip := func(c net.Conn, head string) {
		_, err := io.WriteString(c, head)
		for err == nil {
			time.Sleep(20 * time.Millisecond)
			_, err = io.WriteString(c, "x")
		}
	}
	endless := func(c net.Conn, head string) {
		_, err := io.WriteString(c, head)
		for err == nil {
			_, err = io.WriteString(c, strings.Repeat("x", 1000))
		}
	}
	for name, answer := range map[string]func(net.Conn){
		"nothing":        func(net.Conn) {},
		"garbage":        func(c net.Conn) { _, _ = io.WriteString(c, "220 mail ESMTP\r\n") },
		"silence":        func(c net.Conn) { _, _ = io.Copy(io.Discard, c) },
		"slow header":    func(c net.Conn) { drip(c, "HTTP/1.1 200 OK\r\nX: ") },
		"endless header": func(c net.Conn) { endless(c, "HTTP/1.1 200 OK\r\nX: ") },
		"endless status": func(c net.Conn) { endless(c, "HTTP/1.1 200 ") },
		"slow body":      func(c net.Conn) { drip(c, "HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n") },
		"endless body":   func(c net.Conn) { endless(c, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n") },
		"long body":      func(c net.Conn) { endless(c, "HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n") },
		"short body":     func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc") },
		"two lengths": func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd")
		},
		"broken chunk": func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
		},
		"another status": func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 403 no\r\nContent-Length: 0\r\n\r\n") },
		"a redirection": func(c net.Conn) {
			_, _ = io.WriteString(c, "HTTP/1.1 307 go\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n")
		},
		"endless continue": func(c net.Conn) { endless(c, strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 100)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := httpPool(t, rawServer(t, answer))
			began := time.Now()
			out, err := post(p, content("A: b\r\n\r\nc\r\n"), time.Second)
			if err == nil {
				t.Errorf("got %q", out)
			}
			if took := time.Since(began); took > plenty { // those that go on do so for ever
				t.Errorf("took %s", took)
			}
			if p.servers[0].breaker.faults != 1 {
				t.Error("it is no fault of the server's")
			}
		})
	}
}

// TestPost: the message and its fields arrive, connections are kept, one that has died meanwhile harms nobody, and a socket
// serves as well as a port.
func TestPost(t *testing.T) {
	var conns int
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body)
			if r.Header.Get("X-Idempotency-Key") != "" || r.ContentLength != int64(len(b)) {
				w.WriteHeader(http.StatusBadRequest)
			}
			_, _ = fmt.Fprintf(w, "%s %s %s %s", r.Method, r.URL.Path, r.Header.Get("X-Id"), b)
		}),
		ConnState: func(_ net.Conn, s http.ConnState) {
			if s == http.StateNew {
				conns++
			}
		},
		ReadHeaderTimeout: time.Minute,
	}
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(l) }()
	p := httpPool(t, "unix:"+path)
	for range 3 {
		out, err := post(p, content("A: b\r\n\r\nc\r\n"), plenty)
		if err != nil || string(out) != "POST /check 1 A: b\r\n\r\nc\r\n" {
			t.Errorf("got %q, %v", out, err)
		}
	}
	if conns != 1 {
		t.Errorf("%d connections for three messages", conns)
	}
	_ = server.Close()
	if l, err = net.Listen("unix", path); err != nil {
		t.Fatal(err)
	}
	next := &http.Server{Handler: server.Handler, ReadHeaderTimeout: time.Minute}
	go func() { _ = next.Serve(l) }()
	defer func() { _ = next.Close() }()
	if _, err := post(p, content("A: b\r\n\r\nc\r\n"), plenty); err != nil {
		t.Errorf("after a restart: %v", err)
	}
	c := content("A: b\r\n\r\nc\r\n")
	c.Release()
	if out, err := post(p, c, plenty); err == nil {
		t.Errorf("a content that is gone: %q", out)
	}
	if p.servers[0].breaker.faults != 0 {
		t.Error("our own fault is held against the server")
	}
}

// TestOwnFaults: that we can't read the message, or have no room for a connection, is not held against the server.
func TestOwnFaults(t *testing.T) {
	p := httpPool(t, rawServer(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }))
	for range 6 {
		c := mailtest.BreakingContent(t, "A: b\r\n\r\n"+strings.Repeat("c\r\n", 1<<18))
		if _, err := post(p, c, plenty); err == nil || !strings.Contains(err.Error(), "disk") {
			t.Errorf("got %v", err)
		}
	}
	if got := p.State(); got != Closed {
		t.Errorf("the breaker is %s", got)
	}
	for err, want := range map[error]bool{
		&net.OpError{Op: "dial", Err: os.NewSyscallError("socket", syscall.EMFILE)}:        true,
		&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}: false,
	} {
		if got := isOurs(fmt.Errorf("connect: %w", err)); got != want {
			t.Errorf("%v: %v", err, got)
		}
	}
}

// crashing is a file in which reading panics.
type crashing struct{ io.Closer }

func (crashing) ReadAt([]byte, int64) (int, error) { panic("a fault") }
func (crashing) Close() error                      { return nil }

// TestPanicInReading: the message is read in a goroutine of net/http's, and a panic there is no end of the program.
func TestPanicInReading(t *testing.T) {
	p := httpPool(t, rawServer(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }))
	c := mail.NewContent(mail.NewFileBlob(crashing{}, 1<<20), mail.LineFaults{}, mail.Limits{})
	if _, err := post(p, c, plenty); err == nil || !strings.Contains(err.Error(), "a fault") || p.servers[0].breaker.faults != 0 {
		t.Errorf("got %v, %d faults", err, p.servers[0].breaker.faults)
	}
}

// TestTooLarge: a server that says at once that a message is too large for it, and closes, is well.
func TestTooLarge(t *testing.T) {
	p := httpPool(t, rawServer(t, func(c net.Conn) {
		_, _ = io.WriteString(c, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	}))
	for range 10 {
		if _, err := post(p, content(strings.Repeat("x", 4<<20)), plenty); err == nil || !strings.Contains(err.Error(), `"413 `) {
			t.Errorf("got %v", err)
		}
	}
	if s := p.servers[0]; s.breaker.now() != Closed || s.breaker.faults != 0 {
		t.Errorf("%d faults, %s", s.breaker.faults, s.breaker.now())
	}
}

// TestRefusalThatDoesNotEnd: what a server says behind another status is not waited for.
func TestRefusalThatDoesNotEnd(t *testing.T) {
	p := httpPool(t, rawServer(t, func(c net.Conn) {
		_, _ = io.WriteString(c, "HTTP/1.1 403 no\r\nContent-Length: 100\r\n\r\nx")
		_, _ = io.Copy(io.Discard, c)
	}))
	ctx, cancel := context.WithTimeout(t.Context(), plenty)
	defer cancel()
	_, err := p.Post(ctx, p.servers[0], Post{Content: content("A: b\r\n\r\nc\r\n"), Most: 1000})
	if err == nil || !strings.Contains(err.Error(), "403") || ctx.Err() != nil {
		t.Errorf("got %v, %v", err, ctx.Err())
	}
}

// TestNothingIsLeft: neither goroutines nor connections are left of servers that hang, close or go on for ever.
func TestNothingIsLeft(t *testing.T) {
	ask := func() {
		gone := make(chan struct{})
		for _, answer := range []func(net.Conn){
			func(c net.Conn) { <-gone },
			func(net.Conn) {},
			func(c net.Conn) {
				for {
					if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n"+strings.Repeat("x", 10000)); err != nil {
						return
					}
				}
			},
		} {
			p := httpPool(t, rawServer(t, answer))
			if _, err := post(p, content("A: b\r\n\r\nc\r\n"), 200*time.Millisecond); err == nil {
				t.Error("no error")
			}
		}
		close(gone)
	}
	ask() // what is made once is made
	before := runtime.NumGoroutine()
	for range 5 {
		ask()
	}
	for end := time.Now().Add(plenty); runtime.NumGoroutine() > before+5*3; time.Sleep(10 * time.Millisecond) { // the listeners go with the test
		if time.Now().After(end) {
			t.Fatalf("%d goroutines, and there were %d", runtime.NumGoroutine(), before)
		}
	}
}
