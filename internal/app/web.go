package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// healthPatience is how long the gateway may take to show that it is alive: less than those who ask wait.
const healthPatience = 2 * time.Second

// web serves /metrics, /healthz and /readyz.
type web struct {
	server *http.Server
	addr   net.Addr
	done   chan struct{}
}

func openWeb(ctx context.Context, address string, g *gateway) (*web, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", g.metrics.Handler())
	health := pulse{check: g.alive}
	var one sync.Mutex // held while health is used
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		one.Lock()
		defer one.Unlock()
		if err := health.beat(r.Context(), healthPatience); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if !g.ready.Load() {
			http.Error(w, "not ready", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ready")
	})
	w := &web{
		server: &http.Server{
			Handler: mux, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute,
			ErrorLog: slog.NewLogLogger(g.log.Handler(), slog.LevelError),
		},
		addr: l.Addr(),
		done: make(chan struct{}),
	}
	go func() {
		defer close(w.done)
		if err := w.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			g.log.Error("metrics listener ended", "error", err)
		}
	}()
	g.log.Info("listening", "listener", "metrics", "address", l.Addr().String())
	return w, nil
}

func (w *web) close() {
	_ = w.server.Close()
	<-w.done
}

// Health asks a running gateway's /healthz; where the configuration has no metrics address, whether something
// answers on its first listener.
func (a *App) Health(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if url == "" {
		cfg, err := a.load()
		if err != nil {
			return err
		}
		if cfg.Metrics.Address == "" {
			var d net.Dialer
			c, err := d.DialContext(ctx, "tcp", reachable(cfg.Listeners[0].Address))
			if err != nil {
				return exit(ExitUnavailable, "%v", err)
			}
			return c.Close()
		}
		url = "http://" + reachable(cfg.Metrics.Address) + "/healthz"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return exit(ExitUsage, "%v", err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return exit(ExitUnavailable, "%v", err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(res.Body, 1000))
	if res.StatusCode != http.StatusOK {
		return exit(ExitUnavailable, "%s: %s: %s", url, res.Status, body)
	}
	_, err = a.o.Stdout.Write(body)
	return err
}

// reachable gives an address to dial for one to listen on.
func reachable(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}
