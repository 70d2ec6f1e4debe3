package edge

import (
	"context"
	"errors"
	"io"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/pipeline"
)

// judged is one message for one group of its recipients, with all that was found out about it. They share one judgement, that
// of the first.
type judged struct {
	content   *mail.Content
	input     *filter.Input
	to        *recipient   // the first
	all       []*recipient // with the first
	heldID    string       // under which the quarantine is to hold it
	reports   pipeline.Reports
	data      pipeline.Reports // of the data phase, where it ran for this group
	verdict   pipeline.Verdict
	messageID string
	end       outcome // of this group, where the message has several
	original  string  // under which the original was kept; it is dropped where the message does not leave
}

// outcome is how a message ends, for reply, log and metrics.
type outcome struct {
	reply         mail.Reply
	reason        string
	action        filter.Action
	because       string
	server        string
	upstreamReply string
	refused       map[mail.Address]mail.Reply // by the next server, each with its own words
	changed       string
	signed        string // the signatures, or why there are none
	queued        string // why it went into the spool; "" where it did not
	again         string // the id under which the message came before
	unknown       bool   // what became of it inside is not known
	err           error
}

// Data takes one message in, judges it, and hands it on. The reader of the engine is not used: the
// content is read from the wire, and read to its end whatever happens, so that no octet of it is ever
// taken for a command.
func (s *session) Data(io.Reader) (err error) {
	defer s.recovered(&err)
	t := s.tx
	if t == nil || len(t.to) == 0 {
		return engineError(replyPanicEnd) // only a fault of ours or of the engine's leads here
	}
	defer s.broke(t, &err)
	defer func() { t.share.Release() }()
	s.w.body, s.w.moved = true, true
	blob, faults, reply, reason := s.takeContent(t)
	arrived := time.Now()
	if !reply.IsZero() {
		o := outcome{reply: reply, reason: reason, action: actionOf(reply), because: reason}
		return s.finish(t, nil, o)
	}
	defer func() { t.gw.metrics().DataDuration(s.w.cfg.Name, time.Since(arrived)) }()
	content := mail.NewContent(blob, faults, mail.Limits{HeaderOctets: s.w.cfg.Limits.Header})
	defer content.Release()
	t.until = arrived.Add(judgeTime)
	ctx := newTerm(s.w.ctx, t.until)
	defer ctx.end()
	first, again := s.again(t, content)
	if again && first.what == AgainTaken {
		defer func() {
			if t.settled { // else the client hears of a fault of ours, and comes again
				first.forget()
			}
		}()
		because := "it came before, and was taken"
		return s.finish(t, nil, outcome{reply: first.reply, action: actionOf(first.reply), because: because, again: first.id})
	}
	if again {
		first.forget()
	}
	groups := t.groups()
	inputs, kept := map[*Policy]*filter.Input{}, new(filter.Kept) // what one policy's filters find is no other's
	all := make([]*judged, len(groups))
	for i, to := range groups {
		in := inputs[to[0].policy]
		if in == nil {
			early := s.early(t, to[0].policy, t.until)
			in = &filter.Input{Session: early.Session, Transaction: t.complete(early.Transaction), Content: content, For: t.of(to[0].policy.Plan), Kept: kept}
			inputs[to[0].policy] = in
		}
		all[i] = &judged{content: content, input: in, to: to[0], all: to, heldID: t.in.ID}
		if i > 0 {
			all[i].heldID += "-" + strconv.Itoa(i+1)
		}
	}
	o := s.judgeAndDeliver(ctx, t, all)
	s.mayComeAgain(t, content, arrived, &o)
	if again {
		o.again = first.id
		for _, j := range all {
			j.end.again = first.id
		}
	}
	return s.finish(t, all, o)
}

