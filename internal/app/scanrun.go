package app

import (
	"context"
	"fmt"
	"slices"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/internal/config"
	"github.com/postern-mail/postern/internal/dns"
	"github.com/postern-mail/postern/internal/edge"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/pipeline"
	"github.com/postern-mail/postern/upstream"
)

// scanned is one recipient of a scan.
type scanned struct {
	given     string // as the command line has it
	recipient *filter.Recipient
	route     upstream.Route
	foreign   bool // no route takes mail for it
	policy    judgePolicy

	print   string     // what RCPT adds to the judgement
	refused mail.Reply // at RCPT; zero: it is accepted
	because string     // why
	by      *scan      // whose judgement it has; nil for one that is refused
}

// scanOutcome is what becomes of one recipient of several.
type scanOutcome struct {
	To      string        `json:"to"`
	Policy  string        `json:"policy"`
	Action  filter.Action `json:"action"`
	Reply   string        `json:"reply"` // to RCPT, or to the content
	Because string        `json:"because,omitempty"`
}

// address adds a recipient, with its route and its policy.
func (s *scan) address(given string) error {
	to, err := mail.ParseAddress(given)
	if err == nil && to.Domain() == "" { // RFC 5321 4.5.1: <postmaster>
		to, err = mail.ParseAddress(s.cfg.Postmaster)
	}
	if err != nil {
		return err
	}
	if slices.ContainsFunc(s.to, func(o *scanned) bool { return o.recipient.Address == to }) {
		return nil // delivered once
	}
	r := &scanned{given: given, policy: s.judge.policies[config.DefaultPolicy]}
	if s.table != nil {
		r.route, err = s.table.Route(upstream.Query{Recipient: to, From: s.transaction.From, Listener: s.listener.Name, Relay: s.session.Relay})
		r.foreign = err != nil
	}
	r.recipient = &filter.Recipient{Address: to, Route: r.route.Name, Exempt: exemptRecipients(s.cfg)(to)}
	if r.route.Policy != "" {
		r.policy = s.judge.policies[r.route.Policy]
	}
	if r.recipient.Exempt {
		r.policy.policy = r.policy.policy.ForExempt()
	}
	s.to = append(s.to, r)
	return nil
}

// run runs every phase of which something is known, and decides. Recipients who differ are taken as the listener would: those that
// it would ask to come by themselves are not judged, and those that the spool lets it take together each by their own policy.
func (s *scan) run(ctx context.Context, content *mail.Content) {
	s.content, s.kept = content, new(filter.Kept)
	// The connection and the message share one budget here.
	ctx, s.lateDNS = dns.WithBudget(ctx, dns.MessageBudget()), dns.MessageBudget()
	s.meet(ctx)
	accepted, all := s.accept(ctx)
	var runs *pipeline.Runs
	if len(all) > 1 {
		runs = new(pipeline.Runs)
	}
	for _, g := range all {
		g.transaction.Recipients = addressesOf(accepted)
		g.recipients = addressesOf(slices.DeleteFunc(slices.Clone(accepted), func(r *scanned) bool { return r.policy.plan != g.policy.plan }))
		g.decide(runs.In(ctx))
	}
	s.conclude(all)
}

func addressesOf(all []*scanned) (to []mail.Address) {
	for _, r := range all {
		to = append(to, r.recipient.Address)
	}
	return to
}

// meet runs the phases before RCPT, by the policy of those for whom none is known.
func (s *scan) meet(ctx context.Context) {
	run := func(p filter.Phase, in *filter.Input) { s.reports = append(s.reports, s.judge.base.Run(ctx, p, in)...) }
	run(filter.Connect, &filter.Input{Session: s.session})
	s.session = edge.Confirmed(s.session)
	run(filter.Helo, &filter.Input{Session: s.session})
	if s.envelope {
		run(filter.Mail, &filter.Input{Session: s.session, Transaction: s.transaction})
	}
}

