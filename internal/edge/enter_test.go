package edge

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// behind makes 127.0.0.1 a proxy before the door; 127.0.0.2 is none.
func behind(change func(*door, *ListenerConfig)) func(*door, *ListenerConfig) {
	return func(d *door, cfg *ListenerConfig) {
		cfg.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
		if change != nil {
			change(d, cfg)
		}
	}
}

// dialFrom connects from another loopback address.
func dialFrom(t *testing.T, d *door, from string) *client {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := dialer.Dial("tcp", d.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	c := newClient(t, d, conn)
	c.where = t.Name()
	return c
}

// header is what a proxy says of a client.
func header(client string) string {
	return fmt.Sprintf("PROXY TCP4 %s 192.0.2.25 40000 25\r\n", client)
}

const header2 = "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xcb\x00\x71\x05\xc0\x00\x02\x19\x9c\x40\x00\x19" // of 203.0.113.5

func TestProxyNamesTheClient(t *testing.T) {
	for name, tt := range map[string]struct{ header, client string }{
		"version 1":   {header("203.0.113.5"), "203.0.113.5"},
		"version 2":   {header2, "203.0.113.5"},
		"mapped":      {"PROXY TCP6 ::ffff:203.0.113.5 ::ffff:192.0.2.25 40000 25\r\n", "203.0.113.5"},
		"LOCAL":       {"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00", "127.0.0.1"},
		"UNKNOWN":     {"PROXY UNKNOWN\r\n", "127.0.0.1"},
		"itself":      {"PROXY TCP4 127.0.0.1 192.0.2.25 40000 25\r\n", "127.0.0.1"},
		"UNIX socket": {"\r\n\r\n\x00\r\nQUIT\n\x21\x31\x00\xd8" + strings.Repeat("\x00", 216), "127.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDoor(t, nil, behind(nil))
			c := dialDoor(t, d)
			defer c.close()
			c.step("silent:") // no greeting before the header
			c.send(tt.header + "EHLO client.example\r\n")
			c.steps("S: 220\nS: 250" + oneMessage + "\nlog: \"msg\":\"delivery\".*\"client\":\"" + strings.ReplaceAll(tt.client, ".", `\.`) + "\"")
			if got := d.relay.all()[0].content; !strings.Contains(got, "["+tt.client+"]") {
				t.Errorf("the Received field does not name %s: %q", tt.client, got)
			}
		})
	}
}

func TestProxyBeforeTLS(t *testing.T) {
	d := newDoor(t, nil, behind(func(_ *door, cfg *ListenerConfig) { cfg.Implicit = true }))
	c := dialDoor(t, d)
	defer c.close()
	c.conn = &prefixed{Conn: c.conn, first: header2} // in one segment with what opens the handshake
	c.handshake()
	c.steps("S: 220\nC: EHLO x.example\nS: 250" + oneMessage + "\nlog: \"client\":\"203.0.113.5\"")
}

// prefixed puts something before the first octets that are written.
type prefixed struct {
	net.Conn
	first string
}

func (c *prefixed) Write(p []byte) (int, error) {
	n := len(c.first)
	m, err := c.Conn.Write(append([]byte(c.first), p...))
	c.first = ""
	return m - n, err
}

func TestProxyHeaderIsRequired(t *testing.T) {
	for _, in := range []string{
		"EHLO client.example\r\n", "PROXY TCP4 203.0.113.5\r\n", "PROXY TCP5 203.0.113.5 192.0.2.25 1 2\r\n", "\r\n\r\n\x00\r\nQUIT\n\x23\x11\x00\x00",
	} {
		d := newDoor(t, nil, behind(nil))
		c := dialDoor(t, d)
		c.where = in
		c.send(in)
		c.steps("EOF:\nlog: \"msg\":\"connection refused\".*\"because\":\"proxy_bad\".*\"error\"")
		c.close()
		d.stop()
		if d.metrics.refused != 1 || d.metrics.open != 0 {
			t.Errorf("%q: %d refused", in, d.metrics.refused)
		}
	}
}

