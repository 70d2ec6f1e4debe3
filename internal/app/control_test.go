package app

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/control"
)

const controlConfig = "hostname: mx.example.org\nlisteners: {public: {address: \"127.0.0.1:0\"}}\nroutes: [{to: [example.org], upstream: x}]\n" +
	"upstreams: {x: {maildir: \"{{dir}}/mail\"}}\nstate: {directory: \"{{dir}}/state\"}\nfilters: []\n"

// A running gateway tells how it is, keeps others off its state, and leaves no socket behind.
func TestControl(t *testing.T) {
	before := time.Now()
	g := startGateway(t, controlConfig)
	cfg := g.cfg.Load()
	c, err := g.app.running(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var got account
	if err := c.Get(t.Context(), "/v1/status", &got); err != nil {
		t.Fatal(err)
	}
	if got.Version != Version || got.Hostname != "mx.example.org" || got.PID != os.Getpid() || got.State != "running" ||
		got.Config != filepath.Join(g.dir, "postern.yaml") || got.Refused != nil || got.Connections != 0 || got.Transactions != 0 {
		t.Errorf("%+v", got)
	}
	for name, at := range map[string]time.Time{"since": got.Since, "config_taken": got.Taken} {
		if at.Before(before.Round(0)) || at.After(time.Now()) {
			t.Errorf("%s: %s", name, at)
		}
	}
	g.ready.Store(false)
	if err := c.Get(t.Context(), "/v1/status", &got); err != nil || got.State != "draining" {
		t.Errorf("while it drains: %+v %v", got, err)
	}
	g.ready.Store(true)

	var end *Exit
	if _, err = g.app.start(context.Background(), cfg, slog.New(slog.DiscardHandler)); !errors.As(err, &end) {
		t.Errorf("a second gateway: %v", err)
	}
	if err := (&gateway{log: slog.New(slog.DiscardHandler)}).openControl(cfg); !errors.Is(err, control.ErrInUse) {
		t.Errorf("a second socket: %v", err)
	}
	if err := c.Get(t.Context(), "/v1/status", &got); err != nil {
		t.Errorf("after the second one: %v", err)
	}
	g.close()
	if _, err := g.app.running(t.Context(), cfg); !errors.Is(err, control.ErrNotRunning) {
		t.Errorf("afterwards: %v", err)
	}
	if _, err := os.Lstat(controlSocket(cfg)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket: %v", err)
	}
}

// Where there can be no socket, mail goes on.
func TestControlImpossible(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "state", control.Name, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	g := startGateway(t, "hostname: mx.example.org\nlisteners: {public: {address: \"127.0.0.1:0\"}}\nroutes: [{to: [example.org], upstream: x}]\n"+
		"upstreams: {x: {maildir: \""+dir+"/mail\"}}\nstate: {directory: \""+dir+"/state\"}\nfilters: []\n")
	if g.control != nil {
		t.Error("a socket in the place of a folder")
	}
	if len(g.log.lines(t, "no control socket: commands can't speak to this gateway")) != 1 {
		t.Error("the log is silent")
	}
	if _, err := g.app.running(t.Context(), g.cfg.Load()); !errors.Is(err, control.ErrNotRunning) {
		t.Errorf("%v", err)
	}
}

func TestAnswered(t *testing.T) {
	for want, err := range map[int]error{
		ExitUsage: control.Errorf(control.Usage, ""), ExitData: control.Errorf(control.Data, ""), ExitConfig: control.Errorf(control.Config, ""),
		ExitUnavailable: errors.New("cut off"), ExitSoftware: control.Errorf("new", ""),
	} {
		var end *Exit
		if !errors.As(answered(err), &end) || end.Code != want {
			t.Errorf("%v: %v, want %d", err, answered(err), want)
		}
	}
	if err := answered(nil); err != nil {
		t.Error(err)
	}
}
