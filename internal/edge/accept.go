package edge

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// turnEvery is how long an accept loop waits for a connection before it comes round to show that it is alive.
const turnEvery = 5 * time.Second

// acceptLoop is a loop that takes connections.
type acceptLoop struct {
	began  time.Time
	turned atomic.Int64 // when it came round last, in nanoseconds since it began
	beats  bool         // it comes round without connections, too
}

// accept waits for a connection, and not much longer than turnEvery.
func (a *acceptLoop) accept(l net.Listener) (net.Conn, error) {
	if d, ok := l.(interface{ SetDeadline(time.Time) error }); ok && a.beats {
		if err := d.SetDeadline(time.Now().Add(turnEvery)); err != nil {
			return nil, err
		}
	}
	c, err := l.Accept()
	a.turned.Store(int64(time.Since(a.began)))
	return c, err
}

// Serve takes connections from l until Drain or Close, after which it gives nil, or until l fails for
// good. It closes l. It may be called for several listeners.
func (s *Server) Serve(l net.Listener) error {
	loop := s.listening(l)
	if loop == nil {
		_ = l.Close()
		return nil
	}
	defer s.forget(l)
	pause := time.Duration(0)
	for {
		c, err := loop.accept(l)
		switch {
		case err == nil:
			pause = 0
			s.take(c)
		case s.isStopped():
			return nil
		case errors.Is(err, os.ErrDeadlineExceeded): // nobody came
		case !temporary(err):
			return fmt.Errorf("edge: accept: %w", err)
		default: // too many open files and the like: they pass
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			s.gateway().Log.Warn("accept", KeyListener, s.cfg.Load().Name, KeyError, err)
			select {
			case <-time.After(pause):
			case <-s.ctx.Done():
			}
		}
	}
}

// Alive gives an error where connections that come would not be taken up: one of the loops that take them has not come
// round for a while. It waits for the server's lock, so that a server which hangs does not answer at all.
func (s *Server) Alive() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return nil
	}
	for l, a := range s.listeners {
		since := time.Since(a.began) - time.Duration(a.turned.Load())
		if a.beats && since > 3*turnEvery {
			return fmt.Errorf("edge: nobody takes connections at %s, for %s", l.Addr(), since.Round(time.Second))
		}
	}
	return nil
}

// Connections gives how many connections are open, and how many of them have a transaction.
func (s *Server) Connections() (open, busy int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for w := range s.wires {
		open++
		if w.isBusy() {
			busy++
		}
	}
	return open, busy
}

// temporary reports whether accepting may go on after err. All but a listener that is none any more passes:
// accept(2) also hands over errors of the network that wait on a connection which is already gone, and of
// want of memory.
func temporary(err error) bool {
	for _, gone := range []error{net.ErrClosed, syscall.EBADF, syscall.EINVAL, syscall.ENOTSOCK} {
		if errors.Is(err, gone) {
			return false
		}
	}
	return true
}

// listening gives a loop for l, nil where the server has been stopped.
func (s *Server) listening(l net.Listener) *acceptLoop {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return nil
	}
	_, beats := l.(interface{ SetDeadline(time.Time) error })
	a := &acceptLoop{began: time.Now(), beats: beats}
	s.listeners[l] = a
	return a
}

func (s *Server) forget(l net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, l)
	_ = l.Close()
}