// TestStrayHeader: a header from elsewhere makes nobody another, and does not make its sender's address the client's.
func TestStrayHeader(t *testing.T) {
	for name, cfg := range map[string]func(*door, *ListenerConfig){"outside the networks": behind(nil), "no proxies at all": nil} {
		t.Run(name, func(t *testing.T) {
			d := newDoor(t, nil, cfg)
			c := dialFrom(t, d, "127.0.0.2")
			c.steps("S: 220\nC: EHLO client.example\nS: 250\nC: PROXY TCP4 203.0.113.5 192.0.2.25 1 2\nS: 500" + oneMessage + "\nlog: \"client\":\"127.0.0.2\"")
			c = dialFrom(t, d, "127.0.0.2")
			c.send(header("203.0.113.5") + "EHLO x.example\r\nMAIL FROM:<a@s.example>\r\n")
			c.steps("S: 220\nS: 421 4\\.3\\.5\nEOF:\nlog: PROXY header from outside")
			c = dialFrom(t, d, "127.0.0.2")
			c.send(header2)
			c.steps("S: 220\nS: 500\nS: 500\nS: 500\nS: 221\nEOF:")
		})
	}
}

// TestProxyDoesNotCount: limits of one client are those of the one behind the proxy.
func TestProxyDoesNotCount(t *testing.T) {
	d := newDoor(t, nil, behind(func(d *door, cfg *ListenerConfig) {
		cfg.Limits.PerClient, cfg.Limits.Connections, d.gw.ExemptNetworks = 1, 6, nil
	}))
	first := dialDoor(t, d)
	for i := range 3 {
		c := dialDoor(t, d)
		defer c.close()
		c.send(header(fmt.Sprintf("203.0.113.%d", i+1)))
		c.steps("S: 220")
		if i == 0 {
			first = c
		}
	}
	for i := range 4 {
		c := dialDoor(t, d)
		if i%2 == 0 {
			c.send("PROXY UNKNOWN\r\n")
		} else { // a check that names its own ends
			c.send(fmt.Sprintf("PROXY TCP4 127.0.0.1 127.0.0.1 %d 25\r\n", c.conn.LocalAddr().(*net.TCPAddr).Port))
		}
		c.steps("S: 220\nC: QUIT\nS: 221\nEOF:")
		waitFor(t, func() bool { return d.connected() <= 4 }) // it has given its place back
	}
	c := dialDoor(t, d)
	c.send(header("203.0.113.1"))
	c.steps("S: 421 4\\.7\\.0\nEOF:\nlog: \"client\":\"203.0.113.1\",\"because\":\"client_limit\"")
	first.steps("C: QUIT\nS: 221\nEOF:")
	waitFor(t, func() bool { return d.srv.clients.Open(netip.MustParseAddr("203.0.113.1")) == 0 })
	c = dialDoor(t, d)
	c.send(header("203.0.113.1"))
	c.steps("S: 220")
}

// TestHealthChecks: a balancer that only looks whether we are there leaves no trace.
func TestHealthChecks(t *testing.T) {
	d := newDoor(t, nil, behind(nil))
	for _, end := range []func(*net.TCPConn){
		func(c *net.TCPConn) { _ = c.Close() },
		func(c *net.TCPConn) { _ = c.CloseWrite(); _, _ = io.ReadAll(c); _ = c.Close() },
		func(c *net.TCPConn) { _ = c.SetLinger(0); _ = c.Close() }, // with a RST, as haproxy does
	} {
		conn, err := net.Dial("tcp", d.addr)
		if err != nil {
			t.Fatal(err)
		}
		end(conn.(*net.TCPConn))
	}
	last := dialDoor(t, d) // it is let in behind them
	last.send(header("203.0.113.1"))
	last.steps("S: 220\nC: QUIT\nS: 221\nEOF:")
	deserted(t, d)
	d.stop()
	for _, line := range d.log.lines() {
		if line != "" && !strings.Contains(line, `"DEBUG"`) {
			t.Errorf("log: %s", line)
		}
	}
	if d.metrics.refused != 0 {
		t.Errorf("%d refused", d.metrics.refused)
	}
}

