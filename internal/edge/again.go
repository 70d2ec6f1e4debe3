package edge

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/postern-mail/postern/internal/limits"
	"github.com/postern-mail/postern/mail"
)

// # When a message comes again
//
// SMTP has a moment in which one side knows that a message was taken, and the other does not (RFC 1047). A client that did not
// hear our word brings the message again, and it is there twice. So it is remembered for a day
//
//   - which messages were taken whose client had gone before it could have heard so: that is, where the reply took its time and
//     nothing more came from the client but the end of the connection. When the message comes again, the client is given that
//     reply, once, and the message is not handed on: it has been;
//   - which messages the next server was given without a word on what became of them. They are handed on again when they come again,
//     since a message that is there twice is better than one that is lost, and the log says so.
//
// A message is the same if every octet of it is, with sender, recipients, login and where it comes from. What has neither Message-ID
// nor Date may well be another one that looks the same, and is never held to have come again.

const (
	slowReply    = 10 * time.Second // a client that may not have waited for the reply
	againFor     = 24 * time.Hour
	againMost    = 4096 // messages that are remembered
	againDigests = 64 << 10
)

// What is remembered of a message that came again.
const (
	AgainTaken   = "taken"   // it was taken, and its client did not hear so
	AgainUnknown = "unknown" // the next server did not say what became of it
)

// Agains lists the values of the first label of repeated messages.
func Agains() []string { return []string{AgainTaken, AgainUnknown} }

// sameness is the digest of all that makes a message the same.
type sameness [sha256.Size]byte

// before is a message that may come again.
type before struct {
	id    string // of its transaction
	what  string // AgainTaken or AgainUnknown
	reply mail.Reply
	size  int64
	at    time.Time

	forget func() // of one that came again: it is remembered no more
}

// repeats are the messages of one listener that may come again.
type repeats struct {
	mu    sync.Mutex
	all   map[sameness]before
	order []sameness    // of all, the oldest first, and some that are there no more
	sizes map[int64]int // how many of all have that size: few messages need to be digested
}

func newRepeats() *repeats {
	return &repeats{all: map[sameness]before{}, sizes: map[int64]int{}}
}

// expects reports whether a message of so many octets may be one that comes again.
func (r *repeats) expects(size int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sizes[size] > 0
}

// remember takes note of a message.
func (r *repeats) remember(s sameness, b before) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forget(s)
	for len(r.order) >= againMost {
		r.forget(r.order[0])
		r.order = r.order[1:]
	}
	r.all[s], r.order = b, append(r.order, s)
	r.sizes[b.size]++
}

// find gives what is remembered of a message.
func (r *repeats) find(s sameness, now time.Time) (b before, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if b, ok = r.all[s]; ok && now.Sub(b.at) >= againFor {
		r.forget(s)
		return before{}, false
	}
	return b, ok
}

// drop forgets a message.
func (r *repeats) drop(s sameness) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forget(s)
}

func (r *repeats) forget(s sameness) {
	b, ok := r.all[s]
	if !ok {
		return
	}
	delete(r.all, s)
	if r.sizes[b.size]--; r.sizes[b.size] <= 0 {
		delete(r.sizes, b.size)
	}
}

// again gives the message that this one is, come again. It knows none where the message can't be read. Whoever acts on it forgets it then.
func (s *session) again(t *transaction, c *mail.Content) (b before, ok bool) {
	r := s.w.server.repeats
	if !r.expects(c.Blob().Size()) {
		return b, false
	}
	id, ok := s.same(t, c)
	if !ok {
		return b, false
	}
	if b, ok = r.find(id, time.Now()); !ok {
		return b, false
	}
	b.forget = func() { r.drop(id) }
	defer s.contain()
	t.gw.metrics().Again(s.w.cfg.Name, b.what)
	return b, true
}

// mayComeAgain takes note of a message whose end one side may not know. A panic in it changes nothing about that end.
func (s *session) mayComeAgain(t *transaction, c *mail.Content, arrived time.Time, o *outcome) {
	defer s.contain()
	r, now := s.w.server.repeats, time.Now()
	b := before{id: t.in.ID, reply: o.reply, size: c.Blob().Size(), at: now}
	switch {
	case o.unknown:
		b.what = AgainUnknown
	case o.reply.Positive() && now.Sub(arrived) >= cmp.Or(s.w.cfg.slow, slowReply):
		b.what = AgainTaken
	default:
		return
	}
	id, ok := s.same(t, c)
	switch {
	case !ok:
	case o.unknown:
		r.remember(id, b)
	default:
		s.w.untold = func() { r.remember(id, b) }
	}
}

// same digests all that makes a message the same; ok is false where nothing does.
func (s *session) same(t *transaction, c *mail.Content) (id sameness, ok bool) {
	if h := c.Header(); h.Count("Message-ID") == 0 && h.Count("Date") == 0 {
		return id, false
	}
	to := make([]string, len(t.to))
	for i, r := range t.to {
		to[i] = r.address.String()
	}
	slices.Sort(to)
	origin := t.gw.big(s.in.Client.Addr()) // big senders try again from other addresses
	if origin == "" {
		origin = limits.Network(s.in.Client.Addr()).String()
	}
	d := sha256.New()
	_, _ = io.WriteString(d, strings.Join(append([]string{s.in.User, origin, t.in.From.String()}, to...), "\x00")+"\n")
	size := c.Blob().Size()
	if n, err := io.CopyBuffer(d, c.Blob().Section(0, size), make([]byte, againDigests)); err != nil || n != size {
		return id, false
	}
	d.Sum(id[:0])
	return id, true
}

// lostBy takes note of how the waiting for the client's next word ended.
func (w *wire) lostBy(err error) {
	if f := w.untold; f != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		f()
	}
	w.untold = nil
}
