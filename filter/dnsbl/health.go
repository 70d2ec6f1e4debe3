package dnsbl

import (
	"log/slog"
	"sync"
	"time"

	"github.com/postern-mail/postern/filter/auth"
)

// A list is somebody else's, and may end one day: its name servers fall silent, which would cost every client the whole
// budget, or its domain goes to somebody whose servers answer for every name, which would make everybody listed. So each
// list is watched. RFC 5782 5 names an entry that no list may have and one that each should have: both are asked for with
// the first look-up, side by side with it, and again from time to time. Nothing counts of a list that was not found to
// lack the one it may not have. A list that fails again and again is not asked for a while, and then by one client at a
// time.

const (
	retestEvery = 10 * time.Minute
	maxFailures = 5 // one after another, before a list is let rest
	firstRest   = time.Minute
	maxRest     = 15 * time.Minute
	tellEvery   = time.Hour // that something is wrong, and still is
)

// kind tells what is looked up: the three have entries and test entries of their own.
type kind uint8

const (
	ipv4 kind = iota
	ipv6
	domain
	kinds
)

// tests are the names in front of the zone that must not be there, and that should be (RFC 5782 5). That of IPv6 few
// lists have: that they lack it means nothing.
var tests = [kinds]struct{ never, always string }{
	ipv4:   {never: "1.0.0.127", always: "2.0.0.127"},
	ipv6:   {never: "1.0.0.0.0.0.f.7.f.f.f.f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0"},
	domain: {never: "invalid", always: "test"},
}

// standing is what is known of a list's honesty.
type standing uint8

const (
	untried standing = iota
	proved
	lying    // it lists what it must not
	refusing // for what it must not list it answers with an error
)

// health is the state of one list. It is safe for concurrent use.
type health struct {
	mu       sync.Mutex
	trials   [kinds]trial
	failures int // one after another
	rest     time.Duration
	until    time.Time            // of the rest, or of the time that the one who tries has for it
	told     map[string]time.Time // what the log has
}

type trial struct {
	standing standing
	due      time.Time // of the next test
	lacked   time.Time // when the log was told that it lacks the entry that it should have; zero: it does not
}

// plan is how a list is to be dealt with.
type plan struct {
	not   string // why it is not asked, a word of auth.ListWords; "" if it is
	test  bool   // the test entries are asked for too
	tries bool   // this one finds out whether it has ended that there are no answers
}

// enter says how a list is to be dealt with now.
func (h *health) enter(k kind, now time.Time) plan {
	h.mu.Lock()
	defer h.mu.Unlock()
	if now.Before(h.until) {
		return plan{not: auth.ListResting}
	}
	p := plan{tries: h.rest > 0}
	if p.tries {
		h.until = now.Add(h.rest) // the others go on without
	}
	t := &h.trials[k]
	p.test = t.standing == untried || !now.Before(t.due)
	if p.test {
		t.due = now.Add(retestEvery)
	} else {
		p.not = t.standing.off()
	}
	return p
}

// off gives the word for a standing with which nothing counts, "" for one with which everything does.
func (s standing) off() string {
	switch s {
	case untried:
		return auth.ListFailed
	case lying:
		return auth.ListOff
	case refusing:
		return auth.ListErrorCode
	}
	return ""
}

// standing gives what is known of a kind of entries.
func (h *health) standing(k kind) standing {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.trials[k].standing
}

// notices are what the log is to hear. It may be slow, and so is told when the lock is free.
type notices []func()

func (n *notices) tell() {
	for _, f := range *n {
		f()
	}
}

// tested takes down what a test has shown: the words for the entry that must not be there, and for the one that should.
func (h *health) tested(k kind, never, always string, now time.Time, log *slog.Logger, list string) {
	var n notices
	defer n.tell()
	h.mu.Lock()
	defer h.mu.Unlock()
	t := &h.trials[k]
	before := t.standing
	switch never {
	case auth.ListClean, auth.ListOtherCode:
		t.standing = proved
	case auth.ListListed:
		t.standing = lying
	case auth.ListErrorCode:
		t.standing = refusing
	default: // nothing was shown
		return
	}
	t.due = now.Add(retestEvery)
	switch t.standing {
	case lying:
		if h.tell("lying", now) {
			n = append(n, func() {
				log.Error("DNS list lists what no list may (RFC 5782 5): nothing of it counts until that ends", "list", list)
			})
		}
	case proved:
		if before == lying {
			delete(h.told, "lying")
			n = append(n, func() { log.Info("DNS list is honest again: it counts", "list", list) })
		}
		switch {
		case always == auth.ListListed:
			t.lacked = time.Time{}
		case always == auth.ListClean && (t.lacked.IsZero() || now.Sub(t.lacked) >= tellEvery):
			t.lacked = now
			n = append(n, func() {
				log.Warn("DNS list lacks the test entry that each should have (RFC 5782 5): it may be empty, or have no answers for us", "list", list)
			})
		}
	}
}

// answered takes down that a list has answered, or that it has not.
func (h *health) answered(ok bool, p plan, now time.Time, log *slog.Logger, list string) {
	var n notices
	defer n.tell()
	h.mu.Lock()
	defer h.mu.Unlock()
	if ok {
		if h.rest > 0 {
			delete(h.told, "resting")
			n = append(n, func() { log.Info("DNS list answers again", "list", list) })
		}
		h.failures, h.rest, h.until = 0, 0, time.Time{}
		return
	}
	h.failures++
	switch {
	case p.tries:
		h.rest = min(2*h.rest, maxRest)
	case h.rest == 0 && h.failures >= maxFailures:
		h.rest = firstRest
	default: // too few, or one that began before the rest
		return
	}
	h.until = now.Add(h.rest)
	if h.tell("resting", now) {
		pause := h.rest.String()
		n = append(n, func() { log.Warn("DNS list has no answers: it is not asked for a while", "list", list, "pause", pause) })
	}
}

// refused tells of an answer that is an error.
func (h *health) refused(code string, now time.Time, log *slog.Logger, list string) {
	var n notices
	defer n.tell()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.tell("error", now) {
		n = append(n, func() {
			log.Warn("DNS list answers with an error, which counts as nothing: it may not answer public resolvers, too many questions or a wrong key",
				"list", list, "code", code)
		})
	}
}

// tell reports whether something is to be told, which was not within the last while; h.mu is held.
func (h *health) tell(what string, now time.Time) bool {
	if last, was := h.told[what]; was && now.Sub(last) < tellEvery {
		return false
	}
	if h.told == nil {
		h.told = map[string]time.Time{}
	}
	h.told[what] = now
	return true
}
