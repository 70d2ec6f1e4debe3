package edge

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/pipeline"
	"github.com/postern-mail/postern/upstream"
)

// recipient is one that may be accepted, and all that decides about it.
type recipient struct {
	address    mail.Address
	route      upstream.Route
	relay      upstream.Relay
	policy     *Policy
	policyName string
	judge      *pipeline.Policy // policy.Policy, made to exempt and to observe where that is due
	exempt     bool
	known      upstream.Known // what the recipient source said, where it was asked
	notify     mail.Notify
	reports    pipeline.Reports // of the rcpt phase
	spool      bool             // the spool may take mail for it
	print      string           // of the rcpt phase: what could make the message's outcome another one
}

// refusal is why a recipient is not accepted. The zero value is none.
type refusal struct {
	reply   mail.Reply
	reason  string // of the metric of rejects
	result  string // of the metric of recipients
	source  string
	because string
	err     error
}

func (r refusal) none() bool { return r.reply.IsZero() }

// cachedRelay is a Relay that remembers which recipients its server refused. The answer is in our words.
type cachedRelay interface {
	Cached(mail.Address) (mail.Reply, bool)
}

// cachedFromRelay is one that also remembers refusals which hold for one reverse-path only.
type cachedFromRelay interface {
	CachedFrom(from, to mail.Address) (mail.Reply, bool)
}

// oneRelay is one whose servers may answer for each recipient by itself when they have the message (LMTP). To its client
// the gateway has one reply to give: it can be true of one recipient only.
type oneRelay interface{ OneRecipient() bool }

// apartRelay is one whose refusal of a message may be about its one recipient. Apart makes that of it: the client is put off,
// and told when it comes again with this recipient alone.
type apartRelay interface {
	Apart(from, to mail.Address, o upstream.Outcome) upstream.Outcome
}

// Rcpt judges one recipient. A recipient that is refused leaves nothing behind: neither facts nor reports
// of it reach the message.
func (s *session) Rcpt(_ string, o *smtp.RcptOptions) (err error) {
	defer s.recovered(&err)
	t := s.tx
	if t == nil {
		return s.refuse(s.gw, StageRcpt, replyLocal, ReasonSequence)
	}
	r := &recipient{notify: s.w.notifyOf(o)}
	no := s.judge(t, r)
	if no.source == "" {
		no.source = SourceNone
	}
	t.parted = t.parted || no.reason == ReasonSplit
	m := t.gw.metrics()
	if no.none() {
		m.Recipient(RecipientAccepted, no.source)
		s.w.moved = true
		return nil
	}
	no.reply = named(s.soften(t.gw, no.reply), t.in.ID)
	s.tell(r.reports, fateOf(no.reply))
	m.Recipient(no.result, no.source)
	if no.result == RecipientUnknown {
		s.w.unknown++
	}
	s.record(t, r.address, fate{
		stage: StageRcpt, action: actionOf(no.reply), because: no.because, reply: no.reply,
		route: r.route.Name, upstream: r.route.Upstream, err: no.err,
	})
	return s.refuse(t.gw, StageRcpt, no.reply, no.reason)
}

// judge takes one recipient through the design's table, and into the transaction if nothing speaks
// against it.
func (s *session) judge(t *transaction, r *recipient) refusal {
	var err error
	if r.address, err = parsePath(s.w.path); err != nil || r.address.IsZero() {
		return refusal{replyRecipient, ReasonAddress, RecipientRefused, SourceNone, "malformed address", err}
	}
	if !r.address.IsASCII() && !t.in.SMTPUTF8 {
		return refusal{replyRcptUTF8, ReasonUTF8, RecipientRefused, SourceNone, "recipient is not ASCII", nil}
	}
	if t.has(r.address) {
		return refusal{source: SourceNone} // delivered once
	}
	if len(t.to) >= s.w.cfg.Limits.Recipients { // RFC 5321 4.5.3.1.10
		return refusal{replyRecipients, ReasonRecipients, RecipientOverLimit, SourceNone, "too many recipients", nil}
	}
	if no := s.route(t, r); !no.none() || t.has(r.address) {
		return no
	}
	source, no := s.known(t, r)
	if !no.none() {
		return no
	}
	if r.spool && s.in.Relay && !t.gw.Spool.Room(t.in.Size) { // RFC 5321 4.2.3: told before the content comes
		return refusal{replyFull, ReasonStorage, RecipientDeferred, source, "no room in the spool", nil}
	}
	if most := sizeFor(r.relay); most > 0 && t.in.Size > most {
		return refusal{replyTooBigHere, ReasonSize, RecipientRefused, source, "too big for the next server", nil}
	}
	if r.route.Exchange && len(t.to) >= upstream.ExchangeRecipients { // RFC 5321 4.5.3.1.10
		return refusal{replyRecipients, ReasonRecipients, RecipientOverLimit, source, "too many recipients for Exchange", nil}
	}
	// The filters come first: one that asks clients to come again counts this try of a recipient, too, who would have
	// to come a third time else.
	if no := s.judgeFilters(t, r); !no.none() {
		return no
	}
	if !t.all(together, r) && !t.mayPart(r) {
		return split("needs another upstream or policy than recipients before it")
	}
	if one, ok := r.relay.(oneRelay); ok && len(t.to) > 0 && one.OneRecipient() && !t.mayPart(r) {
		return refusal{replyAlone, ReasonSplit, RecipientDeferred, SourceNone, "the next server speaks LMTP: one recipient at a time", nil}
	}
	t.to = append(t.to, r)
	return refusal{source: source}
}

