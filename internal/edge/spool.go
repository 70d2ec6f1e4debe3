package edge

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/internal/spool"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/upstream"
)

// # When mail goes into the spool
//
// As a rule a client waits until the server inside has given its word, which becomes ours (cut-through). The spool takes a
// message, and the client gets its one 250 when it is on disk, where
//
//   - the client may relay: a program or a printer can do nothing with a 4yz that is about others;
//   - recipients need different upstreams or come to different ends, or the next server answers for each by itself (LMTP):
//     no one reply could be true of all of them;
//   - the route allows it, and the upstream is down, is too slow, or refuses some recipients and takes others.
//
// Once the final dot has gone to the next server, only its word counts. Nobody knows whether the message was taken when the word does
// not come, so that the spool would double it.

const (
	// patience is how long servers inside may take until one has asked for the content, of a message that the spool may take.
	patience = 30 * time.Second
	// spoolTime bounds the wait for the disk. The client has waited up to judgeTime before, and waits ten minutes.
	spoolTime = time.Minute
)

// Why a message went into the spool, as the log has it.
const (
	QueuedRelay  = "relay"      // of a client that may relay
	QueuedApart  = "apart"      // its recipients need different upstreams or came to different ends
	QueuedSingle = "single"     // the next server answers for each recipient by itself
	QueuedDown   = "down"       // no server of the upstream is up
	QueuedFailed = "failed"     // none could be reached, or took mail from us, in time
	QueuedSome   = "recipients" // some recipients were refused, and others not
)

// groups gives the recipients by what they share: upstream, policy, and what the rcpt phase came to.
func (t *transaction) groups() [][]*recipient {
	same := true
	for _, r := range t.to[1:] {
		same = same && alike(t.to[0], r)
	}
	if same {
		return [][]*recipient{t.to}
	}
	var all [][]*recipient
next:
	for _, r := range t.to {
		for i := range all {
			if alike(all[i][0], r) {
				all[i] = append(all[i], r)
				continue next
			}
		}
		all = append(all, []*recipient{r})
	}
	return all
}

// alike reports whether two recipients share a judgement, and the way to where their mail goes.
func alike(a, b *recipient) bool { return together(a, b) && samePrint(a, b) }

// mayPart reports whether a recipient may be in one transaction with others who come to another end.
func (t *transaction) mayPart(r *recipient) bool {
	for _, to := range t.to {
		if !to.spool {
			return false
		}
	}
	return r.spool
}

// mayQueue reports whether the spool may take the message for all of a group.
func (j *judged) mayQueue() bool {
	for _, r := range j.all {
		if !r.spool {
			return false
		}
	}
	return true
}

// queueAtOnce says why a message is not to be handed on while its client waits; "" where it is.
func (j *judged) queueAtOnce(s *session) string {
	if !j.mayQueue() {
		return ""
	}
	if s.in.Relay {
		return QueuedRelay
	}
	if one, ok := j.to.relay.(oneRelay); ok && len(j.all) > 1 && one.OneRecipient() {
		return QueuedSingle
	}
	if r, ok := j.to.relay.(interface{ Available() bool }); ok && !r.Available() {
		return QueuedDown
	}
	return ""
}

// queueAfter says why a message that could not be handed on goes into the spool; "" where it does not.
func (j *judged) queueAfter(s *session, out *upstream.Outcome) string {
	if !j.mayQueue() {
		return ""
	}
	if !beforeDot(out.Stage) {
		return ""
	}
	switch out.Kind {
	case upstream.Unreachable, upstream.OurFault:
		return QueuedFailed
	case upstream.RecipientRefused:
		// The sender is told of those who were refused, if it is known whose address that is; else it is asked to come again, and told at RCPT.
		if len(out.Refused) < len(j.all) && s.mayBounce(j.input) {
			return QueuedSome
		}
	}
	return ""
}

// beforeDot reports whether it is certain of a delivery that ended in this stage that its final dot has not been sent.
func beforeDot(stage upstream.Stage) bool {
	switch stage {
	case upstream.StageWait, upstream.StageDial, upstream.StageGreeting, upstream.StageHello, upstream.StageTLS, upstream.StageAuth,
		upstream.StageIdentity, upstream.StageMail, upstream.StageRcpt, upstream.StageData, upstream.StageBody:
		return true
	}
	return false
}

// enqueue gives a message to the spool: what each group is to get under one 250.
func (s *session) enqueue(t *transaction, groups []*judged, messages []*mail.Message, why string, o *outcome) {
	first, e := groups[0], s.entry(t, groups)
	ctx, cancel := context.WithTimeout(s.w.ctx, spoolTime)
	defer cancel()
	kept, err := originals(groups), ctx.Err()
	if err == nil {
		err = t.gw.Spool.Put(ctx, e, first.content.Blob(), messages)
	}
	if err != nil {
		s.drop(ctx, t, kept)
		if s.w.ctx.Err() != nil {
			// Connections are being closed: nobody would hear the 250, and the message comes again. To store it would double it.
			o.fail(replyClosing, ReasonLost, err)
			return
		}
		o.fail(spoolReply(err), ReasonStorage, err)
		return
	}
	o.reply, o.queued = mail.NewReply(250, 2, 0, 0, "Ok: queued as "+t.in.ID), why
}

