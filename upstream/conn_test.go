package upstream

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"
)

// slowConn reads late, so that what the server wrote in several records comes in one.
type slowConn struct{ *net.TCPConn }

func (c slowConn) Read(p []byte) (int, error) {
	time.Sleep(5 * time.Millisecond)
	return c.TCPConn.Read(p)
}

// TestExtraRecord: a reply too many in a record that TLS has read together with the one before is noticed, though
// neither the socket nor the reader of replies has anything of it.
func TestExtraRecord(t *testing.T) {
	cert, _ := certificate(t, "127.0.0.1")
	greet := "S 220 s1\nC EHLO gw.test\nS 250-s1\nS 250 STARTTLS\nC STARTTLS\nS 220 go\nTLS\nC EHLO gw.test\nS 250 s1\n"
	message1 := "C MAIL FROM:<a@x.test>\nS 250 Ok\nC RCPT TO:<b@y.test>\nS 250 Ok\nC DATA\nS 354 go\nBODY\nS 250 taken\n"
	b := &backend{name: "s1", cert: &cert, done: make(chan struct{}), scripts: [][]string{
		strings.Split(greet+message1+"S 552 5.3.4 too big\nDRAIN", "\n"),
		strings.Split(greet+message1+"WAIT", "\n"),
	}}
	dialer := new(net.Dialer)
	p := pool(t, Config{
		Servers: []string{listen(t, b)}, TLS: TLSRequired,
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			nc, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return slowConn{nc.(*net.TCPConn)}, nil
		},
	})
	for range 2 {
		if o := p.Deliver(t.Context(), envelope(t, "b@y.test"), message(t, "x\r\n")); o.Kind != Delivered {
			t.Errorf("%+v", o)
		}
		if err := b.settle(); err != nil {
			t.Error(err)
		}
	}
	p.Close()
	if err := b.stop(); err != nil {
		t.Error(err)
	}
}

func BenchmarkUndisturbed(b *testing.B) {
	s := newSink(b, false)
	nc, err := net.Dial("tcp", s.addr)
	if err != nil {
		b.Fatal(err)
	}
	defer nc.Close() //nolint:errcheck // a test's
	c := newConn(nc, s.addr, &Timeouts{Greeting: time.Second})
	if _, err := c.reply(time.Second); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if !c.undisturbed() {
			b.Fatal("disturbed")
		}
	}
}
