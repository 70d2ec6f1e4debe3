package upstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/postern-mail/postern/mail"
)

// Pool is the Relay that speaks SMTP or LMTP: it hands messages to one of several servers, over connections that
// it keeps for the next message. It has no goroutines of its own before Watch.
//
// Where a server does not take mail from us, or can't be reached, the next is tried; one that failed is
// asked last until its back-off is over, and never skipped: a server that refuses one sender's mail must
// not stop everybody's. Only one that a probe has found to answer nobody is left alone until another probe
// finds it back.
type Pool struct {
	cfg     Config
	servers []*server
	answers *answers
	asked   asked // what was found out by Ask

	changed signal       // given when something of a server's health has changed, and after each probe
	wanted  atomic.Int32 // how many wait for a server to be up
}

// NewPool checks the configuration and makes a pool without connections.
func NewPool(cfg Config) (*Pool, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	p := &Pool{cfg: cfg, answers: newAnswers()}
	p.asked.init(cfg.Memory)
	for i, address := range cfg.Servers {
		secure, err := cfg.tlsConfig(address)
		if err != nil {
			return nil, err
		}
		s := newServer(&p.cfg, i, secure)
		s.changed, s.wanted = &p.changed, &p.wanted
		p.servers = append(p.servers, s)
	}
	for i, s := range p.servers {
		s.others = slices.Delete(slices.Clone(p.servers), i, i+1)
		p.cfg.Hooks.up(s.address, true)
		p.cfg.Hooks.breaker(s.address, BreakerClosed)
	}
	return p, nil
}

// Close ends the idle connections, and what Watch began. Transactions under way, and any that are still begun, are carried out,
// each on a connection that is closed after it: nobody's mail fails because the configuration changed.
func (p *Pool) Close() {
	for _, s := range p.servers {
		s.close()
	}
	for _, s := range p.servers {
		s.watch.running.Wait()
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
	if env.Patience > 0 {
		hasty, cancel := hurry(ctx, env.Patience)
		defer cancel()
		ctx = hasty
	}
	lacking := 0 // SMTPUTF8
	for _, s := range p.inReach(ctx, now, o) {
		p.turn(ctx, s, now, env, m, o)
		if o.Kind == Delivered {
			return
		}
		if errors.Is(o.Err, errNoUTF8) {
			lacking++
		}
		if !elsewhere(o) || over(ctx) {
			break
		}
		now = time.Now()
	}
	if errors.Is(o.Err, errNoUTF8) && lacking < len(p.servers) {
		o.Kind = OurFault // of those that could not be asked, one may offer it
	}
}

// inReach gives the servers that a message may be tried with, in their order. Where nobody is there it waits a moment for
// one to be found; o is what there is to say if none is.
func (p *Pool) inReach(ctx context.Context, now time.Time, o *Outcome) []*server {
	all := p.order(now)
	if len(all) > 0 {
		return all
	}
	*o = Outcome{Kind: Unreachable, Stage: StageDial, Server: p.cfg.Servers[0], Err: fmt.Errorf("%w: %s", errDown, p.cfg.Servers[0])}
	if !p.revive(ctx) {
		return nil
	}
	return p.order(time.Now())
}

// order gives the servers in their order, those in their back-off last, and without those where nobody is.
func (p *Pool) order(now time.Time) []*server {
	if len(p.servers) == 1 {
		if p.servers[0].dark.Load() {
			return nil
		}
		return p.servers
	}
	type place struct {
		*server
		standing standing
		lot      float64
	}
	places := make([]place, 0, len(p.servers))
	for _, s := range p.servers {
		// Of exponential times, the one with the greatest rate is most often the first: as often as its share of all rates is.
		c := place{s, s.stands(now, rand.Float64()), rand.ExpFloat64() / float64(s.rank.Weight)} //nolint:gosec // no secret
		if c.standing != standsDark {
			places = append(places, c)
		}
	}
	slices.SortStableFunc(places, func(a, b place) int {
		return cmp.Or(cmp.Compare(max(a.standing, standsFull), max(b.standing, standsFull)), cmp.Compare(a.rank.Priority, b.rank.Priority),
			cmp.Compare(a.standing, b.standing), cmp.Compare(a.lot, b.lot))
	})
	all := make([]*server, len(places))
	for i, c := range places {
		all[i] = c.server
	}
	return all
}

// dialTime is how long a connection may take to make: not long where another server can have the message.
func (s *server) dialTime() time.Duration {
	if !s.elsewhere() {
		return s.cfg.Timeouts.Dial
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return min(s.cfg.Timeouts.Dial, atLeast(patience, s.health.took))
}

// turn makes the transaction with one server, and takes down what that says of it.
func (p *Pool) turn(ctx context.Context, s *server, now time.Time, env *mail.Envelope, m *mail.Message, o *Outcome) {
	waited, err := s.acquire(ctx)
	if err != nil {
		*o = Outcome{Kind: Unreachable, Stage: StageWait, Server: s.address, Err: err}
		return
	}
	defer s.release() // when it is known how the server is: that decides who has the slot next
	p.try(ctx, s, now, waited, env, m, o)
	if o.Kind == Delivered {
		s.serves(now)
		return
	}
	p.learn(env, o)
	s.judge(o, overdue(ctx, o))
}

// try makes the transaction with one server, of which a slot is held: over a pooled connection, and once more over a fresh one
// if that was found dead before the final dot.
func (p *Pool) try(ctx context.Context, s *server, now time.Time, waited bool, env *mail.Envelope, m *mail.Message, o *Outcome) {
	took := Took{Stage: StageWait}
	if waited {
		start := now
		now = time.Now()
		took.For = now.Sub(start)
	}
	need := p.cfg.Secure.need(env.To)
	c := s.take(now)
	if c != nil && !(p.fits(c, env) && c.secure(need) == nil) {
		c.spent = true
		s.put(c, now)
		c = nil
	}
	if c != nil {
		c.now = now
		p.transact(ctx, s, c, took, env, m, o)
		if o.Kind == Delivered || !dead(o) || over(ctx) || s.dark.Load() {
			return
		}
		p.cfg.Hooks.retried(s.address, o.Stage)
	} else {
		p.cfg.Hooks.phase(s.address, took.Stage, took.For)
	}
	if refused := s.barred(now); refused != nil {
		*o = *refused
		return
	}
	c, *o = s.dialer.dial(ctx, env.Client, s.dialTime(), need)
	s.logged(o)
	if c != nil {
		s.opened(c.ext, c.now)
		s.timed(c)
		if err := c.secure(need); err != nil {
			*o = c.insecure(err)
			s.put(c, c.now)
		} else {
			p.transact(ctx, s, c, Took{}, env, m, o)
		}
	}
	if o.Insecure() {
		o.Concerned = p.cfg.Secure.neediest(env.To, need)
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
	if h, ok := ctx.(*hasty); ok {
		t.whole = h.whole
	}
	t.run()
	*o = t.out
	*t = transaction{}
	if c.doubted && errors.Is(o.Err, errNoUTF8) {
		o.Kind = OurFault // it may have it, and has minded our name
	}
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
	return o.Kind == Unreachable || o.Kind == OurFault && o.Stage != StageDot && o.Stage != StageContent || errors.Is(o.Err, errNoUTF8)
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
