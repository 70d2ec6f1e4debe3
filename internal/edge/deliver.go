package edge

import (
	"context"
	"errors"
	"runtime/debug"
	"slices"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/pipeline"
	"github.com/postern-mail/postern/upstream"
)

// quarantine keeps a message in place of delivering it. The copy is durable before anybody is answered.
func (s *session) quarantine(ctx context.Context, t *transaction, j *judged, o *outcome) {
	id, err := s.keep(ctx, t, j, HeldQuarantine)
	if err != nil {
		o.fail(storageReply(err), ReasonStorage, err)
		return
	}
	o.reason = ReasonQuarantine
	if id != j.heldID {
		o.because += " (held already as " + id + ")"
	}
	o.reply = HeldReply(j.to.policy.QuarantineReply, id)
}

// HeldReply is what the client is told of a message that is held under an id.
func HeldReply(how QuarantineReply, id string) mail.Reply {
	if how == QuarantineAccept {
		return mail.NewReply(250, 2, 0, 0, "Ok: held as "+id)
	}
	return mail.NewReply(550, 5, 7, 1, "Message held as "+id)
}

// fail turns the outcome into a deferral for a reason of ours.
func (o *outcome) fail(r mail.Reply, reason string, err error) {
	o.reply, o.reason, o.err, o.action = r, reason, err, filter.Defer
}

// keep gives the message as it came to the quarantine, and the id under which it is held.
func (s *session) keep(ctx context.Context, t *transaction, j *judged, kind string) (id string, err error) {
	if t.gw.Quarantine == nil {
		return "", errNoQuarantine
	}
	v := &j.verdict
	parts, _ := auth.Parts.From(j.input)
	return t.gw.Quarantine.Keep(ctx, Held{
		ID: j.heldID, Time: time.Now(), Kind: kind,
		Client: s.in.Client.Addr(), Helo: s.in.Helo, From: t.in.From, To: addresses(j.all),
		Route: j.to.route.Name, Upstream: j.to.route.Upstream, Policy: j.to.policyName,
		Relay: s.in.Relay, SMTPUTF8: t.in.SMTPUTF8, Body8Bit: t.in.Body8Bit,
		Size: j.content.Blob().Size(), MessageID: j.messageID, Subject: brief(j.content.Header().Get("Subject")),
		Action: v.Action, Because: v.Because, Score: v.Score, Findings: v.Findings,
		Filters: j.reports.Summaries(), Edits: describe(v.Edits), Parts: parts,
	}, j.content.Blob())
}

// prepare puts our fields on the message, changes what the verdict says, signs it, and keeps the original where that is due. It
// reports whether all that went well; the outcome says what did not.
func (s *session) prepare(ctx context.Context, t *transaction, j *judged, o *outcome) (_ *mail.Message, ok bool) {
	m, err := mail.Rewrite(j.content, s.edits(t, j), j.verdict.Rebuild)
	if err != nil {
		// Never delivery: an edit that was asked for and not carried out may be the removal of a part.
		o.fail(replyLocal, ReasonRewrite, err)
		return nil, false
	}
	signed, note, err := sign(ctx, t.gw.Signer, j.input, m)
	if err != nil {
		m.Release()
		// Never without the signature that its domain promises, and never the sender's fault.
		o.fail(replyLocal, ReasonSigning, err)
		return nil, false
	}
	if signed != m {
		m.Release()
	}
	o.signed = note
	switch {
	case j.verdict.Rebuild:
		o.changed = ChangedRebuilt
	case slices.ContainsFunc(j.verdict.Edits, annotates):
		o.changed = ChangedAnnotated
	}
	if strips(j.verdict.Edits) || j.verdict.Rebuild {
		if keepsOriginal(j.reports) {
			id, err := s.keep(ctx, t, j, HeldOriginal)
			if err != nil {
				signed.Release()
				o.fail(storageReply(err), ReasonStorage, err)
				return nil, false
			}
			j.original = id
		}
		if strips(j.verdict.Edits) {
			o.changed = ChangedStripped
		}
	}
	return signed, true
}

// deliver makes the message of a group, and hands it to the upstream while the client waits, or to the spool.
func (s *session) deliver(ctx context.Context, t *transaction, j *judged, o *outcome) {
	m, ok := s.prepare(ctx, t, j, o)
	if !ok {
		return
	}
	defer m.Release()
	if why := j.queueAtOnce(s); why != "" {
		s.enqueue(t, []*judged{j}, []*mail.Message{m}, why, o)
		return
	}
	out := s.handOn(ctx, t, j, m)
	if out.Kind == upstream.Delivered || out.Kind == upstream.Unknown {
		j.original = "" // it stays
	}
	if relay, ok := j.to.relay.(apartRelay); ok && t.parted && out.Kind == upstream.Refused && len(t.to) == 1 {
		// Exim takes a 5yz to the final dot for the recipients, too, whom it was asked to bring by themselves. They are to come
		// before this one, which hears of it when it comes alone.
		out = relay.Apart(t.in.From, t.to[0].address, out)
	}
	o.server, o.refused, o.err = out.Server, out.Refused, out.Err
	if !out.Reply.IsZero() {
		o.upstreamReply = out.Reply.String()
	}
	if why := j.queueAfter(s, &out); why != "" {
		s.enqueue(t, []*judged{j}, []*mail.Message{m}, why, o)
		return
	}
	s.drop(ctx, t, originals([]*judged{j}))
	o.reply = out.ClientReply(t.in.ID, out.Verbatim)
	if out.Kind == upstream.Delivered {
		s.notify(t, j, &out)
		return
	}
	if o.reply.Positive() { // acknowledged is what was delivered, and nothing else
		o.reply = replyLocal
	}
	o.unknown = out.Kind == upstream.Unknown
	o.reason = ReasonUpstream
	o.because = "the next server: " + out.Kind.String()
	o.action = actionOf(o.reply)
}

