package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/config"
	"github.com/postern-mail/postern/internal/control"
	"github.com/postern-mail/postern/internal/spool"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/upstream/queue"
)

// fillSpool puts messages into a spool: from a@one.example and b@two.example by turns, each for one recipient of example.org, the
// third of all for two of them at different upstreams.
func fillSpool(t testing.TB, cfg *config.Config, n int) (ids []string) {
	t.Helper()
	s, err := spool.Open(spoolDir(cfg), spool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	begin := time.Now().Add(-time.Hour)
	var all sync.WaitGroup
	slots := make(chan bool, 64)
	for i := range n {
		slots <- true
		ids = append(ids, fmt.Sprintf("mx-%018d", i+1))
		all.Go(func() { putWaiting(t, s, i, begin.Add(time.Duration(i)*time.Second)); <-slots })
	}
	all.Wait()
	return ids
}

func putWaiting(t testing.TB, s *spool.Store, i int, at time.Time) {
	content := mail.NewBlob(fmt.Appendf(nil, "Subject: =?utf-8?q?n=C2=B0?= %d\r\n\r\nbody\r\n", i))
	defer content.Release()
	m := mail.NewMessage(content)
	defer m.Release()
	e := spool.Entry{
		ID: fmt.Sprintf("mx-%018d", i+1), Time: at, From: []string{"a@one.example", "b@two.example"}[i%2],
		Client: spool.Client{Addr: netip.MustParseAddrPort("192.0.2.1:2525"), Helo: "out\x1b[2J"}, Subject: fmt.Sprintf("=?utf-8?q?n=C2=B0?= %d", i),
		Groups: []spool.Group{{Route: "example.org", Upstream: "x", To: []spool.Recipient{{Address: fmt.Sprintf("u%d@example.org", i)}}}},
	}
	messages := []*mail.Message{m}
	if i == 2 {
		e.Groups = append(e.Groups, spool.Group{Route: "*", Upstream: "y", To: []spool.Recipient{{Address: "v@else.example"}, {Address: "w@else.example"}}})
		messages = append(messages, m)
	}
	if err := s.Put(t.Context(), e, content, messages); err != nil {
		t.Error(err)
	}
}

// operatedApp is an App whose commands go to a spool: by way of a control socket, or not.
type operatedApp struct {
	*App
	cfg       *config.Config
	out, errs *bytes.Buffer
	ids       []string
	q         *queue.Queue // of what answers on the control socket
}

func operateApp(t *testing.T, running bool, n int) *operatedApp {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "postern.yaml")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(controlConfig, "{{dir}}", dir)), 0o600); err != nil {
		t.Fatal(err)
	}
	o := &operatedApp{out: &bytes.Buffer{}, errs: &bytes.Buffer{}}
	var err error
	if o.App, err = New(Options{Config: file, ConfigGiven: true, Stdin: strings.NewReader(""), Stdout: o.out, Stderr: o.errs}); err != nil {
		t.Fatal(err)
	}
	if o.cfg, err = o.load(); err != nil {
		t.Fatal(err)
	}
	if n > 0 {
		o.ids = fillSpool(t, o.cfg, n)
	} else if err := os.MkdirAll(o.cfg.State.Directory, 0o700); err != nil {
		t.Fatal(err)
	}
	if running {
		s, err := spool.Open(spoolDir(o.cfg), spool.Options{})
		if err != nil {
			t.Fatal(err)
		}
		l, err := control.Listen(controlSocket(o.cfg))
		if err != nil {
			t.Fatal(err)
		}
		o.q = queue.New(queue.Options{Store: s, Idle: true, Log: slog.New(slog.DiscardHandler)}, queue.Settings{})
		mux := http.NewServeMux()
		answerQueue(mux, localQueue{q: o.q})
		server := control.Serve(l, mux, slog.New(slog.DiscardHandler))
		t.Cleanup(func() {
			server.Close(time.Second)
			o.q.Close(context.Background())
			_ = s.Close()
		})
	}
	return o
}

// did runs a command and compares its exit code; it gives standard output and standard error.
func (o *operatedApp) did(t *testing.T, code int, err error) (out, errs string) {
	t.Helper()
	got := 0
	if err != nil {
		got = ExitSoftware
		var end *Exit
		if errors.As(err, &end) {
			if got = end.Code; end.Err != nil {
				fmt.Fprintln(o.errs, end.Err)
			}
		}
	}
	out, errs = o.out.String(), strings.ReplaceAll(o.errs.String(), "postern: no gateway runs: working on the spool itself\n", "")
	o.out.Reset()
	o.errs.Reset()
	if got != code {
		t.Errorf("exit code %d, not %d: %v\n%s%s", got, code, err, out, errs)
	}
	return out, errs
}

// flags gives the flags for what a filter has.
func flags(f queue.Filter) (g QueueFlags) {
	for _, x := range []struct {
		value string
		to    **string
	}{{f.From, &g.From}, {f.To, &g.To}, {f.Upstream, &g.Upstream}, {f.State, &g.State}} {
		if x.value != "" {
			*x.to = &x.value
		}
	}
	return g
}

// listed gives the ids that a list has.
func (o *operatedApp) listed(t *testing.T, l QueueListOptions) []string {
	t.Helper()
	l.JSON = true
	out, _ := o.did(t, 0, o.QueueList(t.Context(), l))
	ids := []string{}
	for line := range strings.Lines(out) {
		var m queue.Listed
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		ids = append(ids, m.ID)
	}
	return ids
}

// eitherWay runs a test with a gateway that runs, and without.
func eitherWay(t *testing.T, n int, f func(t *testing.T, o *operatedApp)) {
	t.Helper()
	for _, running := range []bool{false, true} {
		t.Run(fmt.Sprintf("running=%v", running), func(t *testing.T) { f(t, operateApp(t, running, n)) })
	}
}
