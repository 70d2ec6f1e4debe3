package edge

import (
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/internal/dns"
	"github.com/postern-mail/postern/pipeline"
)

// Early is what is known before RCPT.
type Early struct {
	Session     *filter.Session
	Transaction *filter.Transaction
	Reports     pipeline.Reports // of the connect, helo and mail phases
}

// Late gives what is known before RCPT as the plan of a recipient's policy has it: see pipeline.Plan.Follow. run runs a phase of the plan,
// as RunLate does. own is what it found of that.
func Late(p *pipeline.Plan, e Early, run func(filter.Phase, *filter.Input) pipeline.Reports) (_ Early, own pipeline.Reports) {
	if !p.Late() {
		return e, nil
	}
	was := &filter.Input{Session: e.Session}
	out := Early{
		Session:     e.Session.Knowing(p.Remembered(e.Session.Facts())),
		Transaction: e.Transaction.Knowing(p.Remembered(e.Transaction.Facts())),
	}
	if _, had := auth.IPRev.From(was); had {
		if _, has := auth.IPRev.From(&filter.Input{Session: out.Session}); !has {
			out.Session.PTR = "" // nobody has seen it yet
		}
	}
	for _, ph := range []filter.Phase{filter.Connect, filter.Helo, filter.Mail} {
		if !p.HasLate(ph) {
			continue
		}
		in := &filter.Input{Session: out.Session}
		if ph == filter.Mail {
			in.Transaction = out.Transaction
		}
		own = append(own, run(ph, in)...)
		if ph == filter.Connect {
			out.Session = Confirmed(out.Session)
		}
	}
	out.Reports = p.Correct(e.Reports, own)
	return out, own
}

// early gives what is known of a transaction before RCPT as a policy has it. What it takes to find that out is done once, in the time until then.
func (s *session) early(t *transaction, p *Policy, until time.Time) Early {
	e := Early{Session: s.in, Transaction: t.in, Reports: join(s.reports, t.reports)}
	if !p.Plan.Late() {
		return e
	}
	if known, ok := t.early[p]; ok {
		return known
	}
	if t.early == nil {
		t.early, t.lateDNS = map[*Policy]Early{}, dns.MessageBudget()
	}
	e, own := Late(p.Plan, e, func(ph filter.Phase, in *filter.Input) pipeline.Reports {
		ctx, cancel := judging(s.w.ctx, t.lateDNS, until)
		defer cancel()
		rs := s.checked(p.Plan.RunLate(ctx, ph, in), in)
		switch {
		case s.in.Relay && ph < filter.Mail: // as at EHLO
			return nil
		case s.in.Relay:
			return dropHeld(rs)
		}
		return rs
	})
	t.early[p], t.late = e, append(t.late, own...)
	return e
}