// takeContent reads the content off the wire into a Blob.
func (s *session) takeContent(t *transaction) (b *mail.Blob, faults mail.LineFaults, r mail.Reply, reason string) {
	ingest, failed, lost := s.readContent(t)
	if lost != nil {
		ingest.Abort()
		t.gw.Log.Info("content did not arrive", KeyID, t.in.ID, t.gw.fault(lost))
		if !errors.Is(lost, os.ErrDeadlineExceeded) {
			return nil, faults, replyLost, ReasonLost
		}
		return nil, faults, replyTimeout, ReasonTimeout
	}
	s.w.body = false
	s.taken()
	if failed == nil {
		b, faults, failed = ingest.Blob()
	} else {
		ingest.Abort()
	}
	if failed == nil {
		return b, faults, mail.Reply{}, ""
	}
	switch {
	case errors.Is(failed, mail.ErrTooBig):
		return nil, faults, replyTooBig, ReasonSize
	case errors.Is(failed, errBusy):
		return nil, faults, replyBusy, ReasonBusy
	}
	t.gw.Log.Error("content can not be stored", KeyID, t.in.ID, t.gw.fault(failed))
	return nil, faults, storageReply(failed), ReasonStorage
}

// readContent finds the content that the dialog has read, or reads it where the engine is go-smtp. failed is the
// ingest's error, lost the connection's.
func (s *session) readContent(t *transaction) (ingest *mail.Ingest, failed, lost error) {
	a := s.w.arrival
	s.w.arrival = nil
	if a == nil {
		a = newArrival(s.w, t.in.Size, true)
		a.lost = s.w.copyContent(a)
	}
	t.share = a.share
	return a.ingest, a.failed, a.lost
}

// storageReply answers for our own disk.
func storageReply(err error) mail.Reply {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, ErrFull) {
		return replyFull
	}
	return replyLocal
}

// judgeAndDeliver runs the data phase, decides, and acts.
func (s *session) judgeAndDeliver(ctx context.Context, t *transaction, all []*judged) (o outcome) {
	defer func() {
		if v := recover(); v != nil {
			s.crashed(v)
			o = panicked()
			for _, j := range all {
				j.end = o
			}
			s.drop(ctx, t, originals(all))
		}
	}()
	if len(all) > 1 {
		t.runs = new(pipeline.Runs)
	}
	for i, j := range all {
		s.decide(t, j, all[:i])
	}
	all[0].content.Forget()
	if len(all) > 1 {
		return s.deliverApart(ctx, t, all)
	}
	o = all[0].undecided()
	s.act(ctx, t, all[0], &o)
	return o
}

// decide runs the data phase for one group, and comes to a verdict. What was found for a group before by the same plan is true of
// this one, too; what by another, as far as they share filters.
func (s *session) decide(t *transaction, j *judged, before []*judged) {
	content, first := j.content, j.to
	j.messageID = brief(content.Header().Get("Message-ID"))
	if s.in.Relay && content.Header().Count("Message-ID") == 0 {
		j.messageID = ownMessageID(t.gw.Hostname, t.in.ID)
	}
	intake := pipeline.Intake(content, pipeline.IntakeOptions{
		RejectBare: s.w.cfg.RejectBare, HeaderLimit: s.w.cfg.Limits.Header, MaxReceived: pipeline.MaxReceived, MaySend: s.maySend(),
	})
	j.reports = join(s.early(t, first.policy, t.until).Reports, first.reports, pipeline.Reports{intake})
	// What no message may be (a loop, NUL) is refused also where the policy only observes.
	if j.verdict = (&pipeline.Policy{}).Decide(pipeline.Reports{intake}); j.verdict.Action < filter.Defer {
		j.reports = append(j.reports, s.consultOnce(t, j, before)...)
		j.verdict = first.judge.Decide(j.reports)
	}
	s.recordVerdict(t.gw, judgement{
		id: t.in.ID, stage: StageEOD, route: first.route.Name, policy: first.policyName,
		messageID: j.messageID, size: content.Blob().Size(), reports: j.reports, verdict: &j.verdict,
	})
}

