package learner

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postern-mail/postern/internal/store/storetest"
)

func TestTendLearnsWhatIsOffered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, storetest.New(), Options{Least: 20})
		ctx, stop := context.WithCancel(t.Context())
		var tends sync.WaitGroup
		tends.Go(func() { s.Tend(ctx) })
		for n := range 60 {
			s.Offer(lesson(n, n%2 == 0, FromRules))
		}
		synctest.Wait()
		if u := s.Usage(); u.Counts != (Counts{30, 30}) || u.Learned[1][FromRules] != 30 || u.Fits != 0 || u.Ready {
			t.Errorf("%+v", u)
		}
		time.Sleep(settles + time.Second)
		synctest.Wait()
		if u := s.Usage(); u.Fits != 1 || !u.Ready || s.Stale() {
			t.Errorf("%+v", u)
		}
		s.Offer(lesson(100, true, FromRules))
		synctest.Wait()
		if !s.Stale() {
			t.Error("it is not told that there is something new")
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if u := s.Usage(); u.Fits != 2 || s.Stale() {
			t.Errorf("%+v", u)
		}
		stop()
		tends.Wait()
		for range offers + 3 {
			s.Offer(lesson(200, true, FromRules))
		}
		if u := s.Usage(); u.Dropped != 3 {
			t.Errorf("%d dropped", u.Dropped)
		}
	})
}

// TestScoresGoOnWhileItLearns is for the race detector.
func TestScoresGoOnWhileItLearns(t *testing.T) {
	s := open(t, storetest.New(), Options{Least: 20})
	ctx, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() { s.Tend(ctx) })
	spam := sampleOf("cheap pills for you")
	for range 2 {
		all.Go(func() {
			for ctx.Err() == nil {
				s.Score(spam)
				s.Heaviest(spam, 5)
				s.Ready()
				time.Sleep(time.Millisecond)
			}
		})
	}
	for n := range 60 {
		s.Offer(lesson(n, n%2 == 0, FromRules))
		if _, err := s.Add([]Lesson{lesson(1000+n, n%2 == 0, FromPeople)}); err != nil {
			t.Error(err)
		}
		s.Configure(Options{Least: 20 + n%2})
		s.Usage()
		s.Status()
	}
	if err := s.Fit(t.Context()); err != nil {
		t.Error(err)
	}
	stop()
	all.Wait()
}
