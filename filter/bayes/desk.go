package bayes

import (
	"sync/atomic"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/mail"
)

// Desk is where the filters of one process and whoever keeps the learner meet: filters are made before the learner is opened. The zero Desk has no learner.
type Desk struct {
	learner atomic.Pointer[Learner]
	bare    atomic.Pointer[Bare]
}

// Bare gives a message without the marks that the gateway puts on those it delivers, be they its own or the sender's: by what stands there then, it is
// known again when people teach it. What is given is to be released; nil for what is too big for that. The error is that of reading.
type Bare func(*mail.Content) (*mail.Content, error)

// Unmark has messages be looked at without marks.
func (d *Desk) Unmark(b Bare) { d.bare.Store(&b) }

// unmarked gives a message without marks.
func (d *Desk) unmarked(c *mail.Content) (*mail.Content, error) {
	if b := d.bare.Load(); b != nil {
		return (*b)(c)
	}
	return c.Retain(), nil
}

// Factory makes the filter "bayes", which asks the learner of the desk.
func (d *Desk) Factory() filter.Factory {
	return filter.Factory{Kind: Kind, New: func(env filter.Env, decode func(any) error) (filter.Spec, filter.Filter, error) {
		return open(d, env, decode)
	}}
}

// Use has the filters ask a learner.
func (d *Desk) Use(l Learner) { d.learner.Store(&l) }

// Learner gives the one in use, nil for none.
func (d *Desk) Learner() Learner {
	if l := d.learner.Load(); l != nil {
		return *l
	}
	return nil
}
