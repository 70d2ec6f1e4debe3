package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/peertest/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// serve starts a server with handlers, and gives a client of it.
func serve(t *testing.T, handlers map[string]func(http.ResponseWriter, *http.Request) error) *Client {
	t.Helper()
	path := filepath.Join(t.TempDir(), Name)
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	for pattern, h := range handlers {
		mux.Handle(pattern, Handle(h))
	}
	s := Serve(l, mux, slog.New(slog.DiscardHandler))
	t.Cleanup(func() { s.Close(time.Second) })
	c, err := Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestListen(t *testing.T) {
	for _, c := range []struct{ name, dir string }{
		{"short", "s"},
		{"long", strings.Repeat("long/", 40)},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), c.dir)
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, Name)
			if _, err := Dial(t.Context(), path); !errors.Is(err, ErrNotRunning) {
				t.Errorf("where nothing is: %v", err)
			}
			l, err := Listen(path)
			if err != nil {
				t.Fatal(err)
			}
			info, err := os.Lstat(path)
			if err != nil || info.Mode() != os.ModeSocket|0o600 {
				t.Errorf("%v %v", info.Mode(), err)
			}
			if l.Addr().String() != path {
				t.Errorf("at %s", l.Addr())
			}
			if _, err := Listen(path); !errors.Is(err, ErrInUse) {
				t.Errorf("a second one: %v", err)
			}
			client, err := Dial(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			client.Close()
			for range 2 {
				_ = l.Close()
			}
			entries, err := os.ReadDir(dir)
			if err != nil || len(entries) > 0 {
				t.Errorf("left behind: %v %v", entries, err)
			}
		})
	}
}

