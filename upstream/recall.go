package upstream

import (
	"time"

	"github.com/postern-mail/postern/mail"
)

// Memory keeps what Asks of a pool have found out when the process ends. It is a convenience: what it has lost is asked again. Mailboxes
// are in the form of mail.Address.Mailbox. It must answer at once, and be safe for concurrent use.
type Memory interface {
	// Recall gives whether a mailbox was found, Yes or No, and when; NoSource where nothing is known of it.
	Recall(mailbox string) (known Known, at time.Time)
	// Keep takes the place of what is known of a mailbox; of no use any more after so long.
	Keep(mailbox string, known Known, at time.Time, keep time.Duration)
	// Forget drops what is known of a mailbox.
	Forget(mailbox string)
}

// forgetful is the Memory of a pool that was given none.
type forgetful struct{}

func (forgetful) Recall(string) (Known, time.Time)             { return NoSource, time.Time{} }
func (forgetful) Keep(string, Known, time.Time, time.Duration) {}
func (forgetful) Forget(string)                                {}

// recall takes up what a process before this one, or this one some time ago, has found out about a mailbox of which nothing is
// known here; a.mu is held.
func (a *asked) recall(key string, now time.Time) {
	if _, ok := a.yes.get(key); ok {
		return
	}
	if _, ok := a.no.get(key); ok {
		return
	}
	switch known, at := a.memory.Recall(key); {
	case at.After(now): // the clock went back: nobody knows how old it is
	case known == Yes:
		a.yes.put(key, knownMailbox{at: at})
	case known == No:
		a.no.put(key, at)
	}
}

// forget drops a mailbox that was found: a server refuses it now.
func (a *asked) forget(to mail.Address) {
	key := to.Mailbox()
	a.mu.Lock()
	defer a.mu.Unlock()
	if known, _ := a.memory.Recall(key); known == Yes {
		a.memory.Forget(key)
	}
	a.yes.drop(key)
}

// Forget drops all that the servers have said of a mailbox: to questions, and to mail for it, whoever sent it. It gives how many
// answers that were.
func (p *Pool) Forget(to mail.Address) (n int) {
	key := to.Mailbox()
	p.asked.mu.Lock()
	p.asked.recall(key, time.Now())
	if _, ok := p.asked.yes.get(key); ok {
		n++
	}
	if _, ok := p.asked.no.get(key); ok {
		n++
	}
	p.asked.yes.drop(key)
	p.asked.no.drop(key)
	p.asked.memory.Forget(key)
	if f, under := p.asked.flights[key]; under { // its answer is for those who wait for it already
		f.stale = true
		delete(p.asked.flights, key)
	}
	p.asked.mu.Unlock()
	return n + p.answers.forget(key)
}
