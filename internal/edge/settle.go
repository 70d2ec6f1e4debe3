package edge

import (
	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/pipeline"
)

// settle tells the filters of a transaction how it ended, once. The zero Reply is for one that was broken off.
func (s *session) settle(t *transaction, r mail.Reply) {
	if t.settled {
		return
	}
	t.settled = true
	s.tell(t.reports, r)
	for _, to := range t.to {
		s.tell(to.reports, r)
	}
	s.tell(t.last, r)
}

// tell tells filters what the client was told.
func (s *session) tell(rs pipeline.Reports, r mail.Reply) {
	fate := filter.Unfinished
	if r.Positive() {
		fate = filter.Taken
	} else if r.Permanent() {
		fate = filter.Refused
	}
	for i := range rs {
		if f := rs[i].Result.Settle; f != nil {
			s.settled(f, fate)
		}
	}
}

// settled calls a filter's function. What goes wrong in it is no matter of the client's.
func (s *session) settled(f func(filter.Fate), fate filter.Fate) {
	defer func() {
		if v := recover(); v != nil {
			s.crashed(v)
		}
	}()
	f(fate)
}
