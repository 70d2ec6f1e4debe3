package app

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/postern-mail/postern/internal/config"
	"github.com/postern-mail/postern/internal/control"
)

// controlEnds is how long the end waits for answers to commands.
const controlEnds = 2 * time.Second

// openControl lets commands speak to the gateway. That another gateway runs on the same state is an error; a file system that has
// no sockets is none: mail goes on without.
func (g *gateway) openControl(cfg *config.Config) error {
	l, err := control.Listen(controlSocket(cfg))
	switch {
	case errors.Is(err, control.ErrInUse):
		return err
	case err != nil:
		g.log.Error("no control socket: commands can't speak to this gateway", "error", err)
		return nil
	}
	g.control = control.Serve(l, g.answers(), g.log)
	g.log.Info("listening", "listener", "control", "address", l.Addr().String())
	return nil
}

func controlSocket(cfg *config.Config) string {
	return filepath.Join(cfg.State.Directory, control.Name)
}

// running finds the gateway that runs on the configured state. The error is control.ErrNotRunning where none does, and an Exit
// where it can't be asked.
func (a *App) running(ctx context.Context, cfg *config.Config) (*control.Client, error) {
	c, err := control.Dial(ctx, controlSocket(cfg))
	switch {
	case errors.Is(err, control.ErrNotRunning):
		return nil, err
	case err != nil:
		return nil, exit(ExitUnavailable, "%v", err)
	}
	return c, nil
}

// answered gives an error of a question to a running gateway the exit code that it stands for.
func answered(err error) error {
	var e *control.Error
	var write *writeError
	var known *Exit
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		return known
	case errors.As(err, &write):
		return exit(ExitCannotWrite, "%s", visible(err.Error()))
	case errors.Is(err, context.Canceled):
		return exit(ExitUnavailable, "interrupted")
	case !errors.As(err, &e):
		return exit(ExitUnavailable, "%s", visible(err.Error()))
	}
	code, ok := map[control.Kind]int{
		control.Usage: ExitUsage, control.Missing: ExitData, control.Data: ExitData, control.Unavailable: ExitUnavailable, control.Config: ExitConfig,
		control.CannotWrite: ExitCannotWrite,
	}[e.Kind]
	if !ok {
		code = ExitSoftware
	}
	return exit(code, "%s", visible(e.Text))
}

// answers is what commands may ask.
func (g *gateway) answers() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /v1/status", control.Handle(func(w http.ResponseWriter, _ *http.Request) error {
		return control.Send(w, g.account())
	}))
	mux.Handle("POST /v1/recipients/flush", control.Handle(g.flush))
	g.answerLearner(mux)
	answerQueue(mux, localQueue{q: g.queue, noted: g.ordered})
	return g.countingPanics(mux)
}

// countingPanics counts the panics of a handler. They end its answer, and stand in the log.
func (g *gateway) countingPanics(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if v := recover(); v != nil {
				g.metrics.Panic()
				panic(v) // net/http logs it
			}
		}()
		h.ServeHTTP(w, r)
	})
}

// account is how a running gateway is.
type account struct {
	Version      string     `json:"version"`
	Revision     string     `json:"revision,omitempty"`
	Hostname     string     `json:"hostname"`
	PID          int        `json:"pid"`
	State        string     `json:"state"` // running, draining
	Since        time.Time  `json:"since"`
	Config       string     `json:"config"`
	Taken        time.Time  `json:"config_taken"`
	Refused      *time.Time `json:"config_refused,omitempty"`
	Connections  int        `json:"connections"`
	Transactions int        `json:"transactions"`
}

func (g *gateway) account() account {
	a := account{
		Version: Version, Revision: Revision, Hostname: g.cfg.Load().Hostname, PID: os.Getpid(), State: "running", Since: g.since,
		Config: g.app.o.Config, Refused: g.refused.Load(),
	}
	if !g.ready.Load() {
		a.State = "draining"
	}
	if t := g.taken.Load(); t != nil {
		a.Taken = *t
	}
	a.Connections, a.Transactions = g.connections()
	return a
}
