package app

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/postern-mail/postern/filter"
)

const memoryGateway = `
hostname: mx.example.org
listeners: {public: {address: "127.0.0.1:0"}}
routes: [{to: [example.org], upstream: local}]
upstreams: {local: {maildir: "{{dir}}/mail"}}
state: {directory: "{{dir}}/state"}
filters: [{counting: {}}]
`

// counting is a filter that remembers how many recipients it has seen, and defers every other one.
var counting = filter.Factory{Kind: "counting", New: func(env filter.Env, decode func(any) error) (filter.Spec, filter.Filter, error) {
	var none struct{}
	tab := env.State.Table(env.Name+"/seen", filter.TableOptions{})
	check := func(context.Context, *filter.Input) (filter.Result, error) {
		r, err := tab.Update(filter.DigestOf("all"), func(r filter.Record, _ bool) filter.Record {
			r.Count++
			r.Expires = time.Now().Add(time.Hour)
			return r
		})
		if r.Count%2 == 1 {
			return filter.Result{Propose: filter.Defer}, err
		}
		return filter.Result{}, err
	}
	return filter.Spec{Phases: filter.In(filter.Rcpt)}, filter.Func(check), decode(&none)
}}

// restart closes a gateway and starts it again, with the same configuration and state.
func (g *testGateway) restart(t *testing.T) {
	t.Helper()
	g.close()
	cfg, err := g.app.load()
	if err != nil {
		t.Fatal(err)
	}
	next, err := g.app.start(context.Background(), cfg, slog.New(slog.NewJSONHandler(g.log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(next.close)
	g.gateway, g.addr = next, next.listeners[0].net.Addr().String()
}

// TestMemoryOutlivesARestart, and a damaged file only costs what was in it.
func TestMemoryOutlivesARestart(t *testing.T) {
	g := startGatewayWith(t, memoryGateway, counting)
	try := func() string {
		t.Helper()
		reply, err := sample{from: "a@client.test", to: "u@example.org", content: []byte("Subject: x\r\n\r\nx\r\n")}.send(context.Background(), g.addr)
		if err != nil {
			t.Fatal(err)
		}
		return reply[:3]
	}
	if got := try(); got != "451" {
		t.Fatalf("at first: %s", got)
	}
	g.restart(t)
	if got := try(); got != "250" {
		t.Errorf("after a restart: %s", got)
	}
	file := filepath.Join(g.dir, "state", "ledger.db")
	if err := os.WriteFile(file+"-wal", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	g.close()
	if err := os.WriteFile(file, []byte(strings.Repeat("damaged ", 10_000)), 0o600); err != nil {
		t.Fatal(err)
	}
	g.restart(t)
	if first, second := try(), try(); first != "451" || second != "250" {
		t.Errorf("with a damaged file: %s, %s", first, second)
	}
	if !strings.Contains(g.log.String(), "ledger's file is damaged") {
		t.Error("the damage is not told")
	}
	if _, err := os.Stat(file + ".damaged"); err != nil {
		t.Error(err)
	}
}

// TestNewerLedgerIsRefused as other stores of a newer version are.
func TestNewerLedgerIsRefused(t *testing.T) {
	g := startGatewayWith(t, memoryGateway, counting)
	g.close()
	db, err := sql.Open("sqlite", filepath.Join(g.dir, "state", "ledger.db"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), "PRAGMA user_version=99"); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	cfg, err := g.app.load()
	if err != nil {
		t.Fatal(err)
	}
	var code *Exit
	if _, err := g.app.start(context.Background(), cfg, slog.New(slog.DiscardHandler)); !errors.As(err, &code) || code.Code != ExitConfig {
		t.Errorf("%v", err)
	}
}
