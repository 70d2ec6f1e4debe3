package edge

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/postern-mail/postern/internal/limits"
)

// Server is one listener of the configuration and the connections that came through it.
type Server struct {
	cfg     atomic.Pointer[ListenerConfig]
	gateway func() *Gateway
	ctx     context.Context // of all sessions: ends with Close
	cancel  context.CancelFunc
	wg      sync.WaitGroup // one for each connection
	clients *limits.Table  // what they take of us
	repeats *repeats       // messages that may come again

	remembered atomic.Pointer[memory]
	crowded    atomic.Bool // few places are left

	mu        sync.Mutex
	listeners map[net.Listener]*acceptLoop
	wires     map[*wire]*limits.Load
	stopped   bool      // nothing more is accepted
	fullTold  time.Time // when it was said last that all places are taken
}

// NewServer makes a server. gateway gives the current Gateway, never nil; it is asked often and must be
// quick.
func NewServer(cfg ListenerConfig, gateway func() *Gateway) *Server {
	ctx, cancel := context.WithCancel(context.Background())
	s := &Server{
		gateway: gateway, ctx: ctx, cancel: cancel,
		listeners: map[net.Listener]*acceptLoop{},
		wires:     map[*wire]*limits.Load{},
		clients:   limits.NewTable(),
		repeats:   newRepeats(),
	}
	s.Configure(cfg)
	return s
}

// Configure changes what holds for connections from now on; those that are open keep what they began with.
func (s *Server) Configure(cfg ListenerConfig) {
	cfg.Limits = cfg.Limits.withDefaults()
	s.cfg.Store(&cfg)
}

func (s *Server) isStopped() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopped
}

// serve is the life of one connection, or what of it lies between two pauses of its client, see doze.go: then d is the
// dialog to go on with.
func (s *Server) serve(w *wire, d *dialog) {
	dozes := false
	defer func() {
		if v := recover(); v != nil {
			w.crashed(v)
		} else if dozes {
			go s.serve(w, d)
			return
		}
		s.end(w)
	}()
	if d != nil {
		w.wake()
	} else if d = s.begin(w); d == nil {
		return
	}
	dozes = d.run()
}

// begin lets a connection's client in, and gives the dialog to have with it. It gives none where the client is sent away,
// and when go-smtp has had its dialog, which runs once, and once more after STARTTLS.
func (s *Server) begin(w *wire) *dialog {
	if w.proxied && !s.introduce(w) {
		return nil
	}
	s.gateway().metrics().ConnectionOpened(w.cfg.Name)
	w.opened = true
	if w.cfg.Implicit {
		w.expectHello()
	}
	if !s.overhear(w) {
		return nil
	}
	if w.cfg.Engine != EngineGoSMTP {
		return newDialog(w)
	}
	if w.cfg.Implicit && w.secure(w.wait(w.helloEnds)) != nil {
		return nil
	}
	for first := true; first || w.upgrade; first = false {
		w.upgrade = false
		g := newGuard(w, !first)
		runGoSMTP(w, g, func(*smtp.Conn) (smtp.Session, error) { return newSession(w, g.contentRead) })
	}
	return nil
}

// end ends a connection.
func (s *Server) end(w *wire) {
	defer s.wg.Done()
	defer func() {
		if v := recover(); v != nil {
			w.crashed(v)
		}
		// Whoever has said good-bye may come again at once: his next connection can be here before this one is closed.
		if !w.hungUp {
			s.settle(w)
		}
		w.close()
		s.leave(w)
	}()
	if w.opened {
		s.gateway().metrics().ConnectionClosed(w.cfg.Name, w.tlsMode, time.Since(w.began))
	}
}

// stop ends the accepting and gives the connections that there are.
func (s *Server) stop() []*wire {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	for l := range s.listeners {
		_ = l.Close()
	}
	all := make([]*wire, 0, len(s.wires))
	for w := range s.wires {
		all = append(all, w)
	}
	return all
}

// Drain stops accepting, ends connections that are between transactions with a 421, lets each open
// transaction come to its end, and returns when all connections are gone. When ctx ends before that, the
// rest are closed as by Close, and the error is the context's.
func (s *Server) Drain(ctx context.Context) error {
	for _, w := range s.stop() {
		w.drain()
	}
	gone := make(chan struct{})
	go func() {
		s.wg.Wait()
		close(gone)
	}()
	select {
	case <-gone:
		s.cancel()
		return nil
	case <-ctx.Done():
		_ = s.Close()
		return fmt.Errorf("edge: drain: %w", ctx.Err())
	}
}

// Close ends all connections at once, and returns when their sessions have ended. What was not
// acknowledged is the client's to send again.
func (s *Server) Close() error {
	s.cancel()
	for _, w := range s.stop() {
		w.kill()
	}
	s.wg.Wait()
	return nil
}