// TestNobodyRelaysForAProxy: the proxy's own address gives no rights to those whom it does not name.
func TestNobodyRelaysForAProxy(t *testing.T) {
	cfg := &ListenerConfig{Relay: Relay{Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}}
	inside := netip.MustParseAddrPort("10.0.0.1:1")
	if w := (&wire{cfg: cfg, client: inside}); !w.mayRelay() {
		t.Error("a client of the network may not relay")
	}
	if w := (&wire{cfg: cfg, client: inside, guest: guest{proxied: true}}); !w.mayRelay() {
		t.Error("a client of the network behind a proxy may not relay")
	}
	if w := (&wire{cfg: cfg, client: inside, guest: guest{proxied: true, unnamed: true}}); w.mayRelay() {
		t.Error("the proxy may relay for somebody whom it does not name")
	}
}

// bubbleConn gives one end of a pipe addresses.
type bubbleConn struct {
	net.Conn
	remote netip.AddrPort
}

func (c bubbleConn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.remote) }
func (c bubbleConn) LocalAddr() net.Addr  { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 25), Port: 25} }

// bubbleDoor makes a door in a bubble, and gives what connects to it from an address and a port of its own.
func bubbleDoor(t *testing.T, filters []string, change func(*door, *ListenerConfig)) (*door, func(from string) *slow) {
	d := makeDoor(t, filters, func(d *door, cfg *ListenerConfig) {
		cfg.TLS = nil
		if change != nil {
			change(d, cfg)
		}
	})
	port := uint16(40000)
	return d, func(from string) *slow {
		port++
		ours, theirs := net.Pipe()
		t.Cleanup(func() { _ = ours.Close() })
		s := &slow{t, ours, bufio.NewReader(ours), time.Now()}
		go d.srv.take(bubbleConn{theirs, netip.AddrPortFrom(netip.MustParseAddr(from), port)})
		synctest.Wait()
		return s
	}
}

// ended tells how long it took until the server closed the connection without a word.
func (s *slow) ended() time.Duration {
	s.t.Helper()
	if b, err := io.ReadAll(s.r); len(b) > 0 || err != nil {
		s.t.Errorf("got %q, %v", b, err)
	}
	return time.Since(s.began)
}

func TestTimeOfAHeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, connect := bubbleDoor(t, nil, behind(nil))
		if got := connect("127.0.0.1").ended(); got < proxyTimeout || got > proxyTimeout+time.Second {
			t.Errorf("a silent one was closed after %v", got)
		}
		if n := d.metrics.refused; n != 0 {
			t.Errorf("silence was counted as refused, %d times", n)
		}
		s := connect("127.0.0.1")
		for _, piece := range []string{"PROXY TCP4 203.0.113.5", " 192.0.2.25 40000", " 25", "\r", "\n"} {
			time.Sleep(900 * time.Millisecond)
			if _, err := io.WriteString(s.conn, piece); err != nil {
				t.Fatal(err)
			}
		}
		s.expect("220")
		_ = s.conn.Close()
		s = connect("127.0.0.1")
		if _, err := io.WriteString(s.conn, "PROXY TCP4 203.0.113.5"); err != nil {
			t.Fatal(err)
		}
		if got := s.ended(); got < proxyTimeout || got > proxyTimeout+time.Second || d.metrics.refused != 1 {
			t.Errorf("half a header was closed after %v; %d refused", got, d.metrics.refused)
		}
		_ = d.srv.Close()
	})
}

func TestDrainBeforeTheHeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, connect := bubbleDoor(t, nil, behind(nil))
		s := connect("127.0.0.1")
		go func() { _ = d.srv.Drain(t.Context()) }()
		if got := s.ended(); got != 0 || d.metrics.refused != 0 {
			t.Errorf("closed after %v; %d refused", got, d.metrics.refused)
		}
		synctest.Wait()
	})
}
