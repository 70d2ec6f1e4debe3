package pipeline

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
)

// Filters that look into a content keep a multiple of it in memory while they do: a page of 4 MiB takes 40. What all of them have at
// once is bounded here, since nothing is gained by more: they wait for the processor anyway. A filter tells by filter.Hold what it is
// going to have, and waits until there is room. Who waits longest is next; what is small is let in at once, so that ordinary mail
// never stands behind hostile mail.
//
// A filter may come again for more. If all who have something wait for more, nobody would ever give anything back: then the first of
// them gets it, beyond the bound. So does who asks for more than there is, when nobody else has anything.

// smallest is how many octets are not counted: those of the texts of nearly all messages, in all their views.
const smallest = 1 << 20

// usualRoom gives the octets that there are where nothing else was said: as much for each processor as a large message takes.
func usualRoom() int64 { return max(256<<20, int64(runtime.GOMAXPROCS(0))*(64<<20)) }

// room is how much memory there is, and who waits for it.
type room struct {
	mu      sync.Mutex
	most    int64
	used    int64
	holding int // shares that have something and do not wait
	queue   []*wish
}

// wish is one who waits: for more octets, until granted is closed.
type wish struct {
	of      *share
	more    int64
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

// share is what one call of a filter has. The filter may ask from several goroutines.
type share struct {
	of    *room
	ask   sync.Mutex // one wish at a time
	held  int64
	ended bool // the call has returned
}

// Hold implements filter.Holder.
func (s *share) Hold(ctx context.Context, octets int64) error {
	if octets < smallest {
		return nil
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

// wish grants a share so much in all, or gives what has to be waited for.
func (r *room) wish(s *share, octets int64) *wish {
	r.mu.Lock()
	defer r.mu.Unlock()
	more := octets - s.held
	if more <= 0 || s.ended {
		return nil
	}
	w := &wish{of: s, more: more, granted: make(chan struct{})}
	if s.held == 0 {
		r.queue = append(r.queue, w)
	} else {
		r.holding--
		// Who has something comes before those who have nothing.
		at := slices.IndexFunc(r.queue, func(w *wish) bool { return w.of.held == 0 })
		if at < 0 {
			at = len(r.queue)
		}
		r.queue = slices.Insert(r.queue, at, w)
	}
	r.serve()
	select {
	case <-w.granted:
		return nil
	default:
		return w
	}
}

// serve grants what can be granted, the first first.
func (r *room) serve() {
	for len(r.queue) > 0 {
		w := r.queue[0]
		if r.used+w.more > r.most && r.holding > 0 {
			return
		}
		r.queue = slices.Delete(r.queue, 0, 1)
		w.of.held += w.more
		r.used += w.more
		r.holding++
		close(w.granted)
	}
}

// withdraw takes a wish back, and reports whether it was not granted.
func (r *room) withdraw(w *wish) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := slices.Index(r.queue, w)
	if at < 0 {
		return false
	}
	r.queue = slices.Delete(r.queue, at, at+1)
	if w.of.held > 0 {
		r.holding++
	}
	r.serve()
	return true
}

// release gives back what the call has. A goroutine that it has left behind gets nothing more, and is not kept waiting.
func (s *share) release() {
	r := s.of
	r.mu.Lock()
	defer r.mu.Unlock()
	s.ended = true
	if s.held == 0 {
		return
	}
	r.used -= s.held
	s.held = 0
	r.holding--
	r.serve()
}
