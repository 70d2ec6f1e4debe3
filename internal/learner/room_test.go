package learner

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postern-mail/postern/internal/store/storetest"
)

func TestOldLessonsGiveWay(t *testing.T) {
	fsys := storetest.New()
	s := open(t, fsys, Options{Samples: 10})
	add(t, s, Outcome{Learned: 1}, lesson(50, true, FromRules))
	for n := range 30 {
		add(t, s, Outcome{Learned: 1, GaveWay: min(n/9, 1)}, lesson(n, true, FromPeople)) // from the 11th on
	}
	add(t, s, Outcome{Learned: 1}, lesson(60, false, FromPeople))
	if c := s.Usage().Counts; c != (Counts{1, 10}) {
		t.Errorf("%+v", c)
	}
	agree(t, s, map[int]bool{19: false, 20: true, 28: true})
	if has(s, lesson(50, true, FromRules)) {
		t.Error("what rules have taught did not give way first")
	}
	_ = s.Close()
	if c := open(t, fsys, Options{Samples: 10}).Usage().Counts; c != (Counts{1, 10}) {
		t.Errorf("after a restart: %+v", c)
	}
}

// TestManyAtOnceGiveWay: also what comes in one batch is no more than is to be remembered.
func TestManyAtOnceGiveWay(t *testing.T) {
	s := open(t, storetest.New(), Options{Samples: 100, Least: 20})
	var all []Lesson
	for n := range 500 {
		all = append(all, lesson(n, n%2 == 0, FromRules))
	}
	if _, err := s.Add(all); err != nil {
		t.Fatal(err)
	}
	if u := s.Usage(); u.Counts != (Counts{100, 100}) {
		t.Errorf("%+v", u.Counts)
	}
}

// TestPeopleComeFirst: however many lessons of rules come at once, none of what people have taught gives way to them, and they are
// not counted as learned.
func TestPeopleComeFirst(t *testing.T) {
	fsys := storetest.New()
	s := open(t, fsys, Options{Samples: 100, Least: 20})
	var people, rules []Lesson
	for n := range 95 {
		people = append(people, lesson(n, true, FromPeople))
	}
	add(t, s, Outcome{Learned: 95}, people...)
	for n := 100; n < 300; n++ { // all of them newer
		rules = append(rules, lesson(n, true, FromRules))
	}
	add(t, s, Outcome{Learned: 5, Crowded: 195}, rules...)
	for n := range 5 {
		if !has(s, rules[199-n]) {
			t.Errorf("the newest of the rules' lessons but %d has no room", n)
		}
	}
	old := lesson(0, true, FromPeople)
	old.Digest, old.When = Digest{9, 9, 9}, day1.AddDate(-1, 0, 0)
	add(t, s, Outcome{Learned: 1}, old) // 101 are not worth it
	corrected := rules[199]
	corrected.Spam, corrected.How = false, FromQuarantine
	more := lesson(400, true, FromPeople)
	add(t, s, Outcome{Learned: 1, Corrected: 1}, corrected, more)
	add(t, s, Outcome{Learned: 5, GaveWay: 6}, lesson(401, true, FromPeople), lesson(402, true, FromPeople), lesson(403, true, FromPeople),
		lesson(404, true, FromPeople), lesson(405, true, FromPeople)) // four of the rules', and the two oldest
	if has(s, old) || has(s, people[0]) || !has(s, people[1]) || !has(s, corrected) {
		t.Error("others gave way")
	}
	add(t, s, Outcome{Crowded: 2}, rules[0], old)
	_ = s.Close()
	s = open(t, fsys, Options{Samples: 100, Least: 20})
	if c := s.Usage().Counts; c != (Counts{1, 100}) || has(s, rules[0]) {
		t.Errorf("after a restart: %+v", c)
	}
}

// TestForgettingIsNoMakingRoom: what is taken back is told apart from what gives way.
func TestForgettingIsNoMakingRoom(t *testing.T) {
	s := open(t, storetest.New(), Options{})
	for n := range 40 {
		add(t, s, Outcome{Learned: 1}, lesson(n, true, FromPeople))
	}
	s.opt.Store(&Options{Samples: 20, Least: 20}) // as where the disk was full when it was configured
	if o, err := s.Forget([]Digest{lesson(39, true, 0).Digest}); err != nil || o != (Outcome{Forgotten: 1}) {
		t.Errorf("%+v, %v", o, err)
	}
	add(t, s, Outcome{Learned: 1, GaveWay: 20}, lesson(50, true, FromPeople))
}

