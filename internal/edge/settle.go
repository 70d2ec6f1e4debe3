package edge

import (
	"errors"
	"os"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/pipeline"
)

// settle tells the filters of a transaction how it ended, once.
func (s *session) settle(t *transaction, fate filter.Fate) {
	if t.settled {
		return
	}
	t.settled = true
	s.tell(t.reports, fate)
	s.tell(t.late, fate)
	for _, to := range t.to {
		s.tell(to.reports, fate)
	}
	s.tell(t.last, fate)
}

// recordAborted writes the lines of recipients that were accepted and whose message never came.
func (s *session) recordAborted(t *transaction) {
	because := s.w.whyAborted()
	for _, r := range t.to {
		s.record(t, r.address, fate{stage: StageRcpt, aborted: true, because: because, route: r.route.Name, upstream: r.route.Upstream})
	}
}

// whyAborted says by whom a transaction was ended that has no message: by the command at hand, or with the connection.
func (w *wire) whyAborted() string {
	switch {
	case w.broken:
		return "a fault of ours ended it"
	case errors.Is(w.ended, os.ErrDeadlineExceeded) && !w.isDraining():
		return "the client was silent for too long"
	case w.hungUp, w.isDraining() && w.ended != nil, w.isKilled():
		return "we ended the connection"
	case w.ended != nil && w.last != "QUIT":
		return "the connection was lost"
	}
	return "the client ended it by " + w.last
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

// fateOfAll is fateOf of a message that was judged for these groups.
func fateOfAll(all []*judged, o *outcome) filter.Fate {
	fate := fateOf(o.reply)
	if fate != filter.Taken {
		return fate
	}
	done, would := o.action, filter.Continue
	for _, j := range all {
		if len(all) > 1 {
			done = max(done, j.end.action)
		}
		would = max(would, j.verdict.Action, j.verdict.Would)
	}
	switch {
	case done == filter.Quarantine:
		return filter.Held
	case would >= filter.Tag:
		return filter.Doubted
	}
	return fate
}

// tell tells filters how it ended.
func (s *session) tell(rs pipeline.Reports, fate filter.Fate) {
	for i := range rs {
		if f := rs[i].Result.Settle; f != nil {
			s.settled(f, fate)
		}
	}
}

// settled calls a filter's function. What goes wrong in it is no matter of the client's.
func (s *session) settled(f func(filter.Fate), fate filter.Fate) {
	defer s.contain()
	f(fate)
}
