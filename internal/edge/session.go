package edge

import (
	"context"
	"errors"
	"net/netip"
	"runtime/debug"
	"strings"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/internal/dns"
	"github.com/postern-mail/postern/internal/limits"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/pipeline"
)

// session is one client from EHLO on. Its methods are called by the engine, one at a time and in the
// goroutine of the connection.
type session struct {
	w      *wire
	taken  func()   // tells the engine that the content has been read from the wire
	gw     *Gateway // of the last EHLO
	hellos int      // the EHLO that in and reports belong to

	in      *filter.Session
	reports pipeline.Reports  // of the connect and helo phases
	refusal *pipeline.Verdict // of these phases, kept for MAIL, since the client may log in before
	tx      *transaction      // nil between transactions

	traced struct { // the client, in trace fields
		as   *filter.Session
		from string
	}
	shown struct { // and in the log
		addr netip.Addr
		as   string
	}
}

// newSession answers the first EHLO of a run of the engine.
func newSession(w *wire, taken func()) (_ smtp.Session, err error) {
	s := &session{w: w, taken: taken}
	defer s.recovered(&err)
	if r := s.greet(); !r.IsZero() {
		return nil, engineError(r)
	}
	return s, nil
}

// greet takes note of an EHLO and runs the phases that belong to it. The zero Reply is a welcome.
func (s *session) greet() mail.Reply {
	gw := s.w.gateway()
	s.gw, s.hellos, s.refusal = gw, s.w.hellos, nil
	s.in = &filter.Session{
		ID:       mail.NewID(gw.Node),
		Listener: s.w.cfg.Name,
		Client:   s.w.client,
		Server:   s.w.local,
		Helo:     cut(s.w.helo, maxHello),
		ESMTP:    s.w.esmtp,
		TLS:      s.w.proof(),
		Relay:    s.w.mayRelay(),
		Exempt:   !s.w.unnamed && gw.exempt(s.w.client.Addr()),
		Big:      gw.big(s.w.client.Addr()),
		Early:    s.w.early,
		Began:    s.w.began,
	}
	s.w.id = s.in.ID
	if s.w.user != nil {
		asUser(s.in, s.w.user)
	}
	budget := dns.MessageBudget()
	connect, helo := s.w.met.contexts(s.w.ctx, s.in)
	s.reports = s.consultIn(connect, budget, gw.Plan, filter.Connect, &filter.Input{Session: s.in})
	s.in = Confirmed(s.in)
	s.reports = append(s.reports, s.consultIn(helo, budget, gw.Plan, filter.Helo, &filter.Input{Session: s.in})...)
	if s.in.Relay {
		s.reports = nil // what speaks against strangers does not count for our own
		return mail.Reply{}
	}
	v := gw.observing(gw.Policy).Decide(s.reports)
	if v.Hold || v.Action < filter.Defer {
		return mail.Reply{}
	}
	if s.mayYetRelay() {
		s.refusal = &v
		return mail.Reply{}
	}
	return s.turnAway(&v)
}

// turnAway refuses a client for what it shows.
func (s *session) turnAway(v *pipeline.Verdict) mail.Reply {
	gw := s.gw
	r := named(s.soften(gw, v.Reply), s.in.ID)
	gw.metrics().Reject(s.w.cfg.Name, StageHelo, r, ReasonFilter)
	gw.Log.Info("client refused", KeyID, s.in.ID, KeyListener, s.w.cfg.Name, KeyClient, s.in.Client.Addr().String(), KeyHelo, s.in.Helo,
		KeyStage, StageHelo, KeyBecause, gw.Privacy.Mask(v.Because), KeyReply, gw.Privacy.Mask(r.String()))
	s.recordVerdict(gw, judgement{id: s.in.ID, stage: StageHelo, reports: s.reports, verdict: v})
	return r
}

// judging gives the context of filters that pay their look-ups from a budget, and have time until then.
func judging(ctx context.Context, b *dns.Budget, until time.Time) (context.Context, context.CancelFunc) {
	return context.WithDeadline(dns.WithBudget(ctx, b), until)
}

// Confirmed gives the session as it is when the connect phase has found the client's confirmed name (RFC 8601 3).
func Confirmed(s *filter.Session) *filter.Session {
	r, ok := auth.IPRev.From(&filter.Input{Session: s})
	if !ok || r.Result != auth.Pass || r.Name == "" {
		return s
	}
	return s.With(func(c *filter.Session) { c.PTR = r.Name })
}

// met is whom the phases of EHLO have run on in this connection.
type met struct {
	client netip.Addr
	helo   string
}

// contexts gives those of the connect and of the helo phase, which tell that they have run on the same before, and takes
// note of whom they run on.
func (m *met) contexts(ctx context.Context, in *filter.Session) (connect, helo context.Context) {
	was := *m
	*m = met{in.Client.Addr(), in.Helo}
	if !was.client.IsValid() || was.client != m.client {
		return ctx, ctx
	}
	connect, helo = pipeline.Again(ctx), ctx
	if was.helo == m.helo {
		helo = connect
	}
	return connect, helo
}