// has reports whether a recipient was accepted already, in just this spelling: RFC 5321 2.4 leaves it to the
// server inside whether another case is another mailbox.
func (t *transaction) has(a mail.Address) bool {
	for _, r := range t.to {
		if r.address == a {
			return true
		}
	}
	return false
}

func split(why string) refusal {
	return refusal{replySplit, ReasonSplit, RecipientDeferred, SourceNone, why, nil}
}

// all reports whether r is the same as each recipient so far. They need not be all alike: some may have parted before.
func (t *transaction) all(same func(a, b *recipient) bool, r *recipient) bool {
	for _, to := range t.to {
		if !same(to, r) {
			return false
		}
	}
	return true
}

func samePrint(a, b *recipient) bool { return a.print == b.print }

// together reports whether two recipients may share a transaction as far as configuration goes.
func together(a, b *recipient) bool {
	return a.route.Upstream == b.route.Upstream && a.policyName == b.policyName && a.exempt == b.exempt
}

// route finds where the recipient's mail goes and by which policy.
func (s *session) route(t *transaction, r *recipient) refusal {
	gw := t.gw
	err := upstream.ErrNoRoute
	if r.address.Domain() != "" {
		r.route, err = gw.Router.Route(s.query(t, r.address))
	}
	if errors.Is(err, upstream.ErrNoRoute) && isPostmaster(r.address) && ourselves(gw, r.address.Domain()) {
		// RFC 5321 4.5.1: mail for <postmaster> without a domain, which is ours to place, also where our name is
		// within a mail domain; and for the postmaster of this very host, whose name need not be one.
		if own, e := mail.ParseAddress(gw.Postmaster); e == nil && own.Domain() != "" {
			if route, e := gw.Router.Route(s.query(t, own)); e == nil {
				r.route, err, r.address, r.exempt = route, nil, own, true
			}
		}
		if err != nil {
			return refusal{replyConfig, ReasonConfig, RecipientDeferred, SourceNone, "postmaster has no route", err}
		}
	}
	switch {
	case errors.Is(err, upstream.ErrNoRoute):
		return refusal{replyRelay, ReasonRelay, RecipientRelay, SourceNone, "no route", nil}
	case err != nil:
		return refusal{replyLocal, ReasonConfig, RecipientDeferred, SourceNone, "routing failed", err}
	}
	if r.relay = gw.Relays[r.route.Upstream]; r.relay == nil {
		return refusal{replyConfig, ReasonConfig, RecipientDeferred, SourceNone, "no such upstream: " + r.route.Upstream, nil}
	}
	if r.policyName = r.route.Policy; r.policyName == "" {
		r.policyName = "default"
	}
	r.policy = gw.Policies[r.policyName]
	if r.policy == nil && r.route.Policy != "" {
		return refusal{replyConfig, ReasonConfig, RecipientDeferred, SourceNone, "no such policy: " + r.policyName, nil}
	}
	if r.policy == nil {
		r.policy = &Policy{Policy: &pipeline.Policy{}}
	}
	r.spool = gw.Spool != nil && (r.route.Spool || s.in.Relay)
	r.exempt = r.exempt || gw.ExemptRecipients != nil && gw.ExemptRecipients(r.address)
	r.judge = gw.observing(r.policy.Policy)
	if r.exempt {
		r.judge = r.judge.ForExempt()
	}
	return refusal{}
}

func (s *session) query(t *transaction, to mail.Address) upstream.Query {
	return upstream.Query{Recipient: to, From: t.in.From, Listener: s.w.cfg.Name, Relay: s.in.Relay}
}

func isPostmaster(a mail.Address) bool { return strings.EqualFold(a.Unquoted(), "postmaster") }

func ourselves(gw *Gateway, domain string) bool {
	own, err := mail.Domain(gw.Hostname)
	return domain == "" || err == nil && domain == own
}

