package learner

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postern-mail/postern/internal/store"
	"github.com/postern-mail/postern/internal/store/storetest"
)

// gated is a file whose first reader waits until it is opened.
type gated struct {
	store.File
	reads chan struct{} // closed once somebody reads
	open  chan struct{}
	read  atomic.Bool

	mu     sync.Mutex
	closed bool
}

func (g *gated) ReadAt(p []byte, at int64) (int, error) {
	if g.read.CompareAndSwap(false, true) {
		close(g.reads)
		<-g.open
	}
	return g.File.ReadAt(p, at)
}

func (g *gated) Close() error {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	return g.File.Close()
}

func (g *gated) isClosed() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.closed
}

// gate puts a gate before the lessons of a store.
func gate(s *Store) *gated {
	g := &gated{File: s.file, reads: make(chan struct{}), open: make(chan struct{})}
	s.file = g
	return g
}

// soon fails where f does not end.
func soon(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatalf("%s waits for the fit", what)
	}
}

// TestFitKeepsNobodyWaiting: while the lessons are read for a fit others are learned, forgotten and asked about, and the file may be written anew.
func TestFitKeepsNobodyWaiting(t *testing.T) {
	fsys := storetest.New()
	s := open(t, fsys, Options{Least: 20})
	for n := range 60 {
		add(t, s, Outcome{Learned: 1}, lesson(n, n%2 == 0, FromPeople))
	}
	g := gate(s)
	done := make(chan error, 1)
	go func() { done <- s.Fit(t.Context()) }()
	<-g.reads
	soon(t, "what is learned", func() { add(t, s, Outcome{Learned: 1}, lesson(100, true, FromPeople)) })
	soon(t, "what is forgotten", func() { _, _ = s.Forget([]Digest{lesson(0, true, FromPeople).Digest}) })
	soon(t, "who asks", func() {
		s.Score(sampleOf("cheap pills for you"))
		s.Usage()
		s.Status()
	})
	close(g.open)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if w := s.weights.Load(); w.lessons != (Counts{30, 30}) || !s.Stale() {
		t.Errorf("it has learned from %+v, and knows of all: %v", w.lessons, !s.Stale())
	}
	if g.isClosed() {
		t.Error("the file that is in use was closed")
	}
	if err := s.Fit(t.Context()); err != nil || s.Stale() || s.weights.Load().lessons != (Counts{30, 30}) {
		t.Errorf("%v, %+v", err, s.weights.Load().lessons)
	}
}

// TestFilesThatAreReadStayOpen until nobody reads them any more, also where they were written anew, or the store was closed.
func TestFilesThatAreReadStayOpen(t *testing.T) {
	for name, end := range map[string]func(*Store) error{
		"written anew": func(s *Store) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.rewrite()
		},
		"closed": (*Store).Close,
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, storetest.New(), Options{Least: 20})
			for n := range 60 {
				add(t, s, Outcome{Learned: 1}, lesson(n, n%2 == 0, FromPeople))
			}
			g := gate(s)
			done := make(chan error, 1)
			go func() { done <- s.Fit(context.Background()) }()
			<-g.reads
			soon(t, name, func() {
				if err := end(s); err != nil {
					t.Error(err)
				}
			})
			if g.isClosed() {
				t.Error("it was closed under who reads it")
			}
			close(g.open)
			if err := <-done; err != nil {
				t.Error(err)
			}
			if !g.isClosed() || len(s.held) > 0 {
				t.Error("it stays open")
			}
		})
	}
}

// TestTendLearnsWhileItFits: what rules teach has room also while a fit takes long.
func TestTendLearnsWhileItFits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, storetest.New(), Options{Least: 20})
		for n := range 60 {
			add(t, s, Outcome{Learned: 1}, lesson(n, n%2 == 0, FromPeople))
		}
		g := gate(s)
		ctx, stop := context.WithCancel(t.Context())
		var tends sync.WaitGroup
		tends.Go(func() { s.Tend(ctx) })
		<-g.reads
		until := func(what string, f func() bool) {
			t.Helper()
			for end := time.Now().Add(20 * time.Second); !f(); time.Sleep(5 * time.Millisecond) {
				if time.Now().After(end) {
					close(g.open)
					t.Fatal(what)
				}
			}
		}
		for n := range 2 * offers {
			s.Offer(lesson(1000+n, n%2 == 0, FromRules))
			if n%100 == 99 {
				until("what was offered is not learned while it fits", func() bool { return s.Usage().Counts == Counts{30 + (n+1)/2, 30 + (n+1)/2} })
			}
		}
		if u := s.Usage(); u.Fits != 0 || u.Dropped != 0 {
			t.Errorf("%+v", u)
		}
		close(g.open)
		until("it does not fit again", func() bool { return s.Usage().Fits == 2 && !s.Stale() })
		stop()
		tends.Wait()
	})
}
