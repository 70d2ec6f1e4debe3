package pipeline

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"github.com/postern-mail/postern/mail"
)

// Filters that look into a content keep a multiple of it in memory while they do: a page of 4 MiB takes 40. What all of them have at
// once is bounded here, since nothing is gained by more: they wait for the processor anyway. A filter tells by filter.Hold what it is
// going to have, and waits until there is room. Who waits longest is next; what is small is let in at once, so that ordinary mail
// never stands behind hostile mail, and some who want little pass one who wants much. Nobody is counted for more than most of the
// room, or he would wait until everybody else has gone.
//
// A filter may come again for more. If all who have something wait, for more or for each other (filter.Aside), nobody would ever give
// anything back: then the first of them gets it, beyond the bound. A filter that was abandoned has what it has, but nobody waits for it.
//
// What filters make of a content is kept with it, for others. Once nobody counts for it any more, it is dropped.

// smallest is how many octets are not counted: those of the texts of nearly all messages, in all their views.
const smallest = 1 << 20

// Who wants little in all passes one who has to wait, as long as all such have no more than littleShare of the room: nobody is counted
// for more than the rest of it, and gets that when others of his kind have gone. Where that does not come, since a filter hangs that
// has it, so many pass at the most: then nobody is left who could give anything back.
const (
	little      = 8 << 20
	littleShare = 4 // one part of so many
	maxPassing  = 256
)

// usualRoom gives the octets that there are where nothing else was said: as much for each processor as a large message takes.
func usualRoom() int64 { return max(256<<20, int64(runtime.GOMAXPROCS(0))*(64<<20)) }

// room is how much memory there is, and who waits for it.
type room struct {
	mu      sync.Mutex
	most    int64
	used    int64
	littles int64 // of that, by shares that have little
	holding int   // shares that have something and do not wait
	queue   []*wish
	views   map[*mail.Content]int // how many shares have something for a content
}

// wish is one who waits: for more octets, until granted is closed.
type wish struct {
	of      *share
	more    int64
	passed  int // wishes behind it that were granted before it
	granted chan struct{}
}

// inMemory is the room of the process.
var inMemory = &room{most: usualRoom()}

// SetRoom says how many octets of memory filters may take in all to look into contents, and gives that: for less than 1 it is
// 64 MiB for each processor, and 256 MiB at least. What was taken stays.
func SetRoom(octets int64) int64 {
	if octets < 1 {
		octets = usualRoom()
	}
	inMemory.mu.Lock()
	defer inMemory.mu.Unlock()
	inMemory.most = octets
	inMemory.serve()
	return octets
}

// Memory tells how many octets filters have to look into contents, by their own estimates, abandoned filters among them; how many more
// are waited for; and how many there are.
func Memory() (used, waiting, limit int64) {
	r := inMemory
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, w := range r.queue {
		waiting += w.more
	}
	return r.used, waiting, r.most
}

// share is what one call of a filter has. The filter may ask from several goroutines.
type share struct {
	of      *room
	content *mail.Content // what is looked into; nil for nothing that keeps anything
	ask     sync.Mutex    // one wish at a time

	// The room's lock is for these.
	held    int64
	waits   int  // for how many things it waits: in the queue, or aside
	ended   bool // the call has returned, or was abandoned
	counted bool // among the holding
}

// Hold implements filter.Holder.
func (s *share) Hold(ctx context.Context, octets int64) error {
	if octets >= smallest && ctx.Err() != nil {
		return fmt.Errorf("pipeline: too late to look into it: %w", context.Cause(ctx)) // it may have been abandoned, and is not counted
	}
	s.ask.Lock()
	defer s.ask.Unlock()
	w := s.of.wish(s, octets)
	if w == nil {
		return nil
	}
	select {
	case <-w.granted:
		return nil
	case <-ctx.Done():
	}
	if s.of.withdraw(w) {
		return fmt.Errorf("pipeline: no memory to look into it came free: %w", context.Cause(ctx))
	}
	return nil
}

