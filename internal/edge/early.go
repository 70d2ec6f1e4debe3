package edge

import (
	"errors"
	"io"
	"os"
	"time"
)

// EarlyTalkers says how clients are found out that do not wait for the greeting, as RFC 5321 3.1 and 4.3.1 ask them to. Programs
// that send spam in passing often do not listen at all.
//
// A client that is not known yet gets the first line of a greeting of two, and is waited for: who speaks before the second
// line speaks early. That is all that happens here; what it amounts to is for filters to say (filter.Session.Early).
type EarlyTalkers struct {
	Wait     time.Duration // before the greeting; 0: nobody is tested
	Remember time.Duration // how long one who has waited need not wait again
	Silent   bool          // without the first line, for clients that can't read a greeting of two
}

// earlyFor is how long a client that has spoken early is taken for one that does.
const earlyFor = 15 * time.Minute

// Results of the test.
const (
	EarlyPassed = "passed"
	EarlySpoke  = "early"
	EarlyLeft   = "left" // the client went before the greeting
)

// EarlyResults lists the values of the result label of the test.
func EarlyResults() []string { return []string{EarlyPassed, EarlySpoke, EarlyLeft} }

// overhear makes the test, and reports whether the client is to be greeted. While it waits, the connection holds no memory
// but its own, and ends at once when the server drains.
func (s *Server) overhear(w *wire) bool {
	if !s.tested(w) {
		return true
	}
	gw, memory, client := s.gateway(), s.memory(), w.client.Addr()
	before := memory.manners(client)
	if before == EarlyPassed {
		return true
	}
	w.early = before == EarlySpoke
	if !w.cfg.Early.Silent {
		w.put([]byte("220-" + gw.Hostname + " ESMTP\r\n"))
		w.seen = len(w.out)
		if w.flush() != nil {
			return false
		}
	}
	result := w.waitFor(time.Now().Add(w.cfg.Early.Wait))
	switch result {
	case "":
		return false
	case EarlySpoke:
		w.early = true
	}
	gw.metrics().EarlyTalk(w.cfg.Name, result)
	memory.keepManners(client, result, w.cfg.Early.Remember)
	return result != EarlyLeft
}

// tested reports whether the test is for this client.
func (s *Server) tested(w *wire) bool {
	return w.cfg.Early.Wait > 0 && !w.cfg.Implicit && !w.unnamed && !w.known && !w.isFront() &&
		!s.gateway().exempt(w.client.Addr()) && !w.mayRelay()
}

// waitFor waits for the client to speak, until a time, and gives what it did; "" where the server drains.
func (w *wire) waitFor(end time.Time) string {
	err := w.setReadDeadline(end)
	if err == nil {
		err = w.listen()
	}
	switch {
	case err == nil:
		return EarlySpoke
	case w.isDraining():
		w.sayGoodbye(err)
		return ""
	case errors.Is(err, os.ErrDeadlineExceeded):
		return EarlyPassed
	}
	return EarlyLeft
}

// listen waits until the client has said something, which stays to be read; io.EOF where it went.
func (w *wire) listen() error {
	if w.socket == nil {
		err := w.receive(w.conn, false)
		if w.buffered() == 0 {
			w.discard()
		}
		return err
	}
	n, err := w.peek()
	if err == nil && n == 0 {
		return io.EOF
	}
	return err
}
