package edge

import (
	"slices"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/pipeline"
)

// settle tells the filters of a transaction how it ended, once. The zero Reply is for one that was broken off; held: some
// group's message went to the quarantine.
func (s *session) settle(t *transaction, r mail.Reply, held bool) {
	if t.settled {
		return
	}
	t.settled = true
	fate := fateOf(r)
	if fate == filter.Taken && held {
		fate = filter.Held
	}
	s.tell(t.reports, fate)
	for _, to := range t.to {
		s.tell(to.reports, fate)
	}
	s.tell(t.last, fate)
}

// fateOf gives what the client knows by a reply.
func fateOf(r mail.Reply) filter.Fate {
	switch {
	case r.Positive():
		return filter.Taken
	case r.Permanent():
		return filter.Refused
	}
	return filter.Unfinished
}

// tell tells filters how it ended.
func (s *session) tell(rs pipeline.Reports, fate filter.Fate) {
	for i := range rs {
		if f := rs[i].Result.Settle; f != nil {
			s.settled(f, fate)
		}
	}
}

// isHeld reports whether the message of some group went to the quarantine.
func isHeld(all []*judged, o *outcome) bool {
	if len(all) < 2 {
		return o.action == filter.Quarantine
	}
	return slices.ContainsFunc(all, func(j *judged) bool { return j.end.action == filter.Quarantine })
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
