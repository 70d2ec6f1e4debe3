package learner

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// What Tend waits for.
const (
	settles = 2 * time.Second // after something was learned, for what comes with it
	rests   = 10              // times what a fit took, before the next: it is to have a tenth of a core at most
	retries = time.Minute     // after a fit that has failed
)

// Tend learns what was offered, and fits anew some seconds after something was learned, until the context ends. It goes on learning while it
// fits. Lessons that are more than Samples give way shrinkDelay after it began or the options have changed. What a disk does not take is
// told once, until it takes it again.
func (s *Store) Tend(ctx context.Context) {
	t := &tending{
		s: s, ended: make(chan outcomeOfFit, 1), rested: time.Now(),
		keeps: trouble{log: s.o.Log, begins: "the learner can't keep what rules have taught", ends: "the learner keeps again what rules teach", calm: retries},
		fits:  trouble{log: s.o.Log, begins: "the learner can't learn", ends: "the learner learns again"},
	}
	defer t.wait.Wait()
	s.announceShrink()
	shrinks := time.After(shrinkDelay)
	for {
		select {
		case <-ctx.Done():
			return
		case l := <-s.offered:
			t.take(l)
		case <-s.changed:
			t.change()
		case <-s.altered:
			s.announceShrink()
			shrinks = time.After(shrinkDelay)
		case <-shrinks:
			if shrinks = nil; !s.shrink() {
				shrinks = time.After(shrinkDelay)
			}
		case <-t.due:
			t.begin(ctx)
		case o := <-t.ended:
			t.end(ctx, o)
		}
	}
}

// tending is the state of one Tend.
type tending struct {
	s           *Store
	wait        sync.WaitGroup
	due         <-chan time.Time // of the next fit
	retry       bool             // due is for the sake of one that has failed
	unkept      bool             // of which nothing is left to do but to write the weights
	fitting     bool
	again       bool // something was learned since the fit that goes on began
	rested      time.Time
	ended       chan outcomeOfFit
	keeps, fits trouble
}

type outcomeOfFit struct {
	took time.Duration
	err  error
}

// change sees to it that what was learned is fitted to.
func (t *tending) change() {
	t.unkept = false
	if t.again = t.fitting; !t.fitting && (t.due == nil || t.retry) {
		t.fitAfter(settles)
	}
}

func (t *tending) fitAfter(least time.Duration) {
	t.due, t.retry = time.After(max(least, time.Until(t.rested))), false
}

func (t *tending) begin(ctx context.Context) {
	t.due, t.retry, t.fitting = nil, false, true
	do := t.s.Fit
	if t.unkept {
		do = func(context.Context) error { return t.s.keepWeights() }
	}
	t.wait.Go(func() {
		began := time.Now()
		err := do(ctx)
		t.ended <- outcomeOfFit{time.Since(began), err}
	})
}

func (t *tending) end(ctx context.Context, o outcomeOfFit) {
	t.rested, t.fitting = time.Now().Add(rests*o.took), false
	if ctx.Err() != nil {
		return
	}
	t.fits.tell(o.err, 0)
	t.unkept = errors.Is(o.err, errUnkept) && !t.again
	switch {
	case t.again:
		t.again = false
		t.fitAfter(settles)
	case o.err != nil:
		t.fitAfter(retries)
		t.retry = true
	}
}

// offers is how many lessons may wait to be learned; see Offer.
const offers = 256

// Offer has a lesson learned soon, by Tend. It does not wait: where too many wait already, the lesson is left out. It is for
// what rules teach, which may be lost.
func (s *Store) Offer(l Lesson) {
	select {
	case s.offered <- l:
	default:
		s.dropped.Add(1)
	}
}

// take learns a lesson that was offered, and those that wait behind it.
func (t *tending) take(l Lesson) {
	all := []Lesson{l}
	for len(all) < offers {
		select {
		case l := <-t.s.offered:
			all = append(all, l)
			continue
		default:
		}
		break
	}
	_, err := t.s.Add(all)
	if err != nil {
		t.s.dropped.Add(int64(len(all)))
	}
	t.keeps.tell(err, len(all))
}

// trouble tells of something that fails again and again when it begins, and when it has passed. A disk that is full takes a short record
// here and there: it has passed when nothing has failed for some time.
type trouble struct {
	log          *slog.Logger
	begins, ends string
	calm         time.Duration
	on           bool
	last         time.Time
	lost         int
}

// tell takes note of how it went, and of how much is lost if it did not.
func (t *trouble) tell(err error, lost int) {
	switch {
	case err != nil:
		if !t.on {
			t.log.Error(t.begins, "error", err)
		}
		t.on, t.last, t.lost = true, time.Now(), t.lost+lost
		return
	case !t.on || time.Since(t.last) < t.calm:
		return
	case t.lost > 0:
		t.log.Warn(t.ends, "count", t.lost)
	default:
		t.log.Warn(t.ends)
	}
	t.on, t.lost = false, 0
}
