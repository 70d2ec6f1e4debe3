package spool

import (
	"errors"
	"sync"
	"time"
)

var errClosed = errors.New("spool: closed")

// removalDelay is how long the sync of a removal may wait for that of something else.
const removalDelay = time.Second

// syncer syncs a folder for many at once: those who come while a sync is under way share the next one.
type syncer struct {
	sync func() error
	wake chan struct{} // something waits
	quit chan struct{}
	done chan struct{}

	mu      sync.Mutex
	next    *batch    // whom the next sync is for; nil: nobody waits
	since   time.Time // the first removal that no sync was for yet; zero: none
	after   []func()  // to be done when removals are durable
	last    error     // of the last sync that was for removals
	stopped bool

	afters sync.WaitGroup
	turns  chan struct{} // one after another
}

// batch is one sync and who waits for it.
type batch struct {
	done chan struct{}
	err  error
}

func (c *syncer) start(sync func() error) {
	c.sync, c.wake, c.quit, c.done = sync, make(chan struct{}, 1), make(chan struct{}), make(chan struct{})
	c.turns = make(chan struct{}, 1)
	go c.run()
}

// stop does what is left to do and ends the syncer.
func (c *syncer) stop() error {
	close(c.quit)
	<-c.done
	c.afters.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	if c.next != nil {
		c.next.err = errClosed
		close(c.next.done)
		c.next = nil
	}
	return c.last
}

// wait returns when a sync that began after the call has ended.
func (c *syncer) wait() error {
	c.mu.Lock()
	if c.stopped {
		c.mu.Unlock()
		return errClosed
	}
	b := c.next
	if b == nil {
		b = &batch{done: make(chan struct{})}
		c.next = b
		c.nudge()
	}
	c.mu.Unlock()
	<-b.done
	return b.err
}

// later lets a sync happen within removalDelay, and calls after, if that is not nil, when one has succeeded.
func (c *syncer) later(after func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if after != nil {
		c.after = append(c.after, after)
	}
	if c.since.IsZero() {
		c.since = time.Now()
		c.nudge()
	}
}

func (c *syncer) nudge() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

func (c *syncer) run() {
	defer close(c.done)
	delay := time.NewTimer(removalDelay)
	defer delay.Stop()
	for {
		select {
		case <-c.wake:
		case <-delay.C:
		case <-c.quit:
			c.turn(true)
			return
		}
		if left := c.turn(false); left > 0 {
			delay.Reset(left)
		} else {
			delay.Stop()
		}
	}
}

func (c *syncer) carryOut(after []func()) {
	c.turns <- struct{}{}
	defer func() { <-c.turns }()
	for _, f := range after {
		f()
	}
}

// turn syncs if somebody waits, or removals have waited long enough, or at once with all. It tells how long those
// may still wait, 0 where there are none.
func (c *syncer) turn(all bool) time.Duration {
	c.mu.Lock()
	b, since := c.next, c.since
	if b == nil && since.IsZero() {
		c.mu.Unlock()
		return 0
	}
	if left := removalDelay - time.Since(since); b == nil && !all && left > 0 {
		c.mu.Unlock()
		return left
	}
	after := c.after
	c.next, c.since, c.after = nil, time.Time{}, nil
	c.mu.Unlock()
	err := c.sync()
	if b != nil {
		b.err = err
		close(b.done)
	}
	if err == nil && len(after) > 0 {
		c.afters.Go(func() { c.carryOut(after) }) // others wait for the next sync
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !since.IsZero() {
		c.last = err
		if err != nil { // once more, in a while
			c.since, c.after = time.Now(), append(after, c.after...)
			return removalDelay
		}
	}
	if !c.since.IsZero() {
		return max(1, removalDelay-time.Since(c.since))
	}
	return 0
}
