package control

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/net/netutil"
)

// Server answers what comes over a socket.
type Server struct {
	http *http.Server
	addr net.Addr
	done chan struct{}
}

// Serve begins to answer what comes over l by h. It takes l over.
func Serve(l net.Listener, h http.Handler, log *slog.Logger) *Server {
	s := &Server{
		http: &http.Server{
			Handler: h, ReadHeaderTimeout: stall, IdleTimeout: stall, MaxHeaderBytes: 64 << 10,
			ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelError),
		},
		addr: l.Addr(), done: make(chan struct{}),
	}
	go func() {
		defer close(s.done)
		if err := s.http.Serve(netutil.LimitListener(l, maxClients)); !errors.Is(err, http.ErrServerClosed) {
			log.Error("control socket ended", "error", err)
		}
	}()
	return s
}

// Addr gives the socket's place.
func (s *Server) Addr() net.Addr { return s.addr }

// Close takes no more questions, lets those that were asked be answered for at most limit, and ends.
func (s *Server) Close(limit time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if s.http.Shutdown(ctx) != nil {
		_ = s.http.Close()
	}
	<-s.done
}
