package scanner

import (
	"net"
	"testing"
	"time"
)

// held is a connection whose owner has to wait for its turn each time that it sets a deadline, as on a busy machine.
type held struct{ *net.TCPConn }

// SetReadDeadline implements net.Conn.
func (h held) SetReadDeadline(at time.Time) error {
	err := h.TCPConn.SetReadDeadline(at)
	time.Sleep(10 * time.Millisecond)
	return err
}

// TestEarlyOnABusyMachine: what is here is seen, however busy the machine is, and the connection goes on behind it.
func TestEarlyOnABusyMachine(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	s, err := parseServer(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s.dial = plenty
	c, err := s.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	own := c.(*conn)
	own.Conn = held{own.Conn.(*net.TCPConn)}
	theirs, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = theirs.Close() }()
	b := make([]byte, 16)
	for range 10 {
		if n := Early(c, b); n != 0 {
			t.Fatalf("%q was never sent", b[:n])
		}
		if _, err := theirs.Write([]byte("early")); err != nil {
			t.Fatal(err)
		}
		n := 0
		for end := time.Now().Add(plenty); n == 0 && time.Now().Before(end); { // it takes a moment from one socket to the other
			n = Early(c, b)
		}
		if string(b[:n]) != "early" {
			t.Fatalf("got %q", b[:n])
		}
	}
	if _, err := theirs.Write([]byte("late")); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(b); err != nil || string(b[:n]) != "late" {
		t.Errorf("got %q, %v", b[:n], err)
	}
	_ = theirs.Close()
	if n := Early(c, b); n != 0 {
		t.Errorf("got %q from nobody", b[:n])
	}
}