// consult runs one phase of a plan in a time of its own.
func (s *session) consult(b *dns.Budget, p *pipeline.Plan, ph filter.Phase, in *filter.Input) pipeline.Reports {
	return s.consultIn(s.w.ctx, b, p, ph, in)
}

// consultIn is consult, where more than the end of the connection is known of the context.
func (s *session) consultIn(ctx context.Context, b *dns.Budget, p *pipeline.Plan, ph filter.Phase, in *filter.Input) pipeline.Reports {
	return s.consultUntil(ctx, time.Now().Add(judgeTime), b, p, ph, in)
}

// consultUntil is consultIn, in the time that is left to several.
func (s *session) consultUntil(
	ctx context.Context, until time.Time, b *dns.Budget, p *pipeline.Plan, ph filter.Phase, in *filter.Input,
) pipeline.Reports {
	if !p.Has(ph) {
		return nil
	}
	ctx, cancel := judging(ctx, b, until)
	defer cancel()
	return s.run(ctx, p, ph, in)
}

// run runs one phase of a plan; a nil plan has none.
func (s *session) run(ctx context.Context, p *pipeline.Plan, ph filter.Phase, in *filter.Input) pipeline.Reports {
	if p.Empty() {
		return nil
	}
	return s.checked(p.Run(ctx, ph, in), in)
}

// checked gives reports of a run, and has the log tell of what crashed in it.
func (s *session) checked(rs pipeline.Reports, in *filter.Input) pipeline.Reports {
	for i := range rs {
		var crash *pipeline.PanicError
		if errors.As(rs[i].Err, &crash) && !rs[i].Shared {
			s.gw.Log.Error("filter panicked", KeyID, idOf(in), KeyFilter, rs[i].Stage, s.gw.fault(crash), KeyStack, string(crash.Stack))
		}
	}
	return rs
}

// idOf gives the id that a filter's work belongs to: the transaction's, before there is one the connection's.
func idOf(in *filter.Input) string {
	if in.Transaction != nil {
		return in.Transaction.ID
	}
	return in.Session.ID
}

// transaction is one mail transaction (RFC 5321 3.3), with the Gateway that it began with.
type transaction struct {
	gw      *Gateway
	in      *filter.Transaction
	reports pipeline.Reports  // of the mail phase
	early   map[*Policy]Early // where that is something else for a policy
	late    pipeline.Reports  // of what ran late for that
	to      []*recipient      // accepted
	last    pipeline.Reports  // of the data phase
	runs    *pipeline.Runs    // what policies share of it; nil where there is one
	settled bool              // the filters know how it ended
	end     mail.Reply        // to the content, once it is settled
	parted  bool              // a recipient was asked to come by itself
	held    string            // why recipients were refused by a held verdict that has its line in the log
	dns     *dns.Budget       // of all its phases
	lateDNS *dns.Budget       // of what runs late, also for recipients who are put off
	share   limits.Share      // of the budget for content
	dsn     mail.DSN          // without what is asked for single recipients
	began   time.Time
	until   time.Time // when all filters of the data phase, of all groups, and the delivery must have ended
}

// Mail begins a transaction. The engine's own reading of the path is not used, see commandPath.
func (s *session) Mail(_ string, o *smtp.MailOptions) (err error) {
	defer s.recovered(&err)
	if s.tx != nil {
		// RFC 5321 4.1.4: MAIL must not be sent while a transaction is open. The engine does not look.
		return s.refuse(s.gw, StageMail, s.soften(s.gw, replySequence), ReasonSequence)
	}
	if s.hellos != s.w.hellos { // a second EHLO: the engine keeps its session, we do not
		if r := s.greet(); !r.IsZero() {
			return engineError(r)
		}
	}
	if !s.stillMay() {
		return s.refuse(s.gw, StageMail, named(replyAuthGone, s.in.ID), ReasonLogin)
	}
	if s.refusal != nil && !s.in.Relay {
		return engineError(s.turnAway(s.refusal))
	}
	t := &transaction{
		gw: s.w.gateway(), began: time.Now(), dns: dns.MessageBudget(),
		dsn: s.w.dsnOf(o),
	}
	s.gw = t.gw
	t.in = &filter.Transaction{
		ID: mail.NewID(t.gw.Node), Size: o.Size, SMTPUTF8: o.UTF8, Body8Bit: o.Body == smtp.Body8BitMIME, Began: t.began,
	}
	s.w.id = t.in.ID
	reply, reason, because := s.mail(t, o)
	if !reply.IsZero() {
		reply = named(s.soften(t.gw, reply), t.in.ID)
		s.settle(t, fateOf(reply))
		s.record(t, mail.Address{}, fate{stage: StageMail, action: actionOf(reply), because: because, reply: reply})
		return s.refuse(t.gw, StageMail, reply, reason)
	}
	s.tx = t
	s.w.setBusy(true)
	return nil
}