// rcpt gives the scan for a recipient, with the reports up to RCPT; nil stands for none.
func (s *scan) rcpt(ctx context.Context, r *scanned) *scan {
	c := *s
	if c.first = r; r != nil {
		c.policy = r.policy
	}
	early, ok := s.early[c.policy.plan]
	if !ok {
		early, _ = edge.Late(c.policy.plan, edge.Early{Session: s.session, Transaction: s.transaction, Reports: s.reports},
			func(p filter.Phase, in *filter.Input) pipeline.Reports {
				if p == filter.Mail && !s.envelope {
					return nil
				}
				return c.policy.plan.RunLate(dns.WithBudget(ctx, s.lateDNS), p, in)
			})
		s.early[c.policy.plan] = early
	}
	c.session, c.transaction = early.Session, early.Transaction.Knowing(early.Transaction.Facts())
	c.reports = slices.Clip(early.Reports)
	if r != nil {
		in := &filter.Input{Session: c.session, Transaction: c.transaction, Recipient: r.recipient}
		c.reports = append(c.reports, c.policy.plan.Run(ctx, filter.Rcpt, in)...)
	}
	return &c
}

// accept takes the recipients one after another, as the listener does, and gives those who are accepted, and the scans of these: those who share
// a judgement share one. Where there is nobody the message is judged all the same: for the first recipient who is refused, or for none.
func (s *scan) accept(ctx context.Context) (accepted []*scanned, all []*scan) {
	if len(s.to) == 0 {
		return nil, []*scan{s.rcpt(ctx, nil)}
	}
	var refused *scan
	for _, r := range s.to {
		c := s.rcpt(ctx, r)
		v := c.policy.policy.Decide(c.reports)
		late := slices.IndexFunc(c.reports, func(r pipeline.Report) bool { return r.Phase >= filter.Rcpt })
		if late >= 0 && !c.policy.policy.Observe {
			r.print = edge.Fingerprint(c.reports[late:], v.Action)
		}
		if r.refused, r.because = s.refusal(r, &v, accepted); !r.refused.IsZero() {
			if refused == nil {
				refused = c
			}
			continue
		}
		accepted = append(accepted, r)
		if i := slices.IndexFunc(all, func(g *scan) bool { return g.first.alike(r) }); i >= 0 {
			r.by = all[i]
			continue
		}
		r.by, all = c, append(all, c)
	}
	if len(all) == 0 {
		return s.to, []*scan{refused}
	}
	return accepted, all
}

// refusal gives what the listener says to a recipient behind others, and why; zero where it takes it.
func (s *scan) refusal(r *scanned, v *pipeline.Verdict, others []*scanned) (reply mail.Reply, because string) {
	differs := func(same func(a, b *scanned) bool) bool {
		return slices.ContainsFunc(others, func(o *scanned) bool { return !same(o, r) })
	}
	mayPart := s.session.Relay || r.route.Spool && !differs(func(a, b *scanned) bool { return a.route.Spool == b.route.Spool })
	u := s.cfg.Upstream(r.route.Upstream)
	switch {
	case r.foreign:
		return edge.ReplyRelay(), noRoute(r)
	case v.Action >= filter.Defer:
		return v.Reply, v.Because
	case mayPart:
		return mail.Reply{}, ""
	case differs((*scanned).alike):
		return edge.ReplySplit(), "needs another upstream or policy than recipients before it, or comes to another end at RCPT"
	case len(others) > 0 && u != nil && u.Protocol == "lmtp":
		return edge.ReplyAlone(), "the next server speaks LMTP: one recipient at a time"
	}
	return mail.Reply{}, ""
}

func noRoute(r *scanned) string { return "no route takes mail for " + visible(r.given) }

// alike reports whether two recipients share a judgement, and the way to where their mail goes.
func (r *scanned) alike(o *scanned) bool {
	return r.route.Upstream == o.route.Upstream && r.policy.policy.Name == o.policy.policy.Name &&
		r.recipient.Exempt == o.recipient.Exempt && r.print == o.print
}

