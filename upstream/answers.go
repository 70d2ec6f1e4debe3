package upstream

import (
	"strings"
	"sync"
	"time"

	"github.com/postern-mail/postern/mail"
)

const (
	// keepRefused is how long a 5yz to an RCPT holds: long enough for the retry of a client that was put off,
	// which comes within minutes as a rule. No longer, since a mailbox may be made meanwhile, and a server
	// that starts or loses its directory knows nobody for a while.
	keepRefused = 10 * time.Minute
	// keepApart is how long it is known of a recipient that others are to come before it: as long as servers wait. Exim's default
	// is up to 45 minutes.
	keepApart = time.Hour
	// keepDeferred is how long a 4yz to an RCPT holds: it keeps from the server a client that retries at once.
	keepDeferred = time.Minute
	// keepAccepted is how long a 250 to an RCPT lets DATA go out with the RCPTs. A wrong guess costs a RSET,
	// or a connection.
	keepAccepted = 10 * time.Minute
	// renewAccepted is how much of that must have passed before it is noted anew.
	renewAccepted = time.Minute
	maxAnswers    = 16384 // of refusals, and of acceptances, in each of two generations
)

// answers remembers what the servers of one upstream said to RCPTs: refusals, so that a client that was
// put off can be told at its next RCPT, and acceptances, so that DATA can go out with the RCPTs.
//
// A refusal holds for every sender only if it says that the mailbox is the reason. All others hold for
// the sender to whom they were given: "sender address rejected" comes in reply to RCPT as well, and must
// not become a refusal of everybody's mail.
type answers struct {
	mu  sync.Mutex
	no  generations[refusalKey, refusalOf]
	yes generations[mail.Address, time.Time] // until when
}

type refusalKey struct {
	from mail.Address
	any  bool // for every sender; from is zero
	to   mail.Address
}

type refusalOf struct {
	reply mail.Reply
	until time.Time
	once  bool // it is forgotten when it has been told
}

func newAnswers() *answers {
	a := &answers{}
	a.no.young, a.yes.young = map[refusalKey]refusalOf{}, map[mail.Address]time.Time{}
	return a
}

// refused remembers that to was refused to from.
func (a *answers) refused(from, to mail.Address, r mail.Reply, now time.Time) {
	key := refusalKey{from: from, to: to}
	if aboutMailbox(r) {
		key = refusalKey{any: true, to: to}
	}
	keep := keepDeferred
	if r.Permanent() {
		keep = keepRefused
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.no.put(key, refusalOf{reply: r, until: now.Add(keep)})
	a.yes.drop(to)
}

// apart has to put off once, when from sends to it again.
func (a *answers) apart(from, to mail.Address, r mail.Reply, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.no.put(refusalKey{from: from, to: to}, refusalOf{reply: r, until: now.Add(keepApart), once: true})
}

// accepted remembers that all of to were accepted from from; known says that it was noted lately.
func (a *answers) accepted(from mail.Address, to []mail.Address, now time.Time, known bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !known {
		until := now.Add(keepAccepted)
		for _, t := range to {
			a.yes.put(t, until)
		}
	}
	if a.no.empty() {
		return
	}
	for _, t := range to {
		a.no.drop(refusalKey{any: true, to: t})
		a.no.drop(refusalKey{from: from, to: t})
	}
}

// forget drops all that is remembered of a mailbox, by its mail.Address.Mailbox, and gives how many refusals that were.
func (a *answers) forget(mailbox string) (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, generation := range []map[refusalKey]refusalOf{a.no.young, a.no.elder} {
		for key := range generation {
			if key.to.Mailbox() == mailbox {
				delete(generation, key)
				n++
			}
		}
	}
	for _, generation := range []map[mail.Address]time.Time{a.yes.young, a.yes.elder} {
		for to := range generation {
			if to.Mailbox() == mailbox {
				delete(generation, to)
			}
		}
	}
	return n
}

// refusal gives the refusal of to that holds for every sender, or, with a sender, for this one, to whom it is to be told.
func (a *answers) refusal(from *mail.Address, to mail.Address) (mail.Reply, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.no.empty() {
		return mail.Reply{}, false
	}
	now := time.Now()
	r, ok := a.no.get(refusalKey{any: true, to: to})
	if (!ok || !now.Before(r.until)) && from != nil {
		key := refusalKey{from: *from, to: to}
		if r, ok = a.no.get(key); ok && r.once {
			a.no.drop(key)
		}
	}
	if !ok || !now.Before(r.until) {
		return mail.Reply{}, false
	}
	return r.reply, true
}

// good reports whether each of to was accepted lately, and whether that was so lately that it need not be noted anew.
func (a *answers) good(to []mail.Address, now time.Time) (good, fresh bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	fresh = true
	for _, t := range to {
		until, ok := a.yes.get(t)
		if left := until.Sub(now); !ok || left <= 0 {
			return false, false
		} else if left < keepAccepted-renewAccepted {
			fresh = false
		}
	}
	return true, fresh
}

// generations is a bounded map: when the younger is full, it becomes the elder, which is forgotten; what is still asked for
// moves back into the younger.
type generations[K comparable, V any] struct {
	young, elder map[K]V
	most         int // in each; 0 stands for maxAnswers
}

func (g *generations[K, V]) empty() bool { return len(g.young) == 0 && len(g.elder) == 0 }

func (g *generations[K, V]) put(k K, v V) {
	most := g.most
	if most == 0 {
		most = maxAnswers
	}
	if len(g.young) >= most {
		g.elder, g.young = g.young, make(map[K]V, most)
	}
	g.young[k] = v
}

func (g *generations[K, V]) get(k K) (V, bool) {
	v, ok := g.young[k]
	if !ok {
		if v, ok = g.elder[k]; ok {
			delete(g.elder, k)
			g.put(k, v)
		}
	}
	return v, ok
}

func (g *generations[K, V]) drop(k K) {
	delete(g.young, k)
	delete(g.elder, k)
}

// aboutMailbox reports whether a refused RCPT says that the mailbox itself is the reason, so that it
// would be refused to any sender.
func aboutMailbox(r mail.Reply) bool {
	switch e := r.Enhanced; {
	case e[1] == 1: // RFC 3463 3.2: bad destination mailbox, system, syntax; moved; RFC 7505: null MX
		return e[2] >= 1 && e[2] <= 6 || e[2] == 10
	case e[1] == 2: // RFC 3463 3.3: disabled, full; 4.2.0 is what greylisting says of a sender
		return e[2] == 1 || e[2] == 2
	case e != (mail.Enhanced{}):
		return false
	}
	if r.Code != 550 && r.Code != 551 && r.Code != 553 {
		return false
	}
	// Whoever is refused has chosen addresses and names in it: "unknown@evil.test is blocked here" is no word about a mailbox.
	text := names.ReplaceAllString(withoutAddresses(r.Text), " ")
	for _, other := range []string{"sender", "from", "domain", "client", "host", "helo"} {
		if strings.Contains(text, other) {
			return false
		}
	}
	for _, words := range []string{"unknown", "no such", "not exist", "not found", "unavailable"} {
		if strings.Contains(text, words) {
			return true
		}
	}
	return false
}