// entry gives what the spool is to know of a message.
func (s *session) entry(t *transaction, groups []*judged) spool.Entry {
	first, in, c := groups[0], s.in, clientOf(s.in)
	e := spool.Entry{
		ID: t.in.ID, Time: time.Now(), Node: t.gw.Node, Listener: s.w.cfg.Name, User: in.User, Relay: in.Relay,
		Client: spool.Client{Addr: c.Addr, Server: c.Server, Name: c.Name, Reverse: c.Reverse, Nameless: c.Nameless, Helo: c.Helo, ESMTP: c.ESMTP},
		From:   t.in.From.String(), SMTPUTF8: t.in.SMTPUTF8, Body8Bit: t.in.Body8Bit, Return: t.dsn.Return, EnvelopeID: t.dsn.EnvelopeID,
		Bounce: s.mayBounce(first.input), MessageID: first.messageID, Subject: brief(first.content.Header().Get("Subject")),
	}
	for _, j := range groups {
		g := spool.Group{
			Route: j.to.route.Name, Upstream: j.to.route.Upstream, Policy: j.to.policyName,
			Action: j.verdict.Action.String(), Because: j.verdict.Because, Score: j.verdict.Score,
		}
		for _, r := range j.all {
			g.To = append(g.To, spool.Recipient{Address: r.address.String(), Notify: r.notify.When, Original: r.notify.Original})
		}
		e.Groups = append(e.Groups, g)
	}
	return e
}

// spoolReply answers for the spool's disk.
func spoolReply(err error) mail.Reply {
	if errors.Is(err, spool.ErrFull) {
		return replyFull
	}
	return storageReply(err)
}

// mayBounce reports whether the reverse-path is known to be the sender's: a report may be sent there (RFC 3834 2, RFC 5321 6.1).
func (s *session) mayBounce(in *filter.Input) bool {
	from := in.Transaction.From
	switch {
	case from.IsZero():
		return false
	case s.in.Relay:
		return true
	case auth.SendsFor(in) == from.Domain():
		return true
	}
	results, _ := auth.DKIM.From(in)
	for i := range results {
		if d := &results[i]; d.Result == auth.Pass && !d.Testing && (d.Domain == from.Domain() || strings.HasSuffix(from.Domain(), "."+d.Domain)) {
			return true
		}
	}
	return false
}

// deliverApart acts on the verdicts of several groups, under one reply. Whatever is to be deferred defers all, before anything is
// stored. A 5yz is for all or for nobody: where some groups get the message, what the others were refused is held.
func (s *session) deliverApart(ctx context.Context, t *transaction, all []*judged) (o outcome) {
	least, deferred := filter.Reject, -1
	for i, j := range all {
		j.end = j.undecided()
		least = min(least, j.verdict.Action)
		if j.verdict.Action == filter.Defer || j.content.Err() != nil {
			deferred = i
		}
	}
	if deferred >= 0 || least == filter.Reject {
		o = all[max(deferred, 0)].undecided()
		s.act(ctx, t, all[max(deferred, 0)], &o)
		for _, j := range all {
			j.end.reason, j.end.err = o.reason, o.err
			if deferred >= 0 {
				j.end.action = o.action
			}
		}
		return o
	}
	o = all[0].undecided()
	s.holdAndQueue(ctx, t, all, least, &o)
	if !o.reply.Positive() {
		for _, j := range all {
			j.end.reason, j.end.err, j.end.action = o.reason, o.err, actionOf(o.reply)
		}
	}
	return o
}

// holdAndQueue holds the message for the groups that are not to get it, and gives it to the spool for the others. least is the
// mildest verdict.
func (s *session) holdAndQueue(ctx context.Context, t *transaction, all []*judged, least filter.Action, o *outcome) {
	var groups []*judged
	var messages []*mail.Message
	defer func() {
		for _, m := range messages {
			m.Release()
		}
	}()
	fail := func(why outcome) {
		s.drop(ctx, t, originals(groups))
		*o = why
	}
	for _, j := range all {
		if j.verdict.Action >= filter.Quarantine {
			s.quarantine(ctx, t, j, &j.end)
			if j.end.err != nil {
				fail(j.end)
				return
			}
			if j.verdict.Action == filter.Reject {
				j.end.action, j.end.because = filter.Quarantine, j.end.because+" (held: others get the message)"
			}
			if o.reply.IsZero() || j.end.reply.Positive() {
				o.reply, o.reason, o.action = j.end.reply, j.end.reason, filter.Quarantine
			}
			continue
		}
		m, ok := s.prepare(ctx, t, j, &j.end)
		if !ok {
			fail(j.end)
			return
		}
		groups, messages = append(groups, j), append(messages, m)
	}
	if least >= filter.Quarantine {
		return
	}
	o.reason = ""
	o.action, o.because = groups[0].verdict.Action, groups[0].verdict.Because
	s.enqueue(t, groups, messages, QueuedApart, o)
	for _, j := range groups {
		j.end.queued = o.queued
	}
}
