package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/smtp"
	"os"
	osuser "os/user"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postern-mail/postern/internal/control"
	"github.com/postern-mail/postern/internal/peertest"
	"github.com/postern-mail/postern/internal/spool"
	"github.com/postern-mail/postern/upstream/queue"
)

func TestQueueList(t *testing.T) {
	eitherWay(t, 250, func(t *testing.T, o *operatedApp) {
		ids := o.ids
		for _, c := range []struct {
			name string
			o    QueueListOptions
			want []string
		}{
			{"all", QueueListOptions{Limit: -1}, ids},
			{"first page", QueueListOptions{Limit: 10}, ids[:10]},
			{"next page", QueueListOptions{Limit: 10, After: ids[9]}, ids[10:20]},
			{"last page", QueueListOptions{Limit: 10, After: ids[245]}, ids[246:]},
			{"behind the last", QueueListOptions{After: ids[249]}, nil},
			{"to", QueueListOptions{Flags: flags(queue.Filter{To: "U7@example.org"})}, ids[7:8]},
			{"to a domain", QueueListOptions{Flags: flags(queue.Filter{To: "@else.example"})}, ids[2:3]},
			{"upstream", QueueListOptions{Flags: flags(queue.Filter{Upstream: "y"})}, ids[2:3]},
			{"from", QueueListOptions{Limit: 2, Flags: flags(queue.Filter{From: "b@two.example"})}, []string{ids[1], ids[3]}},
			{"state", QueueListOptions{Flags: flags(queue.Filter{State: queue.StateHold})}, nil},
			{"null", QueueListOptions{Flags: flags(queue.Filter{From: "<>"})}, nil},
		} {
			if got := o.listed(t, c.o); !slices.Equal(got, c.want) && len(got)+len(c.want) > 0 {
				t.Errorf("%s: %v, want %v", c.name, got, c.want)
			}
		}
		o.did(t, 0, o.QueueList(t.Context(), QueueListOptions{Limit: 0}))
		out, errs := o.did(t, 0, o.QueueList(t.Context(), QueueListOptions{Limit: -1}))
		if n := strings.Count(out, "\n"); n != 1+pageOfQueue+1 { // one has two groups
			t.Errorf("%d lines for people:\n%s", n, out)
		}
		if errs != "postern: there are more: --after "+o.place(t, ids[pageOfQueue-1])+"\n" {
			t.Errorf("told: %s", errs)
		}
		for _, want := range []string{"ID ", ids[0], "active", "<a@one.example>", "u0@example.org", "v@else.example +1"} {
			if !strings.Contains(out, want) {
				t.Errorf("no %q in\n%.1000s", want, out)
			}
		}
	})
}

// place gives the place of a message in the list.
func (o *operatedApp) place(t *testing.T, id string) string {
	t.Helper()
	out, _ := o.did(t, 0, o.QueueShow(t.Context(), id, true, false))
	var m queue.Listed
	if err := json.Unmarshal([]byte(out), &m); err != nil {
		t.Fatal(err)
	}
	return queue.Place{Taken: m.Time, ID: m.ID}.String()
}

// A page goes on where the one before has ended, though the message there is delivered since; what is no message's id is no place.
func TestQueueAfter(t *testing.T) {
	eitherWay(t, 5, func(t *testing.T, o *operatedApp) {
		place := o.place(t, o.ids[1])
		o.did(t, 0, o.QueueRemove(t.Context(), QueueSelection{IDs: o.ids[1:2]}, false))
		if got := o.listed(t, QueueListOptions{After: place}); !slices.Equal(got, o.ids[2:]) {
			t.Errorf("behind what has ended: %v", got)
		}
		for after, code := range map[string]int{"a b": ExitUsage, "x/" + o.ids[0]: ExitUsage, o.ids[1]: ExitData} {
			if out, errs := o.did(t, code, o.QueueList(t.Context(), QueueListOptions{After: after})); strings.Contains(out, o.ids[0]) || !strings.Contains(errs, "--after") {
				t.Errorf("%q: %s%s", after, out, errs)
			}
		}
	})
}