// consultOnce gives the reports of the data phase for a group.
func (s *session) consultOnce(t *transaction, j *judged, before []*judged) pipeline.Reports {
	for _, b := range before {
		if b.to.policy.Plan == j.to.policy.Plan {
			return b.data
		}
	}
	j.data = s.consultUntil(t.runs.In(s.w.ctx), t.until, t.dns, j.to.policy.Plan, filter.Data, j.input)
	t.last = append(t.last, j.data...)
	return j.data
}

// undecided is the outcome of a group before anything is done about its verdict.
func (j *judged) undecided() outcome {
	return outcome{action: j.verdict.Action, because: j.verdict.Because, changed: ChangedNo}
}

// act does what the verdict says.
func (s *session) act(ctx context.Context, t *transaction, j *judged, o *outcome) {
	v := &j.verdict
	switch {
	case j.content.Err() != nil: // our disk: no result about what could not be read counts
		o.fail(storageReply(j.content.Err()), ReasonStorage, j.content.Err())
	case v.Action == filter.Reject, v.Action == filter.Defer:
		o.reply, o.reason = v.Reply, ReasonFilter
	case v.Action == filter.Quarantine:
		s.quarantine(ctx, t, j, o)
	default:
		s.deliver(ctx, t, j, o)
	}
}

// complete gives the transaction as the data phase is to see it: a struct of its own, since a filter that
// was abandoned in an earlier phase may still be reading the other.
func (t *transaction) complete(early *filter.Transaction) *filter.Transaction {
	all := early.Knowing(early.Facts())
	all.Recipients = t.addresses()
	return all
}

func (t *transaction) addresses() []mail.Address { return addresses(t.to) }

// of gives the addresses of those whom a plan judges.
func (t *transaction) of(p *pipeline.Plan) (to []mail.Address) {
	for _, r := range t.to {
		if r.policy.Plan == p {
			to = append(to, r.address)
		}
	}
	return to
}

func addresses(all []*recipient) []mail.Address {
	to := make([]mail.Address, len(all))
	for i, r := range all {
		to[i] = r.address
	}
	return to
}

// finish writes the lines, counts, and gives the engine its reply, which stands whatever breaks in that. all is nil for content that was not
// taken in.
func (s *session) finish(t *transaction, all []*judged, o outcome) error {
	s.w.tally(&o)
	o.reply = named(t.gw.soften(o.reply), t.in.ID)
	t.end = o.reply
	s.settle(t, fateOfAll(all, &o))
	switch len(all) {
	case 0:
		s.finishGroup(t, nil, t.to, &o)
	case 1:
		s.finishGroup(t, all[0], t.to, &o)
	default:
		for _, j := range all {
			j.end.reply = o.reply
			s.finishGroup(t, j, j.all, &j.end)
		}
	}
	if !o.reply.Positive() {
		t.gw.metrics().Reject(s.w.cfg.Name, StageEOD, o.reply, o.reason)
	}
	return engineError(o.reply)
}

// finishGroup is finish for some recipients; j is nil for content that was not taken in.
func (s *session) finishGroup(t *transaction, j *judged, to []*recipient, o *outcome) {
	f := fate{
		stage: StageEOD, action: o.action, because: o.because, reply: o.reply,
		upstreamReply: o.upstreamReply, signed: o.signed, queued: o.queued, again: o.again, err: o.err,
	}
	if j != nil {
		f.score, f.messageID, f.size = j.verdict.Score, j.messageID, j.content.Blob().Size()
		s.count(t, j, o)
	}
	for _, r := range to {
		f.route, f.upstream = r.route.Name, r.route.Upstream
		if o.server != "" {
			f.upstream += " " + o.server
		}
		if words, ok := o.refused[r.address]; ok {
			f.upstreamReply = words.String()
		}
		s.record(t, r.address, f)
		f.upstreamReply = o.upstreamReply
	}
}

// count counts a message that was judged for a group.
func (s *session) count(t *transaction, j *judged, o *outcome) {
	defer s.contain()
	m := t.gw.metrics()
	m.Score(j.verdict.Score)
	m.Message(j.to.route.Name, o.action, o.changed, j.to.judge.Observe, j.content.Blob().Size())
}
