package edge

import (
	"context"
	"strings"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/internal/dns"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/pipeline"
	"github.com/postern-mail/postern/upstream"
)

// Explainer tells what becomes of recipients, by the code that answers RCPT, and without a client. No filter runs, and
// no upstream is spoken to but by a recipient source that does so to know. It is for one goroutine.
type Explainer struct {
	gw       *Gateway
	listener ListenerConfig
	first    *recipient // that was accepted
}

// RecipientQuery is what an Explainer is asked.
type RecipientQuery struct {
	Path  string       // the recipient, with its angle brackets and source route or without
	From  mail.Address // the reverse-path
	Relay bool         // the client may relay
}

// RecipientAnswer is what became of a recipient. What it was refused too early for is zero.
type RecipientAnswer struct {
	Address  mail.Address // as it goes on: without a source route, the postmaster with a domain
	Exempt   bool         // always accepted, whatever filters say
	Route    upstream.Route
	Policy   string
	Known    upstream.Known // NoSource also where the source was not asked, as for the exempt
	Reply    mail.Reply     // to RCPT, without the id of a transaction
	Because  string         // why it is refused
	Err      error          // what is behind that
	Together mail.Reply     // to RCPT after the first recipient that was accepted, where that is another one; zero: the same
}

// NewExplainer makes an Explainer for a listener. Of the gateway it needs what finds a recipient's place: hostname,
// postmaster, router, relays (which are not used), recipients, policies by name, exempt recipients, soft_bounce.
func NewExplainer(gw *Gateway, listener string) *Explainer {
	own := *gw
	own.Plan, own.Policy, own.Policies = nil, nil, map[string]*Policy{}
	for name := range gw.Policies {
		own.Policies[name] = &Policy{Policy: &pipeline.Policy{Name: name}}
	}
	return &Explainer{gw: &own, listener: ListenerConfig{Name: listener, Limits: Limits{}.withDefaults()}}
}

// Explain tells what becomes of one recipient, as if it were the first of its transaction. The client asks for SMTPUTF8
// where the address needs it.
func (e *Explainer) Explain(ctx context.Context, q RecipientQuery) RecipientAnswer {
	if !strings.HasPrefix(q.Path, "<") {
		q.Path = "<" + q.Path + ">"
	}
	s := &session{gw: e.gw, in: &filter.Session{Listener: e.listener.Name, Relay: q.Relay}}
	s.w = &wire{cfg: &e.listener, ctx: ctx, path: q.Path}
	t := &transaction{gw: e.gw, in: &filter.Transaction{From: q.From, SMTPUTF8: true}, dns: dns.MessageBudget()}
	r := &recipient{}
	no := s.judge(t, r)
	a := RecipientAnswer{
		Address: r.address, Exempt: r.exempt, Route: r.route, Policy: r.policyName, Known: r.known,
		Reply: e.gw.soften(no.reply), Because: no.because, Err: no.err,
	}
	if !no.none() {
		return a
	}
	a.Reply = replyRcptOk
	if e.first == nil {
		e.first = r
		return a
	}
	t.to = []*recipient{e.first}
	a.Together = e.gw.soften(s.judge(t, &recipient{}).reply)
	return a
}