// Whoever reads a list, or a message, slowly keeps neither the spool from a gateway that starts, nor the gateway.
func TestQueueSlowReader(t *testing.T) {
	o := operateApp(t, false, 300)
	wrote := 0
	o.App.o.Stdout = writerFunc(func(p []byte) (int, error) {
		if wrote++; wrote == 1 {
			s, err := spool.Open(spoolDir(o.cfg), spool.Options{})
			if err != nil {
				t.Fatalf("the spool is not free: %v", err)
			}
			s.Close()
		}
		return len(p), nil
	})
	for name, f := range map[string]func() error{
		"ls":      func() error { return o.QueueList(t.Context(), QueueListOptions{JSON: true}) },
		"show":    func() error { return o.QueueShow(t.Context(), o.ids[1], false, false) },
		"content": func() error { return o.QueueShow(t.Context(), o.ids[1], false, true) },
	} {
		if wrote = 0; f() != nil || wrote == 0 {
			t.Errorf("%s: %d writes", name, wrote)
		}
	}
}

// A gateway gives a long list in pages, of which some have nothing that is meant; what could not be read is told in the end.
func TestQueuePages(t *testing.T) {
	o := operateApp(t, false, 0)
	l, err := control.Listen(controlSocket(o.cfg))
	if err != nil {
		t.Fatal(err)
	}
	pages := map[string]string{
		"": `{"messages":[{"id":"a"},{"id":"b"}],"next":"1"}`, "1": `{"messages":[],"next":"2","fault":{"kind":"data","error":"c: damaged"}}`,
		"2": `{"messages":[{"id":"d"}],"next":"3","fault":{"kind":"data","error":"e: damaged"}}`, "3": `{"messages":[{"id":"f"},{"id":"g"}]}`,
	}
	mux := http.NewServeMux()
	mux.Handle("GET /v1/queue", control.Handle(func(w http.ResponseWriter, r *http.Request) error {
		if after := r.FormValue("after"); after == "2" && r.FormValue("limit") != "" && r.FormValue("limit") != "1" {
			return control.Errorf(control.Usage, "limit %s", r.FormValue("limit"))
		}
		_, err := w.Write([]byte(pages[r.FormValue("after")]))
		return err
	}))
	server := control.Serve(l, mux, slog.New(slog.DiscardHandler))
	defer server.Close(time.Second)
	out, errs := o.did(t, ExitData, o.QueueList(t.Context(), QueueListOptions{JSON: true}))
	if strings.Count(out, "\n") != 5 || !strings.Contains(out, `"id":"g"`) || errs != "postern: c: damaged\n" {
		t.Errorf("%s%s", out, errs)
	}
	out, errs = o.did(t, ExitData, o.QueueList(t.Context(), QueueListOptions{JSON: true, Limit: 2}))
	if strings.Count(out, "\n") != 2 || !strings.Contains(errs, "there are more: --after 0001-01-01T00:00:00Z/b\n") {
		t.Errorf("two of them: %s%s", out, errs)
	}
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestQueueShow(t *testing.T) {
	eitherWay(t, 3, func(t *testing.T, o *operatedApp) {
		out, _ := o.did(t, 0, o.QueueShow(t.Context(), o.ids[2], false, false))
		for _, want := range []string{o.ids[2], "n° 2", `out\u001b[2J`, "192.0.2.1", "upstream", "w@else.example", "its sender can't be told"} {
			if !strings.Contains(out, want) {
				t.Errorf("no %q in\n%s", want, out)
			}
		}
		out, _ = o.did(t, 0, o.QueueShow(t.Context(), o.ids[2], true, false))
		var m queue.Listed
		if err := json.Unmarshal([]byte(out), &m); err != nil || m.ID != o.ids[2] || len(m.Groups) != 2 {
			t.Errorf("%v\n%s", err, out)
		}
		out, _ = o.did(t, 0, o.QueueShow(t.Context(), o.ids[2], false, true))
		if out != "Subject: =?utf-8?q?n=C2=B0?= 2\r\n\r\nbody\r\n" {
			t.Errorf("content %q", out)
		}
		for _, id := range []string{"mx-nobody", "", "..", "../x", "a/b", "a\nb", strings.Repeat("x", 5000)} {
			for _, content := range []bool{false, true} {
				if _, errs := o.did(t, ExitData, o.QueueShow(t.Context(), id, false, content)); !strings.Contains(errs, "not in the queue") {
					t.Errorf("%q: %s", id, errs)
				}
			}
		}
	})
}

func TestQueueOperate(t *testing.T) {
	eitherWay(t, 600, func(t *testing.T, o *operatedApp) {
		ctx := t.Context()
		held := QueueListOptions{Limit: 0, Flags: flags(queue.Filter{State: queue.StateHold})}
		out, errs := o.did(t, 0, o.QueueHold(ctx, QueueSelection{IDs: o.ids[:2]}))
		if want := o.ids[0] + ": held\n" + o.ids[1] + ": held\n"; out != want || errs != "" {
			t.Errorf("hold: %q %q", out, errs)
		}
		if got := o.listed(t, held); !slices.Equal(got, o.ids[:2]) {
			t.Errorf("held: %v", got)
		}
		out, errs = o.did(t, ExitData, o.QueueRelease(ctx, QueueSelection{IDs: []string{"mx-nobody", o.ids[0], "a b"}}))
		if out != o.ids[0]+": released\n1 released, 2 failed\n" || errs != "mx-nobody: not in the queue\na b: not in the queue\n" {
			t.Errorf("release: %q %q", out, errs)
		}
		if got := o.listed(t, held); !slices.Equal(got, o.ids[1:2]) {
			t.Errorf("still held: %v", got)
		}
		if out, _ = o.did(t, 0, o.QueueRetry(ctx, QueueSelection{All: true})); out != "599 to be tried now, 1 on hold\n" {
			t.Errorf("retry: %q", out)
		}
		if out, _ = o.did(t, 0, o.QueueHold(ctx, QueueSelection{All: true, Flags: flags(queue.Filter{From: "@TWO.example"})})); out != "300 held\n" {
			t.Errorf("hold a domain: %q", out)
		}
		if out, _ = o.did(t, 0, o.QueueRemove(ctx, QueueSelection{All: true, Flags: flags(queue.Filter{State: queue.StateHold})}, true)); out != "300 removed\n" {
			t.Errorf("rm what is held: %q", out)
		}
		if got := o.listed(t, QueueListOptions{}); len(got) != 300 || got[1] != o.ids[2] {
			t.Errorf("left: %d", len(got))
		}
		if out, _ = o.did(t, 0, o.QueueRemove(ctx, QueueSelection{IDs: o.ids[:1]}, true)); out != o.ids[0]+": removed\n" {
			t.Errorf("rm: %q", out)
		}
		for name, s := range map[string]QueueSelection{
			"nothing": {}, "both": {IDs: o.ids[:1], All: true}, "a filter alone": {Flags: flags(queue.Filter{To: "x"})},
			"a filter and ids": {IDs: o.ids[:1], Flags: flags(queue.Filter{To: "x"})},
		} {
			if out, errs := o.did(t, ExitUsage, o.QueueRemove(ctx, s, true)); out != "" || errs == "" {
				t.Errorf("%s: %q %q", name, out, errs)
			}
		}
		if got := o.listed(t, QueueListOptions{}); len(got) != 299 {
			t.Errorf("left in the end: %d", len(got))
		}
	})
}

// What is done is done to those who are meant, and to nobody else: a message may wait for several.
func TestQueueOperatePart(t *testing.T) {
	eitherWay(t, 4, func(t *testing.T, o *operatedApp) {
		ctx := t.Context()
		waits := func(want ...string) {
			t.Helper()
			out, _ := o.did(t, 0, o.QueueShow(ctx, o.ids[2], true, false))
			var m queue.Listed
			if err := json.Unmarshal([]byte(out), &m); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, g := range m.Groups {
				for _, r := range g.To {
					if r.State == recipientWaits {
						got = append(got, r.Address+" "+g.State)
					}
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%q wait, not %q", got, want)
			}
		}
		selected := func(f queue.Filter) QueueSelection { return QueueSelection{All: true, Flags: flags(f)} }
		out, _ := o.did(t, 0, o.QueueHold(ctx, selected(queue.Filter{To: "v@else.example"})))
		if out != "1 held\n1 of them for others too, since all of a message for one upstream is tried at once; recipients who were not meant: 1\n" {
			t.Errorf("hold: %q", out)
		}
		waits("u2@example.org active", "v@else.example hold", "w@else.example hold")
		if out, _ := o.did(t, 0, o.QueueRelease(ctx, selected(queue.Filter{Upstream: "y"}))); out != "1 released\n" {
			t.Errorf("release: %q", out)
		}
		out, _ = o.did(t, 0, o.QueueRemove(ctx, selected(queue.Filter{To: "@else.example", Upstream: "x"}), true))
		if out != "0 removed\n" {
			t.Errorf("rm of nobody: %q", out)
		}
		out, _ = o.did(t, 0, o.QueueRemove(ctx, selected(queue.Filter{To: "V@else.example"}), true))
		if out != "1 removed\n1 of them in part; recipients who still wait: 2\n" {
			t.Errorf("rm of one: %q", out)
		}
		waits("u2@example.org active", "w@else.example active")
		out, _ = o.did(t, 0, o.QueueRemove(ctx, selected(queue.Filter{Upstream: "x"}), true))
		if out != "4 removed\n1 of them in part; recipients who still wait: 1\n" {
			t.Errorf("rm for an upstream: %q", out)
		}
		waits("w@else.example active")
		if out, _ = o.did(t, 0, o.QueueRemove(ctx, selected(queue.Filter{To: "w@else.example"}), true)); out != "1 removed\n" {
			t.Errorf("rm of the last: %q", out)
		}
		if got := o.listed(t, QueueListOptions{}); len(got) != 0 {
			t.Errorf("left: %v", got)
		}
	})
}

// A flag that says nothing, or can mean nothing, means not everything, and not nothing either.
func TestQueueFlags(t *testing.T) {
	eitherWay(t, 3, func(t *testing.T, o *operatedApp) {
		ctx := t.Context()
		for name, f := range map[string]QueueFlags{
			"--from is empty": {From: new(string)}, "--to is empty": {To: new(string)}, "--upstream is empty": {Upstream: new(string)},
			"--state is empty":       {State: new(string)},
			"--from bob: is neither": flags(queue.Filter{From: "bob"}), "--from *@one.example: ": flags(queue.Filter{From: "*@one.example"}),
			"--to <>: ": flags(queue.Filter{To: "<>"}), "--to @: ": flags(queue.Filter{To: "@"}), "--from a b@x: ": flags(queue.Filter{From: "a b@x"}),
			"there are: x":           flags(queue.Filter{Upstream: "smarthots"}),
			"active, deferred, hold": flags(queue.Filter{State: "sleeping"}),
		} {
			for _, err := range []error{
				o.QueueRemove(ctx, QueueSelection{All: true, Flags: f}, true), o.QueueList(ctx, QueueListOptions{Flags: f}),
				o.QueueExport(ctx, t.TempDir(), QueueSelection{All: true, Flags: f}),
			} {
				if out, errs := o.did(t, ExitUsage, err); out != "" || !strings.Contains(errs, name) {
					t.Errorf("%s: %q %q", name, out, errs)
				}
			}
		}
		if _, errs := o.did(t, ExitUsage, o.QueueRemove(ctx, QueueSelection{All: true}, false)); !strings.Contains(errs, "--yes") {
			t.Errorf("everything: %s", errs)
		}
		if got := o.listed(t, QueueListOptions{Flags: flags(queue.Filter{Upstream: "y"})}); len(got) != 1 {
			t.Errorf("an upstream that only the queue has: %v", got)
		}
		if got := o.listed(t, QueueListOptions{}); len(got) != 3 {
			t.Errorf("left: %v", got)
		}
		o.did(t, 0, o.QueueRemove(ctx, QueueSelection{All: true}, true))
	})
}

// A message that is damaged on the disk is told, and stops no other.
func TestQueueDamaged(t *testing.T) {
	eitherWay(t, 5, func(t *testing.T, o *operatedApp) {
		found := 0
		err := filepath.WalkDir(spoolDir(o.cfg), func(path string, d os.DirEntry, err error) error {
			if err != nil || !strings.HasPrefix(d.Name(), o.ids[1]) {
				return err
			}
			found++
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			b[bytes.Index(b, []byte("u1@example.org"))] ^= 1 // in the record
			return errors.Join(os.Chmod(path, 0o600), os.WriteFile(path, b, 0o600))
		})
		if err != nil || found != 1 {
			t.Fatalf("%d files: %v", found, err)
		}
		code, told := ExitData, "damaged"
		if o.q == nil {
			code = 0 // it is set aside before anything is asked
		}
		out, errs := o.did(t, code, o.QueueList(t.Context(), QueueListOptions{}))
		if strings.Count(out, "\n") != 6 && strings.Count(out, "\n") != 5 || !strings.Contains(errs, told) || !strings.Contains(errs, o.ids[1]) {
			t.Errorf("%s%s", out, errs)
		}
		out, errs = o.did(t, code, o.QueueHold(t.Context(), QueueSelection{All: true}))
		if !strings.HasPrefix(out, "4 held") || strings.Contains(errs, "damaged") != (o.q != nil) {
			t.Errorf("%s%s", out, errs)
		}
	})
}

// Where nothing was ever spooled nothing is made, and nothing is there.
func TestQueueWithoutSpool(t *testing.T) {
	o := operateApp(t, false, 0)
	if out, errs := o.did(t, 0, o.QueueList(t.Context(), QueueListOptions{JSON: true})); out != "" || !strings.Contains(errs, "there is no spool") {
		t.Errorf("%q %q", out, errs)
	}
	o.did(t, ExitData, o.QueueShow(t.Context(), "mx-x", false, false))
	o.did(t, ExitData, o.QueueShow(t.Context(), "mx-x", false, true))
	o.did(t, ExitData, o.QueueHold(t.Context(), QueueSelection{IDs: []string{"mx-x"}}))
	o.did(t, 0, o.QueueRemove(t.Context(), QueueSelection{All: true}, true))
	if _, err := os.Stat(spoolDir(o.cfg)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a folder: %v", err)
	}
}

// While another command has the spool, and where it is another user's and root would make files in it.
func TestQueueNotOurs(t *testing.T) {
	o := operateApp(t, false, 1)
	s, err := spool.Open(spoolDir(o.cfg), spool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	o.did(t, ExitUnavailable, o.QueueList(t.Context(), QueueListOptions{}))
	s.Close()
	if os.Geteuid() != 0 {
		peertest.Missing(t, "POSTERN_PEERS", "the right to be another user: run as root")
	}
	if err := os.Chown(spoolDir(o.cfg), 65534, 65534); err != nil {
		t.Fatal(err)
	}
	if _, errs := o.did(t, ExitUnavailable, o.QueueList(t.Context(), QueueListOptions{})); !strings.Contains(errs, "sudo -u "+nobodyName()) {
		t.Errorf("%s", errs)
	}
}

// nobodyName is the name of the user 65534, for sudo.
func nobodyName() string {
	u, err := osuser.LookupId("65534")
	if err != nil {
		return "#65534"
	}
	return u.Username
}

// Records of the quarantine that root had written would be lost to the gateway, which runs as another user.
func TestQuarantineNotOurs(t *testing.T) {
	if os.Geteuid() != 0 {
		peertest.Missing(t, "POSTERN_PEERS", "the right to be another user: run as root")
	}
	o := operateApp(t, false, 0)
	for _, dir := range []string{o.cfg.State.Directory, quarantineDir(o.cfg)} { // where it is made, and where it is
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(dir, 65534, 65534); err != nil {
			t.Fatal(err)
		}
		for name, f := range map[string]func() error{
			"release": func() error { return o.QuarantineRelease(t.Context(), []string{"mx-1"}, nil, false) },
			"settle":  func() error { return o.QuarantineSettle("mx-1", true) },
			"rm":      func() error { return o.QuarantineRemove([]string{"mx-1"}) },
		} {
			if _, errs := o.did(t, ExitUnavailable, f()); !strings.Contains(errs, "sudo -u "+nobodyName()) {
				t.Errorf("%s: %s", name, errs)
			}
		}
	}
	if files, err := os.ReadDir(quarantineDir(o.cfg)); err != nil || len(files) > 0 {
		t.Errorf("made there: %v %v", files, err)
	}
}

// slowSpool is a spool that is being read.
type slowSpool struct {
	*spool.Store
	read chan struct{}
}

func (s slowSpool) IDs() ([]string, error) {
	<-s.read
	return s.Store.IDs()
}

// While the spool is being read, nobody is told that a message is not there which is.
func TestQueueStillRead(t *testing.T) {
	o := operateApp(t, false, 2)
	synctest.Test(t, func(t *testing.T) {
		s, err := spool.Open(spoolDir(o.cfg), spool.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		slow := slowSpool{s, make(chan struct{})}
		l := localQueue{q: queue.New(queue.Options{Store: slow, Log: slog.New(slog.DiscardHandler)}, queue.Settings{Parallel: 1})}
		defer l.q.Close(context.Background())
		nothing := func(operated) error { return nil }
		_, err = l.get(t.Context(), o.ids[0])
		for _, err := range []error{err, l.operate(t.Context(), queue.Hold, o.ids, queue.Filter{}, nothing)} {
			var fault *control.Error
			if !errors.As(err, &fault) || fault.Kind != control.Unavailable || !strings.Contains(fault.Text, "still being read") {
				t.Errorf("%v", err)
			}
		}
		time.AfterFunc(5*time.Second, func() { close(slow.read) })
		err = l.operate(t.Context(), queue.Hold, o.ids, queue.Filter{}, func(r operated) error { return r.err() })
		if m, err2 := l.get(t.Context(), o.ids[0]); err != nil || err2 != nil || m.Groups[0].State != queue.StateHold {
			t.Errorf("when it is read: %v %v %+v", err, err2, m)
		}
	})
}

// On a terminal it is shown how far a long command is, on one line that goes again.
func TestTally(t *testing.T) {
	var out, errs bytes.Buffer
	tl := &tally{a: &App{o: Options{Stdout: &out, Stderr: &errs}}, what: "removed", all: true, terminal: true, total: 6}
	for i, err := range []error{nil, nil, control.Errorf(control.Missing, "2: gone"), control.Errorf(control.Unavailable, "3: busy\x1b"), nil} {
		tl.shown = time.Time{}
		if i == 1 {
			tl.shown = time.Now().Add(time.Hour)
		}
		tl.add(fmt.Sprint(i), err)
	}
	var end *Exit
	if err := tl.end(nil); !errors.As(err, &end) || end.Code != ExitUnavailable || end.Err != nil {
		t.Errorf("%v", err)
	}
	if got, want := errs.String(), "\r1 of 6\r3 of 6\r\x1b[K3: busy\\u001b\n\r4 of 6\r5 of 6\r\x1b[K"; got != want {
		t.Errorf("told %q, want %q", got, want)
	}
	if got, want := out.String(), "3 removed, 1 gone meanwhile, 1 failed, 1 not done\n"; got != want {
		t.Errorf("sum %q, want %q", got, want)
	}
}

// An operator holds a message of a gateway that runs, and lets it go.
func TestQueueOfGateway(t *testing.T) {
	backendAddr := peertest.FreeAddr(t)
	g := startGateway(t, "hostname: mx.example.org\nlisteners: {office: {address: \"127.0.0.1:0\", relay: {networks: [127.0.0.0/8]}}}\n"+
		"routes: [{to: [example.org], upstream: x, spool: true}]\nupstreams: {x: {servers: [\""+backendAddr+"\"], tls: none}}\n"+
		"state: {directory: \"{{dir}}/state\"}\nfilters: []\n")
	for i := range 3 {
		content := fmt.Sprintf("Subject: %d\r\n\r\nbody\r\n", i)
		if err := smtp.SendMail(g.addr, nil, "ann@example.com", []string{"bob@example.org"}, []byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	o := &operatedApp{out: &bytes.Buffer{}, errs: &bytes.Buffer{}, cfg: g.cfg.Load()}
	var err error
	if o.App, err = New(Options{Config: g.app.o.Config, ConfigGiven: true, Stdin: strings.NewReader(""), Stdout: o.out, Stderr: o.errs}); err != nil {
		t.Fatal(err)
	}
	ids := o.listed(t, QueueListOptions{})
	if len(ids) != 3 {
		t.Fatalf("in the queue: %v", ids)
	}
	o.did(t, 0, o.QueueHold(t.Context(), QueueSelection{IDs: ids[1:2]}))
	backendAt(t, backendAddr, nil)
	o.did(t, 0, o.QueueRetry(t.Context(), QueueSelection{All: true}))
	left := func(want ...string) {
		t.Helper()
		var got []string
		if !comesTrue(func() bool { got = o.listed(t, QueueListOptions{}); return slices.Equal(got, want) }) {
			t.Fatalf("in the queue are %v, not %v", got, want)
		}
	}
	left(ids[1])
	if out, _ := o.did(t, 0, o.QueueShow(t.Context(), ids[1], false, false)); !strings.Contains(out, "hold") || !strings.Contains(out, "ann@example.com") {
		t.Errorf("what is held:\n%s", out)
	}
	if out, _ := o.did(t, 0, o.QueueShow(t.Context(), ids[1], false, true)); !strings.Contains(out, "Subject: 1\r\n") {
		t.Errorf("its content: %q", out)
	}
	o.did(t, 0, o.QueueRelease(t.Context(), QueueSelection{All: true, Flags: flags(queue.Filter{State: queue.StateHold})}))
	left()
	o.did(t, ExitData, o.QueueShow(t.Context(), ids[1], false, false))
	for _, want := range []string{
		`"msg":"queue operation","id":"` + ids[1] + `","operation":"hold","from":"ann@example.com","recipients":["bob@example.org"],"count":1`,
		`"id":"` + ids[1] + `","operation":"release"`, `"id":"` + ids[0] + `","operation":"retry"`,
	} {
		if !strings.Contains(g.log.String(), want) {
			t.Errorf("the log lacks %s", want)
		}
	}
	if n := strings.Count(g.log.String(), `"operation":"hold"`); n != 1 {
		t.Errorf("%d lines about hold", n)
	}
}
