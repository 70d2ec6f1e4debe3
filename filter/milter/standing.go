package milter

import (
	"sync"
	"time"

	"github.com/postern-mail/postern/internal/scanner"
)

// standing is what is known of a server by the fields that are expected of it. It outlives reloads, and is safe for concurrent use.
type standing struct {
	mu      sync.Mutex
	largest int64     // octets of the largest message on which it has put one of them
	missed  int64     // octets of the smallest one beyond expect_up_to that it failed to judge since it judged one; 0: none
	judged  time.Time // when it last put one on a message
	failed  bool      // and has failed since
}

// Bounds of what is concluded from it.
const (
	// spread is how much two messages may differ that are equally large for what the milter asks: it adds lines that name the client and
	// the envelope. Of large ones it is a share: it may count lines that end otherwise.
	spread, share = 20 << 10, 16
	// fresh is how long a message that was judged shows that the milter is well.
	fresh = 10 * time.Minute
)

func standingOf(s *scanner.Server) *standing {
	return scanner.Memory(s, func() *standing { return new(standing) })
}

// judges takes down that the server has judged a message of so many octets. Where it is well, and a large one was not judged meanwhile, it
// no longer takes those.
func (st *standing) judges(size int64) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.missed > 0 {
		st.largest, st.missed = min(st.largest, st.missed-1), 0
	}
	st.largest, st.judged, st.failed = max(st.largest, size), time.Now(), false
}

// fails takes down that it has not judged a message, which it should have; size is 0 where that has nothing to do with its size.
func (st *standing) fails(size int64) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.failed = true
	if size > 0 && (st.missed == 0 || size < st.missed) {
		st.missed = size
	}
}

// upTo gives the octets of a message up to which it is to judge it: those that are configured, or what it has judged before.
func (st *standing) upTo(configured int64) int64 {
	st.mu.Lock()
	defer st.mu.Unlock()
	return max(configured, st.largest-max(spread, st.largest/share))
}

// well reports whether it has not failed since it last judged a message, and lately whether that is not long ago.
func (st *standing) well() (well, lately bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	return !st.failed, !st.failed && time.Since(st.judged) < fresh
}