// decide runs the data phase, where there is content that is taken in, and comes to a verdict.
func (s *scan) decide(ctx context.Context) {
	if s.content == nil {
		s.verdict = s.policy.policy.Decide(s.reports)
		if s.verdict.Action < filter.Defer {
			s.refuse(edge.ReplyTooBig(), fmt.Sprintf("larger than limits.message of the listener %s: %d octets", s.listener.Name, s.listener.Limits.Message))
		}
	} else {
		s.examine(ctx)
	}
	if s.first != nil && s.first.foreign {
		s.refuse(edge.ReplyRelay(), noRoute(s.first))
	}
	s.reply = s.verdict.Reply
	if s.reply.IsZero() {
		s.reply = mail.NewReply(250, 2, 0, 0, "Ok")
		if s.verdict.Action == filter.Quarantine {
			s.reply = edge.HeldReply(quarantineReply(s.cfg.Policy(s.policy.policy.Name)), s.transaction.ID)
		}
	}
	s.reply = s.softened(s.reply)
}

// refuse makes the verdict one that is no policy's.
func (s *scan) refuse(r mail.Reply, because string) {
	v := &s.verdict
	v.Action, v.Reply, v.Because, v.Would, v.WouldBecause = filter.Reject, r, because, filter.Reject, because
}

// examine runs the data phase.
func (s *scan) examine(ctx context.Context) {
	intake := pipeline.Intake(s.content, pipeline.IntakeOptions{
		RejectBare: s.listener.BareNewlines == "reject", HeaderLimit: s.listener.Limits.Header,
	})
	s.reports = append(s.reports, intake)
	s.reports = append(s.reports, s.policy.plan.Run(ctx, filter.Data, s.input())...)
	s.verdict = s.policy.policy.Decide(s.reports)
	if intake.Result.Propose > s.verdict.Action {
		// What is not taken in at all is refused whatever the policy only observes.
		s.verdict.Action, s.verdict.Reply = intake.Result.Propose, *intake.Result.Reply
	}
}

func (s *scan) softened(r mail.Reply) mail.Reply {
	if s.cfg.SoftBounce {
		return r.Soft()
	}
	return r
}

// conclude makes s the scan of those whose judgement is the client's answer, and notes the others, and what each recipient gets. Of several
// judgements a deferral is that of all; a refusal is that of all or of nobody: where others get the message, it is held.
func (s *scan) conclude(all []*scan) {
	main, least := all[0], filter.Reject
	for _, g := range all {
		least = min(least, g.verdict.Action)
	}
	for _, g := range slices.Backward(all) {
		if g.verdict.Action == least {
			main = g
		}
	}
	for _, g := range all {
		if g.verdict.Action == filter.Defer {
			main, least = g, filter.Defer
		}
	}
	to, reply := s.to, main.reply
	for _, g := range all {
		if g.verdict.Action == filter.Reject && least < filter.Defer {
			g.verdict.Action, g.verdict.Because = filter.Quarantine, g.verdict.Because+" (held: others get the message)"
		}
	}
	*s = *main
	for _, g := range all {
		if g != main {
			g.reply = reply
			s.others = append(s.others, g)
		}
	}
	if len(to) < 2 {
		return
	}
	for _, r := range to {
		o := scanOutcome{To: r.given, Policy: r.policy.policy.Name, Because: r.because}
		switch {
		case r.by != nil && least == filter.Defer:
			o.Action, o.Because, o.Reply = least, main.verdict.Because, reply.String()
		case r.by != nil:
			o.Action, o.Because, o.Reply = r.by.verdict.Action, r.by.verdict.Because, reply.String()
		default:
			o.Action, o.Reply = filter.Defer, s.softened(r.refused).String()
			if r.refused.Permanent() {
				o.Action = filter.Reject
			}
		}
		s.outcomes = append(s.outcomes, o)
	}
}
