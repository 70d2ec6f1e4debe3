package scanner

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postern-mail/postern/filter"
)

// TestAnswersOfOtherMessages: what a server sends behind an answer is never the answer to the next message, however close that comes.
func TestAnswersOfOtherMessages(t *testing.T) {
	log.SetOutput(io.Discard) // net/http tells of what comes while a connection is idle
	defer log.SetOutput(os.Stderr)
	const more = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstale"
	serve := func(c net.Conn) {
		defer func() { _ = c.Close() }()
		for r := bufio.NewReader(c); ; {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, req.Body)
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood"+more)
		}
	}
	server := httptest.NewTLSServer(nil) // for its certificate
	defer server.Close()
	for scheme, times := range map[string]int{"http": 200, "https": 5} { // each answer costs a connection
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		accept := l
		trust := server.Client().Transport.(*http.Transport).TLSClientConfig
		if scheme == "https" {
			accept = tls.NewListener(l, server.TLS)
		}
		go func() {
			for {
				c, err := accept.Accept()
				if err != nil {
					return
				}
				go serve(c)
			}
		}()
		p, err := new(Pools).Pool(filter.Env{Log: slog.New(slog.DiscardHandler)}, Options{
			Kind: "x", Config: Config{Servers: []string{scheme + "://" + l.Addr().String()}, Connect: plenty, Parallel: 5, Faults: 1000, Pause: time.Second}, HTTP: "/", TLS: trust,
		})
		if err != nil {
			t.Fatal(err)
		}
		var good, stale atomic.Int64
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				for range times {
					switch out, err := post(p, content("A: b\r\n\r\nc\r\n"), plenty); {
					case err == nil && string(out) == "good":
						good.Add(1)
					case err == nil:
						stale.Add(1)
					case !strings.Contains(err.Error(), errStale.Error()):
						t.Errorf("%s: %v", scheme, err)
					}
				}
			})
		}
		all.Wait()
		if stale.Load() > 0 || good.Load() == 0 {
			t.Errorf("%s: %d answers of others, %d of their own", scheme, stale.Load(), good.Load())
		}
	}
}

// TestNoRedirection: wherever a server sends us, the message does not go there.
func TestNoRedirection(t *testing.T) {
	var reached atomic.Int64
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	defer elsewhere.Close()
	for _, code := range []int{301, 302, 303, 307, 308, 300, 305} {
		p := httpPool(t, rawServer(t, func(c net.Conn) {
			_, _ = fmt.Fprintf(c, "HTTP/1.1 %d go\r\nLocation: %s/\r\nRefresh: 0; url=%s/\r\nContent-Length: 0\r\n\r\n", code, elsewhere.URL, elsewhere.URL)
		}))
		if out, err := post(p, content("A: b\r\n\r\nc\r\n"), plenty); err == nil || !strings.Contains(err.Error(), "redirected") && !strings.Contains(err.Error(), fmt.Sprint(code)) {
			t.Errorf("%d: %q, %v", code, out, err)
		}
	}
	if reached.Load() != 0 {
		t.Errorf("%d messages went elsewhere", reached.Load())
	}
}

// TestInformation: what a server says before its answer (RFC 9110 15.2) is no answer, and no reason to wait for ever; another protocol is none.
func TestInformation(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	for name, c := range map[string]struct{ says, want string }{
		"continue":         {"HTTP/1.1 100 Continue\r\n\r\n" + ok, "ok"},
		"hints, continue":  {"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + ok, "ok"},
		"continue alone":   {"HTTP/1.1 100 Continue\r\n\r\n", ""},
		"with a body":      {"HTTP/1.1 100 Continue\r\nContent-Length: 2\r\n\r\nok", ""},
		"another protocol": {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nok", ""},
		"no content":       {"HTTP/1.1 204 No Content\r\n\r\n", ""},
		"a part":           {"HTTP/1.1 206 Partial Content\r\nContent-Length: 2\r\n\r\nok", ""},
		"a negative size":  {"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nok", ""},
		"a negative chunk": {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\nok\r\n0\r\n\r\n", ""},
		"a huge chunk":     {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffff0\r\nok", ""},
		"a huge size":      {"HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775807\r\n\r\nok", ""},
		"HTTP/2":           {"\x00\x00\x12\x04\x00\x00\x00\x00\x00", ""},
		"then reset":       {"HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n{\"action\":\"no action\"}", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := httpPool(t, rawServer(t, func(conn net.Conn) {
				_, _ = io.WriteString(conn, c.says)
				if tcp, ok := conn.(*net.TCPConn); ok && name == "then reset" {
					_ = tcp.SetLinger(0)
				}
			}))
			out, err := post(p, content("A: b\r\n\r\nc\r\n"), plenty)
			if c.want == "" && err == nil || c.want != "" && (err != nil || string(out) != c.want) {
				t.Errorf("got %q, %v", out, err)
			}
			if err != nil && p.servers[0].breaker.faults != 1 {
				t.Error("it is no fault of the server's")
			}
		})
	}
}

// TestTLSNonsense: a server that speaks no TLS, or has a certificate that proves nothing, is no server of ours.
func TestTLSNonsense(t *testing.T) {
	good := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }))
	t.Cleanup(good.Close)
	good.Config.ErrorLog = log.New(io.Discard, "", 0)
	trust := good.Client().Transport.(*http.Transport).TLSClientConfig
	_, port, err := net.SplitHostPort(good.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	alert := func(c net.Conn) { _, _ = c.Write([]byte{21, 3, 3, 0, 2, 2, 80}) }
	for name, c := range map[string]struct {
		addr  string
		trust *tls.Config
		want  string // in the error; "": none
	}{
		"all well":                  {good.Listener.Addr().String(), trust, ""},
		"of nobody we know":         {good.Listener.Addr().String(), nil, "certificate"},
		"of another name":           {"localhost:" + port, trust, "certificate"},
		"plain HTTP":                {rawServer(t, func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") }), trust, "HTTP response to HTTPS client"},
		"an alert":                  {rawServer(t, alert), trust, "tls: internal error"},
		"a record of another kind":  {rawServer(t, func(c net.Conn) { _, _ = c.Write([]byte{99, 9, 9, 0xff, 0xff}) }), trust, "tls: "},
		"a record without its rest": {rawServer(t, func(c net.Conn) { _, _ = c.Write([]byte{22, 3, 3, 0x40, 0, 2, 0xff, 0xff, 0xff}) }), trust, "EOF"},
		"silence":                   {rawServer(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }), trust, "no answer in time"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := new(Pools).Pool(filter.Env{Log: slog.New(slog.DiscardHandler)}, Options{Kind: "x", Config: Defaults(5, "https://"+c.addr), HTTP: "/", TLS: c.trust})
			if err != nil {
				t.Fatal(err)
			}
			limit := plenty
			if name == "silence" {
				limit = time.Second
			}
			out, err := post(p, content("A: b\r\n\r\nc\r\n"), limit)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %q, %v", out, err)
			}
		})
	}
}
