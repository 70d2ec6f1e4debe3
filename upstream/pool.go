package upstream

import (
	"context"
	"errors"
	"time"

	"github.com/postern-mail/postern/mail"
)

// Pool is the Relay that speaks SMTP or LMTP: it hands messages to one of several servers, over connections that
// it keeps for the next message. It has no goroutines of its own.
//
// Where a server does not take mail from us, or can't be reached, the next is tried; one that failed is
// asked last until its back-off is over, and never skipped: a server that refuses one sender's mail must
// not stop everybody's.
type Pool struct {
	cfg     Config
	servers []*server
	answers *answers
	asked   asked // what was found out by Ask

	recovered signal // given when a server is up again
}

// NewPool checks the configuration and makes a pool without connections.
func NewPool(cfg Config) (*Pool, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	p := &Pool{cfg: cfg, answers: newAnswers()}
	p.asked.init()
	for _, address := range cfg.Servers {
		secure, err := cfg.tlsConfig(address)
		if err != nil {
			return nil, err
		}
		p.servers = append(p.servers, newServer(&p.cfg, address, secure, &p.recovered))
	}
	for _, s := range p.servers {
		p.cfg.Hooks.up(s.address, true)
	}
	return p, nil
}

// Close ends the idle connections. Transactions under way, and any that are still begun, are carried out,
// each on a connection that is closed after it: nobody's mail fails because the configuration changed.
func (p *Pool) Close() {
	for _, s := range p.servers {
		s.close()
	}
}

// Cached gives the refusal that the servers gave to a lately, if the mailbox itself was the reason, in
// our own words unless Config.Verbatim says otherwise. It is for the reply to the client's RCPT.
func (p *Pool) Cached(a mail.Address) (mail.Reply, bool) {
	return p.cached(p.answers.refusal(nil, a))
}

// CachedFrom is Cached with the refusals that hold for mail from this reverse-path only.
func (p *Pool) CachedFrom(from, a mail.Address) (mail.Reply, bool) {
	return p.cached(p.answers.refusal(&from, a))
}

func (p *Pool) cached(r mail.Reply, ok bool) (mail.Reply, bool) {
	if !ok {
		return mail.Reply{}, false
	}
	return refusal(r, "this recipient", "", p.cfg.Verbatim), true
}

// Identifies reports whether the servers are told who the client of a message is: the envelope should say so.
func (p *Pool) Identifies() bool { return p.cfg.Identity != IdentityNone }

// MaxSize gives the octets of the largest message that one of the servers takes, by what they said lately (RFC 1870). It
// is 0 where one of them has no limit, and where none has said.
func (p *Pool) MaxSize() int64 {
	most, now := int64(0), time.Time{}
	for _, s := range p.servers {
		said := s.said.Load()
		if said == nil || said.octets == 0 && len(p.servers) == 1 {
			continue
		}
		if now.IsZero() {
			now = time.Now()
		}
		switch lately := now.Sub(said.at) < sizeFor; {
		case lately && said.octets == 0:
			return 0
		case lately:
			most = max(most, said.octets)
		}
	}
	return most
}

// Deliver makes one transaction with the first server that will have it. A transaction whose final dot
// was sent is never tried again, whatever became of it.
func (p *Pool) Deliver(ctx context.Context, env mail.Envelope, m *mail.Message) Outcome {
	start := time.Now()
	var o Outcome
	p.deliver(ctx, start, &env, m, &o)
	o.Elapsed, o.Verbatim = time.Since(start), p.cfg.Verbatim
	p.cfg.Hooks.result(&o)
	return o
}

// deliver is Deliver without what is the same of all outcomes.
func (p *Pool) deliver(ctx context.Context, now time.Time, env *mail.Envelope, m *mail.Message, o *Outcome) {
	if len(env.To) == 0 {
		*o = Outcome{Stage: StageMail, Server: p.cfg.Servers[0], Err: errors.New("upstream: no recipients")}
		return
	}
	for _, s := range p.order(now) {
		p.try(ctx, s, now, env, m, o)
		if o.Kind == Delivered {
			s.mark(true)
			return
		}
		p.learn(env, o)
		s.judge(o, over(ctx))
		if !elsewhere(o) || over(ctx) {
			return
		}
		now = time.Now()
	}
}