// known asks who can tell whether there is such a mailbox. No source is asked for an exempt one, but an address that could mean
// another host to the next server must be known by name. What the next server said of one itself is told: it takes no mail for it,
// and a client that is put off again and again learns it after days.
func (s *session) known(t *transaction, r *recipient) (source string, no refusal) {
	source = SourceNone
	suspicious := r.route.Ours && upstream.Suspicious(r.address) // elsewhere it is for others to read
	is := upstream.NoSource
	if directory := t.gw.Recipients[r.route.Name]; directory != nil && (suspicious || !r.exempt) {
		ctx, cancel := judging(s.w.ctx, t.dns, time.Now().Add(judgeTime))
		defer cancel()
		from := sourceOf(directory)
		var err error
		if is, err = directory.Lookup(ctx, r.address); err != nil {
			return from, refusal{replyDirectory, ReasonDirectory, RecipientDeferred, from, "recipients can not be looked up", err}
		}
		if r.known = is; is != upstream.NoSource {
			source = from
		}
	}
	switch {
	case is == upstream.No:
		return source, refusal{replyUnknown, ReasonUnknown, RecipientUnknown, source, "no such mailbox", nil}
	case suspicious && is != upstream.Yes && strings.HasPrefix(r.address.Local(), `"`):
		return source, refusal{replyUnknown, ReasonUnknown, RecipientUnknown, source, "quoted local part that is not known", nil}
	case suspicious && is != upstream.Yes:
		return source, refusal{replyRouted, ReasonRelay, RecipientRelay, source, "local part that names another host", nil}
	}
	if reply, ok := cached(t, r); ok {
		result := RecipientUnknown
		if reply.Temporary() {
			result = RecipientDeferred
		}
		return SourceCache, refusal{reply, ReasonUpstream, result, SourceCache, "the next server refused this recipient lately", nil}
	}
	return source, refusal{}
}

// sourceOf gives the word for a source of recipients.
func sourceOf(r upstream.Recipients) string {
	if _, asks := r.(upstream.Ask); asks {
		return SourceAsked
	}
	if named, ok := r.(upstream.Sourced); ok && named.Source() == SourceLDAP {
		return SourceLDAP
	}
	return SourceStatic
}

// cached gives a refusal of the recipient that the next server gave before.
func cached(t *transaction, r *recipient) (mail.Reply, bool) {
	var reply mail.Reply
	var ok bool
	switch relay := r.relay.(type) {
	case cachedFromRelay:
		reply, ok = relay.CachedFrom(t.in.From, r.address)
	case cachedRelay:
		reply, ok = relay.Cached(r.address)
	}
	return reply, ok && (reply.Permanent() || reply.Temporary())
}

// judgeFilters runs the rcpt phase, and gives what was held back from the phases before.
func (s *session) judgeFilters(t *transaction, r *recipient) refusal {
	until := time.Now().Add(judgeTime)
	early := s.early(t, r.policy, until)
	in := &filter.Input{
		Session: early.Session, Transaction: early.Transaction,
		Recipient: &filter.Recipient{Address: r.address, Route: r.route.Name, Exempt: r.exempt},
	}
	r.reports = s.consultUntil(s.w.ctx, until, t.dns, r.policy.Plan, filter.Rcpt, in)
	all := join(early.Reports, r.reports)
	v := r.judge.Decide(all)
	if v.Action >= filter.Defer {
		if !v.Hold || t.held != v.Because {
			s.recordVerdict(t.gw, judgement{
				id: t.in.ID, stage: StageRcpt, to: r.address, route: r.route.Name, policy: r.policyName, reports: all, verdict: &v,
			})
		}
		if v.Hold {
			t.held = v.Because
		}
		result := RecipientRefused
		if v.Reply.Temporary() {
			result = RecipientDeferred
		}
		return refusal{v.Reply, ReasonFilter, result, SourceNone, v.Because, nil}
	}
	if r.print = Fingerprint(r.reports, v.Action); r.judge.Observe {
		r.print = "" // it comes to nothing, for everybody
	}
	if !t.all(samePrint, r) && !t.mayPart(r) {
		return split("rcpt phase came to something else than for recipients before it")
	}
	return refusal{}
}

// Fingerprint writes down whatever the rcpt phase of one recipient adds to the judgement of the message:
// two recipients with the same one can share it.
func Fingerprint(rs pipeline.Reports, a filter.Action) string {
	if len(rs) == 0 {
		return a.String()
	}
	var b strings.Builder
	b.WriteString(a.String())
	for i := range rs {
		r := &rs[i]
		if r.Outcome == pipeline.Pass || r.Observe {
			continue
		}
		fmt.Fprintf(&b, "|%s %s %s", r.Stage, r.Outcome, r.Result.Propose)
		for _, f := range r.Result.Findings {
			fmt.Fprintf(&b, " %s*%g", f.Symbol, f.Strength)
		}
		fmt.Fprintf(&b, " %#v", r.Result.Edits)
	}
	return b.String()
}
