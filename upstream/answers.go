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
	// keepDeferred is how long a 4yz to an RCPT holds: it keeps from the server a client that retries at once.
	keepDeferred = time.Minute
	// keepAccepted is how long a 250 to an RCPT lets DATA go out with the RCPTs. A wrong guess costs a RSET,
	// or a connection.
	keepAccepted = 10 * time.Minute
	maxAnswers   = 16384 // in each of two generations
)

// answers remembers what the servers of one upstream said to RCPTs: refusals, so that a client that was
// put off can be told at its next RCPT, and acceptances, so that DATA can go out with the RCPTs.
//
// A refusal holds for every sender only if it says that the mailbox is the reason. All others hold for
// the sender to whom they were given: "sender address rejected" comes in reply to RCPT as well, and must
// not become a refusal of everybody's mail.
//
// It is bounded by two generations: when the younger is full, it becomes the elder, which is forgotten;
// what is still asked for moves back into the younger.
type answers struct {
	mu           sync.Mutex
	young, elder map[answerKey]answer
}

type answerKey struct {
	from   mail.Address
	any    bool // for every sender; from is zero
	to     mail.Address
	accept bool
}

type answer struct {
	reply mail.Reply
	until time.Time
}

func newAnswers() *answers { return &answers{young: map[answerKey]answer{}} }

// refused remembers that to was refused to from.
func (a *answers) refused(from, to mail.Address, r mail.Reply, now time.Time) {
	key := answerKey{from: from, to: to}
	if aboutMailbox(r) {
		key = answerKey{any: true, to: to}
	}
	keep := keepDeferred
	if r.Permanent() {
		keep = keepRefused
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.put(key, answer{reply: r, until: now.Add(keep)})
	a.drop(answerKey{to: to, accept: true})
}

// accepted remembers that to was accepted from from.
func (a *answers) accepted(from, to mail.Address, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.put(answerKey{to: to, accept: true}, answer{until: now.Add(keepAccepted)})
	a.drop(answerKey{any: true, to: to})
	a.drop(answerKey{from: from, to: to})
}

// refusal gives the refusal of to that holds for every sender, or, with a sender, for this one.
func (a *answers) refusal(from *mail.Address, to mail.Address, now time.Time) (mail.Reply, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r, ok := a.get(answerKey{any: true, to: to}, now)
	if !ok && from != nil {
		r, ok = a.get(answerKey{from: *from, to: to}, now)
	}
	return r.reply, ok
}

// good reports whether each of to was accepted lately.
func (a *answers) good(to []mail.Address, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, t := range to {
		if _, ok := a.get(answerKey{to: t, accept: true}, now); !ok {
			return false
		}
	}
	return true
}

func (a *answers) put(k answerKey, v answer) {
	if len(a.young) >= maxAnswers {
		a.elder, a.young = a.young, make(map[answerKey]answer, maxAnswers)
	}
	a.young[k] = v
}

func (a *answers) get(k answerKey, now time.Time) (answer, bool) {
	v, ok := a.young[k]
	if !ok {
		if v, ok = a.elder[k]; ok {
			delete(a.elder, k)
			a.put(k, v)
		}
	}
	return v, ok && now.Before(v.until)
}

func (a *answers) drop(k answerKey) {
	delete(a.young, k)
	delete(a.elder, k)
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
	text := strings.ToLower(r.Text)
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