// order gives the servers in their order, those in their back-off last.
func (p *Pool) order(now time.Time) []*server {
	if len(p.servers) == 1 {
		return p.servers
	}
	up, down := make([]*server, 0, len(p.servers)), []*server(nil)
	for _, s := range p.servers {
		if s.isDown(now) {
			down = append(down, s)
		} else {
			up = append(up, s)
		}
	}
	return append(up, down...)
}

// try makes the transaction with one server: over a pooled connection, and once more over a fresh one if
// that was found dead before the final dot.
func (p *Pool) try(ctx context.Context, s *server, now time.Time, env *mail.Envelope, m *mail.Message, o *Outcome) {
	waited, err := s.acquire(ctx)
	if err != nil {
		*o = Outcome{Kind: Unreachable, Stage: StageWait, Server: s.address, Err: err}
		return
	}
	defer s.release()
	took := Took{Stage: StageWait}
	if waited {
		start := now
		now = time.Now()
		took.For = now.Sub(start)
	}
	c := s.take(now)
	if c != nil && !p.fits(c, env) {
		c.spent = true
		s.put(c, now)
		c = nil
	}
	if c != nil {
		c.now = now
		p.transact(ctx, s, c, took, env, m, o)
		if o.Kind == Delivered || !dead(o) || over(ctx) {
			return
		}
		p.cfg.Hooks.retried(s.address, o.Stage)
	} else {
		p.cfg.Hooks.phase(s.address, took.Stage, took.For)
	}
	if c, *o = s.dialer.dial(ctx, env.Client); c != nil {
		s.opened(c.ext, c.now)
		p.transact(ctx, s, c, Took{}, env, m, o)
	}
}

// transact makes the transaction over c, whose clock is right, and gives c back. It tells the stages, and the one before
// if there was one.
func (p *Pool) transact(ctx context.Context, s *server, c *conn, before Took, env *mail.Envelope, m *mail.Message, o *Outcome) {
	c.accepted, c.took = c.accepted[:0], c.took[:0]
	if before.Stage != "" {
		c.took = append(c.took, before)
	}
	c.attach(ctx)
	t := &c.transaction
	known, fresh := p.answers.good(env.To, c.now)
	t.c, t.env, t.m, t.eager = c, *env, m, known && m != nil
	t.presents = p.cfg.Identity == IdentityXClient
	t.run()
	*o = t.out
	*t = transaction{}
	c.detach()
	c.spent = p.cfg.Identity == IdentityProxy || o.Kind != Delivered && c.uses > 1 && enough(o)
	p.answers.accepted(env.From, c.accepted, c.now, fresh)
	p.cfg.Hooks.phases(s.address, c.took)
	s.put(c, c.now)
}

// learn remembers the refusals of an outcome.
func (p *Pool) learn(env *mail.Envelope, o *Outcome) {
	if len(o.Refused) == 0 {
		return
	}
	now := time.Now()
	for a, r := range o.Refused {
		p.answers.refused(env.From, a, r, now)
		if speaksOfMailbox(r) {
			p.asked.forget(a)
		}
	}
}

// enough reports whether an outcome on a pooled connection may mean no more than that the server takes no more messages
// over it: OpenSMTPD answers the MAIL of the hundred and first with 452 4.5.3, and every further one.
func enough(o *Outcome) bool {
	return o.Kind == OurFault && o.Stage == StageMail && o.Reply.Temporary()
}

// dead reports whether an outcome on a pooled connection may mean no more than that the server had closed
// it meanwhile, or was about to. After the final dot it never does.
func dead(o *Outcome) bool {
	if o.Stage == StageDot {
		return false
	}
	if enough(o) {
		return true
	}
	return o.Kind == Unreachable || o.Kind == OurFault && (o.Reply.Code == 421 || errors.Is(o.Err, errProtocol))
}

// elsewhere reports whether another server may take what this one did not.
func elsewhere(o *Outcome) bool {
	return o.Kind == Unreachable || o.Kind == OurFault && o.Stage != StageDot && o.Stage != StageContent
}

// errWait is the cause where all connections that the pool may have are in use.
var errWait = errors.New("upstream: no connection became free")

// over reports whether ctx is done, or is to be done by now: the deadlines of connections are its own, and
// may be noticed first.
func over(ctx context.Context) bool {
	if ctx.Err() != nil {
		return true
	}
	limit, ok := ctx.Deadline()
	return ok && !time.Now().Before(limit)
}
