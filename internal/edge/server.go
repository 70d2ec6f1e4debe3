package edge

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

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

	remembered atomic.Pointer[memory]

	mu        sync.Mutex
	listeners map[net.Listener]*acceptLoop
	wires     map[*wire]struct{}
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
		wires:     map[*wire]struct{}{},
		clients:   limits.NewTable(),
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

// serve is the life of one connection. go-smtp runs once, and once more after STARTTLS.
func (s *Server) serve(w *wire) {
	defer func() {
		if v := recover(); v != nil {
			w.crashed(v)
		}
		w.close()
		s.leave(w)
	}()
	if w.proxied && !s.introduce(w) {
		return
	}
	m := s.gateway().metrics()
	m.ConnectionOpened(w.cfg.Name)
	defer func() { m.ConnectionClosed(w.cfg.Name, w.tlsMode, time.Since(w.began)) }()
	if w.cfg.Implicit {
		if err := w.secure(TLSImplicit); err != nil {
			s.gateway().Log.Debug("tls", KeyListener, w.cfg.Name, KeyClient, w.client.Addr().String(), KeyError, err)
			return
		}
	}
	if !s.overhear(w) {
		return
	}
	if w.cfg.Engine != EngineGoSMTP {
		newDialog(w).run()
		return
	}
	for first := true; first || w.upgrade; first = false {
		w.upgrade = false
		runGoSMTP(w, newGuard(w, !first))
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