// told is a log that a test reads while a store writes it.
type told struct {
	mu    sync.Mutex
	lines []byte
}

func (l *told) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, p...)
	return len(p), nil
}

// take gives what was written since it was last asked.
func (l *told) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := string(l.lines)
	l.lines = nil
	return s
}

// TestFewerSamplesActLate, at a start and at a reload, and only where the store is tended: who only reads it takes nothing away, and a slip can be taken
// back.
func TestFewerSamplesActLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fsys := storetest.New()
		s := open(t, fsys, Options{})
		for n := range 60 {
			add(t, s, Outcome{Learned: 1}, lesson(n, true, FromPeople))
		}
		_ = s.Close()
		var log told
		s, err := Open(dir, StoreOptions{Options: Options{Samples: 40, Least: 20}, FS: fsys, Log: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		agree := func(when string, from, to int, told string) {
			t.Helper()
			synctest.Wait()
			for n := range to + 1 {
				if has(s, lesson(n, true, FromPeople)) != (n >= from && n < to) {
					t.Errorf("%s: of %+v, lesson %d is among them: %v", when, s.Usage().Counts, n, n < from || n >= to)
				}
			}
			if lines := log.take(); told == "" && lines != "" || strings.Count(lines, "level=WARN") != strings.Count(lines, "\n") || !strings.Contains(lines, told) {
				t.Errorf("%s: told: %s", when, lines)
			}
		}
		agree("opened with 40", 0, 60, "")
		add(t, s, Outcome{Learned: 1, GaveWay: 1}, lesson(60, true, FromPeople))
		agree("what comes takes one place", 1, 61, "")
		ctx, stop := context.WithCancel(t.Context())
		var tends sync.WaitGroup
		tends.Go(func() { s.Tend(ctx) })
		time.Sleep(shrinkDelay - time.Second)
		agree("tended", 1, 61, "count=20 samples=40")
		s.Configure(Options{Samples: 30, Least: 20})
		time.Sleep(shrinkDelay - time.Second)
		agree("a reload with 30", 1, 61, "count=30 samples=30")
		s.Configure(Options{Samples: 50, Least: 20})
		time.Sleep(shrinkDelay - time.Second)
		agree("taken back", 1, 61, "count=10 samples=50")
		fsys.FailFrom(1, 100, syscall.ENOSPC, false)
		time.Sleep(2 * time.Second)
		fsys.FailFrom(1, 0, nil, false)
		agree("the disk is full", 1, 61, "more than it is to")
		time.Sleep(shrinkDelay)
		agree("once it is not", 11, 61, "count=10 samples=50")
		add(t, s, Outcome{Learned: 1, GaveWay: 1}, lesson(61, true, FromPeople))
		agree("later", 12, 62, "")
		stop()
		tends.Wait()
		_ = s.Close()
		s = open(t, fsys, Options{Samples: 50, Least: 20})
		agree("opened anew", 12, 62, "")
	})
}

// TestStartsAddNoRoom: however often it starts, no more is remembered than there was, or than Samples and the hundredth that is not worth the work.
func TestStartsAddNoRoom(t *testing.T) {
	for name, c := range map[string]struct{ before, samples, most int }{
		"as many as it is to remember": {200, 200, 202},
		"fewer":                        {100, 200, 202},
		"more":                         {300, 200, 300},
	} {
		t.Run(name, func(t *testing.T) {
			fsys := storetest.New()
			s := open(t, fsys, Options{Samples: c.before, Least: 20})
			for n := range c.before {
				add(t, s, Outcome{Learned: 1}, lesson(n, true, FromPeople))
			}
			n := c.before
			for range 10 {
				_ = s.Close()
				s = open(t, fsys, Options{Samples: c.samples, Least: 20})
				for range 15 {
					if _, err := s.Add([]Lesson{lesson(n, true, FromPeople)}); err != nil {
						t.Fatal(err)
					}
					n++
				}
			}
			if got := s.Usage().Spam; got > c.most || got < min(c.before, c.samples) {
				t.Errorf("%d are remembered", got)
			}
			if !has(s, lesson(n-1, true, FromPeople)) {
				t.Error("the newest is none of them")
			}
		})
	}
}