// Aside implements filter.Holder.
func (s *share) Aside(do func()) {
	s.wait(1)
	defer s.wait(-1)
	do()
}

func (s *share) wait(n int) {
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	s.waits += n
	s.count()
	s.of.serve()
}

// count keeps the number of those who hold something and can be waited for.
func (s *share) count() {
	is := s.held > 0 && s.waits == 0 && !s.ended
	switch {
	case is && !s.counted:
		s.of.holding++
	case !is && s.counted:
		s.of.holding--
	}
	s.counted = is
}

// wish grants a share so much in all, or gives what has to be waited for.
func (r *room) wish(s *share, octets int64) *wish {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.ended {
		return nil
	}
	if octets < smallest {
		octets = 0
	}
	more := min(octets, r.most-r.most/littleShare) - s.held
	if more <= 0 {
		r.take(s, more)
		r.serve()
		return nil
	}
	w := &wish{of: s, more: more, granted: make(chan struct{})}
	at := len(r.queue)
	if s.held > 0 {
		// Who has something comes before those who have nothing.
		if i := slices.IndexFunc(r.queue, func(w *wish) bool { return w.of.held == 0 }); i >= 0 {
			at = i
		}
	}
	r.queue = slices.Insert(r.queue, at, w)
	s.waits++
	s.count()
	r.serve()
	select {
	case <-w.granted:
		return nil
	default:
		return w
	}
}

// take gives a share more, or less. What was made of a content is dropped with the last that anybody has for it.
func (r *room) take(s *share, more int64) {
	had := s.held > 0
	r.littles -= s.little()
	s.held += more
	r.used += more
	r.littles += s.little()
	s.count()
	if has := s.held > 0; s.content == nil || has == had {
		return
	} else if has {
		if r.views == nil {
			r.views = map[*mail.Content]int{}
		}
		r.views[s.content]++
		return
	}
	if r.views[s.content]--; r.views[s.content] == 0 {
		delete(r.views, s.content)
		s.content.Forget()
	}
}

// little gives what a share has, where that is little.
func (s *share) little() int64 {
	if s.held > little {
		return 0
	}
	return s.held
}

// serve grants what can be granted.
func (r *room) serve() {
	for at := r.next(); at >= 0; at = r.next() {
		w := r.queue[at]
		for _, before := range r.queue[:at] {
			before.passed++
		}
		r.leave(at)
		r.take(w.of, w.more)
		close(w.granted)
	}
}

// next gives the place in the queue of who is next, -1 if nobody is yet.
func (r *room) next() int {
	if len(r.queue) > 0 && r.holding == 0 {
		return 0
	}
	for at, w := range r.queue {
		passes := w.of.held+w.more <= little && r.littles+w.more <= r.most/littleShare
		if (at == 0 || passes) && r.used+w.more <= r.most {
			return at
		}
		if w.passed >= maxPassing {
			return -1
		}
	}
	return -1
}

// leave takes a wish out of the queue.
func (r *room) leave(at int) {
	s := r.queue[at].of
	r.queue = slices.Delete(r.queue, at, at+1)
	s.waits--
	s.count()
}

// withdraw takes a wish back, and reports whether it was not granted.
func (r *room) withdraw(w *wish) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := slices.Index(r.queue, w)
	if at < 0 {
		return false
	}
	r.leave(at)
	r.serve()
	return true
}

// abandon lets nobody wait any more for what the call has, which stays counted until it returns. It gets nothing more, and is not kept
// waiting.
func (s *share) abandon() { s.end(false) }

// release gives back what the call has. A goroutine that it has left behind gets nothing more, and is not kept waiting.
func (s *share) release() { s.end(true) }

func (s *share) end(back bool) {
	r := s.of
	r.mu.Lock()
	defer r.mu.Unlock()
	s.ended = true
	for at := len(r.queue) - 1; at >= 0; at-- {
		if w := r.queue[at]; w.of == s {
			r.leave(at)
			close(w.granted)
		}
	}
	s.count()
	if back {
		r.take(s, -s.held)
	}
	r.serve()
}