// sign puts signatures on top of a message. The Message that it gives is m where nobody signs; any other has references
// of its own.
func sign(ctx context.Context, s Signer, in *filter.Input, m *mail.Message) (*mail.Message, string, error) {
	if s == nil {
		return m, "", nil
	}
	top, note, err := s.Sign(ctx, in, m)
	if err != nil {
		return nil, "", err
	}
	return m.Prepend(top), note, nil
}

// originals gives the originals that were kept for some groups, and that these have not given to anybody else to drop.
func originals(all []*judged) (ids []string) {
	for _, j := range all {
		if j.original != "" {
			ids = append(ids, j.original)
			j.original = ""
		}
	}
	return ids
}

// drop removes the originals of a message that was not delivered: whoever sends it again brings it along. What
// goes wrong here is no matter of the client's.
func (s *session) drop(ctx context.Context, t *transaction, ids []string) {
	defer s.contain()
	for _, id := range ids {
		if err := t.gw.Quarantine.Drop(context.WithoutCancel(ctx), id); err != nil {
			t.gw.Log.Error("original can not be dropped", KeyID, t.in.ID, t.gw.fault(err))
		}
	}
}

// edits gives all changes to the message, the topmost field first: our stamp, what filters add, Received,
// then the message as it came.
func (s *session) edits(t *transaction, j *judged) []mail.Edit {
	edits := pipeline.Stamp(j.verdict, j.input, pipeline.StampOptions{
		AuthservID: t.gw.authservID(), Keep: t.gw.KeepResults, Plan: j.to.policy.Plan, Policy: j.to.judge, Score: true,
		Exchange: j.to.route.Exchange,
	})
	edits = append(edits, received(s.from(), t.gw.Hostname, s.in, t.in, addresses(j.all), time.Now()))
	if s.in.Relay {
		edits = append(edits, Missing(j.content.Header(), t.gw.Hostname, t.in.ID, t.began)...)
	}
	return edits
}

// from gives the fromClause of the client as it is known by now.
func (s *session) from() string {
	if s.traced.as != s.in {
		s.traced.as, s.traced.from = s.in, fromClause(s.in)
	}
	return s.traced.from
}

// annotates reports whether an edit puts something into a text.
func annotates(e mail.Edit) bool {
	_, ok := e.(mail.AnnotatePart)
	return ok
}

// strips reports whether an edit takes something out of the message.
func strips(edits []mail.Edit) bool {
	for _, e := range edits {
		switch e.(type) {
		case mail.RemovePart, mail.ReplacePart, mail.AppendPart, mail.RemoveOutside:
			return true
		}
	}
	return false
}

// keepsOriginal reports whether one of the filters that take something out of the message wants it kept
// as it came; a filter that does not say otherwise does.
func keepsOriginal(rs pipeline.Reports) bool {
	for i := range rs {
		if rs[i].Observe || !strips(rs[i].Result.Edits) && !rs[i].Result.Rebuild {
			continue
		}
		if keep, said := auth.KeepOriginal.Among(rs[i].Result.Facts); keep || !said {
			return true
		}
	}
	return false
}

// handOn gives the message to the upstream. A relay that panics has delivered nothing that we know of.
func (s *session) handOn(ctx context.Context, t *transaction, j *judged, m *mail.Message) (out upstream.Outcome) {
	defer func() {
		if v := recover(); v != nil {
			t.gw.metrics().Panic()
			t.gw.Log.Error("relay panicked", KeyID, t.in.ID, t.gw.fault(v), KeyStack, string(debug.Stack()))
			out = upstream.Outcome{Kind: upstream.Unknown, Err: errRelayPanic}
		}
	}()
	env := mail.Envelope{
		ID: t.in.ID, From: t.in.From, To: addresses(j.all), SMTPUTF8: t.in.SMTPUTF8, Body8Bit: t.in.Body8Bit, DSN: t.notifications(j.all),
		Client: s.identity(j.to.relay),
	}
	if j.mayQueue() {
		env.Patience = patience
	}
	return j.to.relay.Deliver(ctx, env, m)
}

// identity gives what we know of the client to a relay that tells its servers.
func (s *session) identity(r upstream.Relay) *mail.Client {
	if teller, ok := r.(interface{ Identifies() bool }); !ok || !teller.Identifies() {
		return nil
	}
	return clientOf(s.in)
}

// clientOf gives what we know of the client of a session.
func clientOf(in *filter.Session) *mail.Client {
	c := &mail.Client{
		Addr: in.Client, Server: in.Server, Name: in.PTR, Reverse: in.PTR, Helo: in.Helo, ESMTP: in.ESMTP, Login: in.User,
	}
	if r, ok := auth.IPRev.From(&filter.Input{Session: in}); ok && c.Name == "" {
		c.Reverse, c.Nameless = r.Published, r.Result == auth.Fail || r.Result == auth.PermError
	}
	return c
}

var (
	errNoQuarantine = errors.New("edge: there is no quarantine to keep the message in")
	errRelayPanic   = errors.New("edge: relay panicked")
)
