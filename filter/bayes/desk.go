package bayes

import (
	"sync/atomic"

	"github.com/postern-mail/postern/filter"
)

// Desk is where the filters of one process and whoever keeps the learner meet: filters are made before the learner is opened. The zero Desk has no learner.
type Desk struct {
	learner atomic.Pointer[Learner]
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
