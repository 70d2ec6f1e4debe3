package learner

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postern-mail/postern/internal/store"
	"github.com/postern-mail/postern/internal/store/storetest"
)

// tended is a store whose Tend runs, and what it has told.
type tended struct {
	*Store
	fsys *storetest.FS
	logs sync.Mutex
	log  strings.Builder
}

func (d *tended) Write(p []byte) (int, error) {
	d.logs.Lock()
	defer d.logs.Unlock()
	return d.log.Write(p)
}

// told gives the messages of what was told since it was asked last.
func (d *tended) told() string {
	d.logs.Lock()
	defer d.logs.Unlock()
	var all []string
	for line := range strings.Lines(d.log.String()) {
		_, rest, _ := strings.Cut(line, `msg="`)
		text, attrs, _ := strings.Cut(rest, `"`)
		if _, n, ok := strings.Cut(attrs, "count="); ok {
			text += " " + strings.TrimSpace(n)
		}
		all = append(all, text)
	}
	d.log.Reset()
	return strings.Join(all, "; ")
}

func (d *tended) tells(t *testing.T, when, want string) {
	t.Helper()
	synctest.Wait()
	if got := d.told(); got != want {
		t.Errorf("%s: it says %q, not %q", when, got, want)
	}
}

// tend opens a store that has learned of 60 messages, and tends it.
func tend(t *testing.T) *tended {
	t.Helper()
	d := &tended{fsys: storetest.New()}
	var err error
	d.Store, err = Open(dir, StoreOptions{Options: Options{Least: 20}, FS: d.fsys, Log: slog.New(slog.NewTextHandler(d, nil))})
	if err != nil {
		t.Fatal(err)
	}
	for n := range 60 {
		add(t, d.Store, Outcome{Learned: 1}, lesson(n, n%2 == 0, FromPeople))
	}
	ctx, stop := context.WithCancel(t.Context())
	var tends sync.WaitGroup
	tends.Go(func() { d.Tend(ctx) })
	t.Cleanup(func() {
		stop()
		tends.Wait()
		_ = d.Close()
	})
	return d
}

// TestFullDiskWhileItFits: the disk runs full while the learner fits, and rules and people teach. It goes by what it knew, then by what
// the fit has found, says once what it can't do, loses nothing that it has acknowledged, and learns when there is room.
func TestFullDiskWhileItFits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := tend(t)
		time.Sleep(time.Minute)
		synctest.Wait()
		if u := d.Usage(); u.Fits != 1 || !u.Durable {
			t.Fatalf("%+v", u)
		}
		spam := sampleOf("cheap pills for you, buy now")
		before := d.Score(spam)

		g := gate(d.Store)
		add(t, d.Store, Outcome{Learned: 1}, lesson(100, true, FromPeople))
		time.Sleep(time.Minute)
		<-g.reads // the fit goes on
		d.fsys.Fill(10)
		for n := range 5 {
			d.Offer(lesson(200+n, false, FromRules))
			time.Sleep(time.Second)
		}
		d.tells(t, "full", "the learner can't keep what rules have taught")
		if _, err := d.Add([]Lesson{lesson(300, true, FromPeople)}); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("people are told: %v", err)
		}
		if u := d.Usage(); u.Dropped != 5 || u.Durable || u.Counts != (Counts{30, 31}) || u.Fits != 1 {
			t.Errorf("full: %+v", u)
		}
		if now := d.Score(spam); now != before {
			t.Errorf("it scores %v, and %v before", now, before)
		}

		close(g.open)
		time.Sleep(time.Second)
		d.tells(t, "the fit is done", "the learner can't learn")
		if w := d.weights.Load(); d.Usage().Fits != 2 || w.lessons != (Counts{30, 31}) || d.Stale() {
			t.Errorf("the weights do not count: %+v", w.lessons)
		}
		time.Sleep(10 * time.Minute)
		d.Offer(lesson(205, false, FromRules))
		synctest.Wait()
		d.fsys.Fill(sizeOf(lesson(204, false, FromRules)) + 10)
		d.Offer(lesson(204, false, FromRules)) // it fits in between
		time.Sleep(time.Minute / 2)
		d.tells(t, "still full", "")

		d.fsys.Fill(-1)
		time.Sleep(retries + time.Second)
		d.tells(t, "room, for the weights", "the learner learns again")
		if u := d.Usage(); u.Fits != 3 || !u.Durable {
			t.Errorf("%+v", u)
		}
		d.Offer(lesson(206, false, FromRules))
		d.tells(t, "room, for a lesson", "the learner keeps again what rules teach 6")
		time.Sleep(time.Minute)
		d.tells(t, "as ever", "")
		if u := d.Usage(); u.Fits != 4 || !u.Durable || u.Counts != (Counts{32, 31}) {
			t.Errorf("%+v", u)
		}
		_ = d.Close()
		again := open(t, d.fsys, Options{Least: 20})
		if c := again.Usage().Counts; c != (Counts{32, 31}) || again.Stale() || !has(again, lesson(100, true, FromPeople)) || !has(again, lesson(206, false, FromRules)) {
			t.Errorf("after a restart: %+v", c)
		}
	})
}

// TestFitIsTriedAgain: a fit that could not read the lessons is made when they can be read, though nothing is learned any more; and at
// once when something is.
func TestFitIsTriedAgain(t *testing.T) {
	for name, more := range map[string]bool{"nothing comes": false, "something comes": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := tend(t)
				use := func(f store.File) (before store.File) {
					d.mu.Lock()
					defer d.mu.Unlock()
					before, d.file = d.file, f
					return before
				}
				whole := use(nil)
				use(&ending{whole, 100})
				time.Sleep(10 * time.Second)
				d.tells(t, "broken", "the learner can't learn")
				time.Sleep(5 * time.Minute)
				d.tells(t, "still broken", "")
				if u := d.Usage(); u.Fits != 0 || u.Durable {
					t.Errorf("%+v", u)
				}
				use(whole)
				wait := retries + time.Second
				if more {
					add(t, d.Store, Outcome{Learned: 1}, lesson(100, true, FromPeople))
					wait = settles + time.Second
				}
				time.Sleep(wait)
				d.tells(t, "mended", "the learner learns again")
				if u := d.Usage(); u.Fits != 1 || !u.Durable || d.Stale() {
					t.Errorf("%+v", u)
				}
			})
		})
	}
}
