package app

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/config"
	"github.com/postern-mail/postern/internal/systemd"
)

func TestFits(t *testing.T) {
	for _, c := range []struct {
		address, socket string
		want            bool
	}{
		{":25", "[::]:25", true},
		{":25", "0.0.0.0:25", true},
		{":25", "192.0.2.1:25", false},
		{":25", "[::]:2525", false},
		{"0.0.0.0:25", "[::]:25", true},
		{"[::]:25", "0.0.0.0:25", true},
		{"192.0.2.1:25", "192.0.2.1:25", true},
		{"192.0.2.1:25", "[::ffff:192.0.2.1]:25", true},
		{"192.0.2.1:25", "192.0.2.2:25", false},
		{"192.0.2.1:25", "0.0.0.0:25", false},
		{"[2001:db8::1]:25", "[2001:db8::1]:25", true},
		{"[2001:0db8:0:0::1]:25", "[2001:db8::1]:25", true},
		{"localhost:25", "127.0.0.1:25", false},
		{":0", "127.0.0.1:25", false},
		{"", "127.0.0.1:25", false},
	} {
		addr, err := net.ResolveTCPAddr("tcp", c.socket)
		if err != nil {
			t.Fatal(err)
		}
		if got := fits(c.address, addr); got != c.want {
			t.Errorf("%s and %s: %v", c.address, c.socket, got)
		}
	}
	if fits(":25", &net.UnixAddr{Name: "/x"}) {
		t.Error("a local socket")
	}
}

// at is a listener that has an address and no socket.
type at struct {
	net.Listener
	addr string
}

func (a at) Addr() net.Addr {
	t, err := net.ResolveTCPAddr("tcp", a.addr)
	if err != nil {
		panic(err)
	}
	return t
}

func TestAssign(t *testing.T) {
	cfg, err := config.Parse("in.yaml", []byte("hostname: mx.example.org\nlisteners: {public: {address: \":25\"}, office: {address: \"192.0.2.1:587\"}}\n"+
		"routes: [{to: [example.org], upstream: up}]\nupstreams: {up: {maildir: /m}}\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		given []string // name address
		want  string   // listener=address …, or a part of the error
	}{
		{"none", nil, ""},
		{"by address", []string{"postern.socket [::]:25", "postern.socket 192.0.2.1:587"}, "office=192.0.2.1:587 public=[::]:25"},
		{"by name", []string{"public 192.0.2.9:2525"}, "public=192.0.2.9:2525"},
		{"the name counts more", []string{"office [::]:25"}, "office=[::]:25"},
		{"two for one", []string{"public 192.0.2.1:25", "public [2001:db8::1]:25"}, "public=192.0.2.1:25 public=[2001:db8::1]:25"},
		{"without a name", []string{" 0.0.0.0:25"}, "public=0.0.0.0:25"},
		{"left over", []string{"public [::]:25", "postern.socket [::]:465"}, `in.yaml:2:1: the service manager has given a socket that no listener is for: "postern.socket" at [::]:465; a listener must have this address, or the socket the name of one (FileDescriptorName= public, office)`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var given []systemd.Socket
			for _, s := range c.given {
				name, addr, _ := strings.Cut(s, " ")
				given = append(given, systemd.Socket{Name: name, Listener: at{addr: addr}})
			}
			all, err := assign(cfg, given)
			var got []string
			for name, ls := range all {
				for _, l := range ls {
					got = append(got, name+"="+l.Addr().String())
				}
			}
			slices.Sort(got)
			switch {
			case err != nil && !strings.HasPrefix(err.Error(), c.want):
				t.Errorf("%v", err)
			case err == nil && strings.Join(got, " ") != c.want:
				t.Errorf("%q, not %q", got, c.want)
			}
		})
	}
}

// TestGivenSockets: a gateway serves the sockets that it was given, through reloads, and a configuration that leaves one
// of them to nobody is not taken.
func TestGivenSockets(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "postern.yaml")
	text := strings.ReplaceAll(plainGateway, "{{dir}}", dir)
	put(t, file, []byte(text))
	var given []systemd.Socket
	for range 2 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		given = append(given, systemd.Socket{Name: "public", Listener: l})
	}
	var log lockedBuffer
	a, err := New(Options{Config: file, ConfigGiven: true, Stdin: strings.NewReader(""), Stdout: &log, Stderr: &log})
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := a.load()
	if err != nil {
		t.Fatal(err)
	}
	g, err := a.start(context.Background(), cfg, slog.New(slog.NewJSONHandler(&log, nil)), given...)
	if err != nil {
		t.Fatal(err)
	}
	defer g.close()
	if len(g.listeners) != 1 {
		t.Fatalf("%d listeners", len(g.listeners))
	}
	var clients []*client
	for _, s := range given {
		clients = append(clients, connect(t, s.Listener.Addr().String()))
	}
	reload := func(text string, taken bool) {
		t.Helper()
		before := len(log.lines(t, "configuration taken"))
		put(t, file, []byte(text))
		g.reload(t.Context())
		if now := len(log.lines(t, "configuration taken")); (now > before) != taken {
			t.Errorf("taken: %v\n%s", now > before, log.String())
		}
	}
	reload(text, true)
	reload(strings.Replace(text, `address: "127.0.0.1:0"`, `address: "127.0.0.1:0", limits: {errors: 3}`, 1), true)
	reload(strings.Replace(text, `address: "127.0.0.1:0"`, `address: "127.0.0.1:1"`, 1), true) // the name counts
	reload(strings.Replace(text, "public:", "other:", 1), false)
	reload(strings.Replace(text, "public: {address: \"127.0.0.1:0\"}", "public: {address: \"127.0.0.1:0\"}, b: {address: \"127.0.0.1:0\"}", 1), true)
	for i, s := range given {
		clients[i].say("EHLO client.test", "250")
		clients[i].message()
		c := connect(t, s.Listener.Addr().String())
		c.say("EHLO client.test", "250")
		c.message()
	}
	if n := len(g.listeners); n != 2 {
		t.Errorf("%d listeners, not the given one and its neighbour", n)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
}