// mail judges the reverse-path. The zero Reply accepts it.
func (s *session) mail(t *transaction, o *smtp.MailOptions) (r mail.Reply, reason, because string) {
	from, err := parsePath(s.w.path)
	if err == nil && from.Domain() == "" && !from.IsZero() { // RFC 5321 4.1.1.3: only as a recipient
		err = errors.New("edge: postmaster without a domain")
	}
	if err != nil {
		return replySender, ReasonAddress, err.Error()
	}
	if !from.IsASCII() && !o.UTF8 {
		return replyMailUTF8, ReasonUTF8, "reverse-path is not ASCII"
	}
	t.in.From = from
	if !t.gw.Content.Fits(t.in.Size) {
		return replyBusy, ReasonBusy, "too much content at once"
	}
	if r := t.gw.insecure(s.w.address(), from, s.w.proof()); !s.in.Relay && !r.IsZero() {
		return r, ReasonTLS, "should have come within TLS, or with a certificate"
	}
	if u := s.w.user; u != nil && !u.MaySend(from) {
		return replyNotYours, ReasonSender, "not an address of user " + u.Name
	}
	t.reports = s.consult(t.dns, t.gw.Plan, filter.Mail, &filter.Input{Session: s.in, Transaction: t.in})
	if s.in.Relay {
		t.reports = dropHeld(t.reports)
	}
	all := join(s.reports, t.reports)
	v := t.gw.observing(t.gw.Policy).Decide(all)
	if v.Hold || v.Action < filter.Defer {
		return mail.Reply{}, "", ""
	}
	s.recordVerdict(t.gw, judgement{id: t.in.ID, stage: StageMail, reports: all, verdict: &v})
	return v.Reply, ReasonFilter, v.Because
}

// parsePath reads a path, also one without angle brackets, which many a script sends.
func parsePath(s string) (mail.Address, error) {
	if strings.HasPrefix(s, "<") {
		return mail.ParsePath(s)
	}
	return mail.ParseAddress(s)
}

// Reset ends the transaction: RSET, EHLO, or the end of DATA.
func (s *session) Reset() {
	if t := s.tx; t != nil && !t.settled {
		s.settle(t, filter.Unfinished)
		s.recordAborted(t)
	}
	s.tx = nil
	if s.in != nil && !s.w.broken {
		s.w.id = s.in.ID
	}
	s.w.setBusy(false)
}

// Logout ends the session. go-smtp calls it where a panic would end the process.
func (s *session) Logout() error {
	defer s.contain()
	s.Reset()
	return nil
}

// soften applies soft_bounce to the answer to a command. The limit on refused commands goes by what the answer
// would be without it.
func (s *session) soften(gw *Gateway, r mail.Reply) mail.Reply {
	s.w.refused = r.Permanent()
	return gw.soften(r)
}

// refuse counts a refusal and makes the engine's error of it.
func (s *session) refuse(gw *Gateway, stage string, r mail.Reply, reason string) error {
	gw.metrics().Reject(s.w.cfg.Name, stage, r, reason)
	return engineError(r)
}

// recovered turns a panic of the session into a 451, or a 421: a fault of ours is never the sender's.
func (s *session) recovered(err *error) {
	v := recover()
	if v == nil {
		return
	}
	s.crashed(v)
	*err = engineError(replyPanic)
	if s.w.body {
		*err = engineError(replyPanicEnd) // what is left of the content must not be read as commands
	}
}

// broke is recovered for a message. One that has not come to its end ends so, and its recipients have their lines; one that has is answered by
// that: what was taken was taken.
func (s *session) broke(t *transaction, err *error) {
	v := recover()
	if v == nil {
		return
	}
	s.crashed(v)
	if t.settled {
		*err = engineError(t.end)
		return
	}
	o := panicked()
	if s.w.body {
		o.reply = replyPanicEnd
	}
	*err = s.finish(t, nil, o)
}

// panicked is the outcome of a message that a panic of ours has ended.
func panicked() outcome {
	return outcome{reply: replyPanic, reason: ReasonPanic, action: filter.Defer, because: "panic", changed: ChangedNo}
}

// contain is deferred by what is no matter of the client's: a panic in it is taken note of, and changes nothing.
func (s *session) contain() {
	if v := recover(); v != nil {
		s.crashed(v)
	}
}

// crashed takes note of a panic, in the goroutine that has it.
func (s *session) crashed(v any) {
	gw := s.w.gateway()
	quietly(func() { gw.metrics().Panic() })
	quietly(func() {
		gw.Log.Error("session panicked", KeyID, s.w.id, KeyClient, s.w.client.Addr().String(), gw.fault(v), KeyStack, string(debug.Stack()))
	})
}

// quietly tells of a panic. One in that has nobody left to be told, and must not end the process, which other clients wait for.
func quietly(tell func()) {
	defer func() { _ = recover() }()
	tell()
}

// join puts reports of several phases one after another, into a slice of its own.
func join(all ...pipeline.Reports) pipeline.Reports {
	var out pipeline.Reports
	for _, rs := range all {
		out = append(out, rs...)
	}
	return out
}

func cut(s string, limit int) string {
	if len(s) > limit {
		s = s[:limit]
	}
	return strings.ToValidUTF8(s, "?")
}