// A socket that nobody holds is replaced, whatever else is left beside it; the one that took its place is not removed.
func TestListenStale(t *testing.T) {
	path := filepath.Join(t.TempDir(), Name)
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	dead.Close()
	if err := os.MkdirAll(filepath.Join(path+".new", "s"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Dial(t.Context(), path); !errors.Is(err, ErrNotRunning) {
		t.Errorf("a dead process: %v", err)
	}
	first, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	second, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	first.Close()
	c, err := Dial(t.Context(), path)
	if err != nil {
		t.Fatalf("the second's socket is gone with the first: %v", err)
	}
	c.Close()
}

func TestListenImpossible(t *testing.T) {
	dir := t.TempDir()
	if _, err := Listen(filepath.Join(dir, "nowhere", Name)); err == nil {
		t.Error("in no folder")
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Dial(t.Context(), filepath.Join(file, Name)); err == nil || errors.Is(err, ErrNotRunning) {
		t.Errorf("below a file: %v", err)
	}
}

type pair struct {
	Name string
	N    int
}

func TestValues(t *testing.T) {
	c := serve(t, map[string]func(http.ResponseWriter, *http.Request) error{
		"GET /v1/pair": func(w http.ResponseWriter, r *http.Request) error { return Send(w, pair{r.FormValue("name"), 7}) },
		"POST /v1/pair": func(w http.ResponseWriter, r *http.Request) error {
			var p pair
			if err := Receive(r, &p); err != nil {
				return err
			}
			p.N++
			return Send(w, p)
		},
		"GET /v1/fault": func(http.ResponseWriter, *http.Request) error {
			return fmt.Errorf("outer: %w", Errorf(Data, "no %q\n", "ä"))
		},
		"GET /v1/own":   func(http.ResponseWriter, *http.Request) error { return errors.New("broken") },
		"GET /v1/panic": func(http.ResponseWriter, *http.Request) error { panic("handler") },
		"GET /v1/text":  func(w http.ResponseWriter, _ *http.Request) error { _, err := io.WriteString(w, "text"); return err },
		"GET /v1/big": func(w http.ResponseWriter, _ *http.Request) error {
			return Send(w, strings.Repeat("x", maxReply))
		},
	})
	ctx := t.Context()
	var p pair
	if err := c.Get(ctx, "/v1/pair?name=b+c", &p); err != nil || p != (pair{"b c", 7}) {
		t.Errorf("%+v %v", p, err)
	}
	if err := c.Post(ctx, "/v1/pair", p, &p); err != nil || p.N != 8 {
		t.Errorf("%+v %v", p, err)
	}
	if err := c.Post(ctx, "/v1/pair", p, nil); err != nil {
		t.Error(err)
	}
	for _, q := range []struct {
		name string
		err  error
		kind Kind
		text string
	}{
		{"a kind", c.Get(ctx, "/v1/fault", nil), Data, "no \"ä\"\n"},
		{"none", c.Get(ctx, "/v1/own", nil), Software, "broken"},
		{"unknown question", c.Get(ctx, "/v9/pair", nil), Unavailable, "can't do this: GET /v9/pair: 404"},
		{"unknown field", c.Post(ctx, "/v1/pair", map[string]int{"m": 1}, nil), Usage, "can't be read"},
		{"too big", c.Post(ctx, "/v1/pair", pair{Name: strings.Repeat("x", maxRequest)}, nil), Usage, "too large"},
	} {
		var e *Error
		if !errors.As(q.err, &e) || e.Kind != q.kind || !strings.Contains(e.Text, q.text) {
			t.Errorf("%s: %v", q.name, q.err)
		}
	}
	for path, want := range map[string]string{
		"/v1/panic": "did not answer", "/v1/text": "can't be read", "/v1/big": "too big",
	} {
		if err := c.Get(ctx, path, &p); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if b, err := c.Open(ctx, "/v1/text"); err != nil {
		t.Error(err)
	} else {
		if text, err := io.ReadAll(b); string(text) != "text" || err != nil {
			t.Errorf("%s %v", text, err)
		}
		b.Close()
	}
}

// A list comes whole, or its error says that it has not.
func TestStream(t *testing.T) {
	gone := make(chan error, 1)
	c := serve(t, map[string]func(http.ResponseWriter, *http.Request) error{
		"GET /v1/list": func(w http.ResponseWriter, r *http.Request) error {
			s := NewStream(w)
			n := 0
			_, _ = fmt.Sscan(r.FormValue("n"), &n)
			for i := range n {
				if err := s.Send(pair{"x", i}); err != nil {
					gone <- err
					return err
				}
			}
			switch r.FormValue("end") {
			case "error":
				return Errorf(Data, "one is damaged: ä\r\nX: y")
			case "panic":
				panic(http.ErrAbortHandler)
			case "hang":
				_ = http.NewResponseController(w).Flush()
				<-r.Context().Done()
			}
			return nil
		},
		"POST /v1/list": func(w http.ResponseWriter, r *http.Request) error {
			var p pair
			if err := Receive(r, &p); err != nil {
				return err
			}
			return NewStream(w).Send(p)
		},
	})
	for _, q := range []struct {
		path, want string
		n          int
	}{
		{"/v1/list?n=0", "", 0},
		{"/v1/list?n=100000", "", 100000},
		{"/v1/list?n=0&end=error", "one is damaged: ä\r\nX: y", 0},
		{"/v1/list?n=5&end=error", "one is damaged: ä\r\nX: y", 5},
		{"/v1/list?n=10000&end=error", "one is damaged: ä\r\nX: y", 10000},
		{"/v1/list?n=10000&end=panic", "cut off", -1},
	} {
		n := 0
		err := List(t.Context(), c, q.path, func(p pair) error {
			if p.N != n {
				t.Errorf("%s: %d after %d", q.path, p.N, n)
			}
			n++
			return nil
		})
		if got := fmt.Sprint(err); q.want == "" && err != nil || !strings.Contains(got, q.want) || q.n >= 0 && n != q.n {
			t.Errorf("%s: %d, %v", q.path, n, err)
		}
		var e *Error
		if errors.As(err, &e) != strings.Contains(q.path, "end=error") || e != nil && e.Kind != Data {
			t.Errorf("%s: %#v", q.path, err)
		}
	}
	n := 0
	if err := PostList(t.Context(), c, "/v1/list", pair{"y", 1}, func(p pair) error { n += p.N; return nil }); err != nil || n != 1 {
		t.Errorf("%d %v", n, err)
	}
	enough := errors.New("enough")
	if err := List(t.Context(), c, "/v1/list?n=10000000", func(pair) error { return enough }); !errors.Is(err, enough) {
		t.Error(err)
	}
	if <-gone == nil {
		t.Error("the server was not told that the client has gone")
	}
	c.patience = 50 * time.Millisecond
	if err := List(t.Context(), c, "/v1/list?n=3&end=hang", func(pair) error { return nil }); !errors.Is(err, errStalled) {
		t.Errorf("a gateway that hangs: %v", err)
	}
}

// Closing lets what was asked be answered, for a while.
func TestClose(t *testing.T) {
	path := filepath.Join(t.TempDir(), Name)
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	asked, answer := make(chan bool, 2), make(chan bool)
	mux := http.NewServeMux()
	mux.Handle("GET /v1/wait", Handle(func(w http.ResponseWriter, r *http.Request) error {
		asked <- true
		select {
		case <-answer:
			return Send(w, 1)
		case <-r.Context().Done():
			return r.Context().Err()
		}
	}))
	s := Serve(l, mux, slog.New(slog.DiscardHandler))
	c, err := Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var all sync.WaitGroup
	results := make(chan error, 2)
	for range 2 {
		all.Go(func() { results <- c.Get(context.Background(), "/v1/wait", nil) })
		<-asked
	}
	go func() { answer <- true }()
	if err := <-results; err != nil {
		t.Errorf("the one that was answered: %v", err)
	}
	s.Close(50 * time.Millisecond)
	all.Wait()
	if err := <-results; err == nil {
		t.Error("the one that was not answered got an answer")
	}
	if _, err := Dial(t.Context(), path); !errors.Is(err, ErrNotRunning) {
		t.Errorf("afterwards: %v", err)
	}
}

// The header of an answer goes before there is anything to say: who asks knows that somebody works on it.
func TestStreamBegins(t *testing.T) {
	goOn := make(chan struct{})
	c := serve(t, map[string]func(http.ResponseWriter, *http.Request) error{
		"GET /slow": func(w http.ResponseWriter, r *http.Request) error {
			s := NewStream(w)
			select {
			case <-goOn:
				return s.Send("done")
			case <-r.Context().Done():
				return r.Context().Err()
			}
		},
	})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	answer, err := c.Open(ctx, "/slow")
	if err != nil {
		t.Fatalf("no header: %v", err)
	}
	defer answer.Close()
	close(goOn)
	if b, err := io.ReadAll(answer); err != nil || string(b) != "\"done\"\n" {
		t.Errorf("%q %v", b, err)
	}
}
