package queue

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/postern-mail/postern/internal/spool"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/upstream"
)

// tryTime bounds one try of one group: servers may take ten minutes over a final dot alone (RFC 5321 4.5.3.2.6).
const tryTime = 30 * time.Minute

// result is what a try, or a chore, came to.
type result struct {
	gone    bool      // nobody waits any more
	next    time.Time // else not before
	again   bool      // after the pause of so many attempts, in place of next
	counted int       // attempts
	left    int       // recipients who wait
	warned  bool

	reached bool   // the destination takes mail from us
	down    bool   // it can't be reached
	fault   bool   // it can, and does not take mail from us
	early   bool   // it said so before it knew which mail it was
	cause   string // of down and fault
}

// learn notes what a try that began then says of its destination; q.mu is held.
func (q *Queue) learn(d *destination, began time.Time, r *result) {
	if q.ctx.Err() != nil {
		return // it was cut off, which says nothing about the destination
	}
	now := time.Now()
	was := d.down
	switch {
	case r.reached:
		d.reached()
		d.down = false
	case r.down, r.fault && r.early:
		d.failed(began, now, !r.down, r.cause)
		d.down = true
	case r.fault:
		// One may be about its sender. One after the other is about us.
		if d.soft++; d.soft >= faultsInARow {
			d.failed(began, now, true, r.cause)
			d.down = true
		}
	}
	if f := q.o.Hooks.Down; f != nil && d.down != was {
		f(d.name, d.cause)
	}
}

// attempt tries a group once: one transaction for all who wait, others where some of them were refused, or where the
// server answers for each by itself.
func (q *Queue) attempt(it *item, s *Settings) result {
	id := it.entry.id
	e, err := q.entry(id)
	if err != nil {
		return q.lost(id, err)
	}
	g := &e.Groups[it.group]
	if len(waiting(g)) == 0 { // one that failed half way
		if len(e.Groups) == 1 {
			q.remove(id)
		}
		return result{gone: true}
	}
	relay := s.Relays[g.Upstream]
	if relay == nil {
		cause := fmt.Sprintf("the configuration has no upstream %q any more", g.Upstream)
		return result{fault: true, early: true, cause: cause}
	}
	m, err := q.o.Store.Message(id, it.group)
	if err != nil {
		return q.lost(id, err)
	}
	defer m.Release()
	ctx, cancel := context.WithTimeout(q.ctx, tryTime)
	defer cancel()
	t := &trial{q: q, s: s, e: &e, g: g, it: it}
	defer t.flush() // where something panics
	t.run(ctx, relay, m)
	return t.end()
}

// lost is the result where the spool does not give an entry.
func (q *Queue) lost(id string, err error) result {
	if q.unreadable(id, err) {
		return result{gone: true}
	}
	return result{again: true, counted: 1}
}

// trial is one try of a group.
type trial struct {
	q  *Queue
	s  *Settings
	e  *spool.Entry
	g  *spool.Group
	it *item
	r  result

	marks  []spool.Mark // that are not in the spool yet
	failed []int        // who are given up: their replies say why
	blamed bool         // some wait on for a reason that is theirs, or the message's
	faults int          // in a row, of recipients who are not the reason
}

// run makes transactions until everybody who waits has had an answer, or none can be had.
func (t *trial) run(ctx context.Context, relay upstream.Relay, m *mail.Message) {
	batches := [][]int{waiting(t.g)}
	if r, ok := relay.(interface{ OneRecipient() bool }); ok && r.OneRecipient() {
		// Whoever was tried last comes last: those behind somebody who ends the try have their turn in the next one.
		slices.SortStableFunc(batches[0], func(a, b int) int { return t.g.To[a].Last.Compare(t.g.To[b].Last) })
		batches = slices.Collect(slices.Chunk(batches[0], 1))
	}
	for len(batches) > 0 && ctx.Err() == nil {
		more, goesOn := t.transact(ctx, relay, m, batches[0])
		batches = append(more, batches[1:]...)
		if !goesOn {
			return
		}
		if len(batches) > 0 {
			t.flush() // the next one may take its time
		}
	}
}

// transact makes one transaction. It gives those whom others may reach at once, and whether any is worth while.
func (t *trial) transact(ctx context.Context, relay upstream.Relay, m *mail.Message, to []int) (more [][]int, goesOn bool) {
	env, err := envelope(t.e, t.g, to)
	if err != nil {
		t.r.gone = t.q.unreadable(t.e.ID, fmt.Errorf("%w: %w", spool.ErrDamaged, err))
		t.blamed = true
		return nil, false
	}
	if r, ok := relay.(interface{ Identifies() bool }); ok && r.Identifies() {
		env.Client = client(t.e)
	}
	o := relay.Deliver(ctx, env, m)
	if len(o.Concerned) > 0 {
		to, env.To, more = t.aside(to, env.To, &o)
	}
	switch o.Kind {
	case upstream.Delivered:
		t.r.reached, t.faults = true, 0
		t.note(to, spool.Delivered, &o, o.Reply, "")
		return nil, true
	case upstream.Refused:
		t.r.reached, t.faults = true, 0
		t.each(to, env.To, &o, func(to []int, r mail.Reply) { t.refused(to, &o, r) })
		return more, true
	case upstream.RecipientRefused:
		t.r.reached, t.faults = true, 0
		return t.some(to, env.To, &o), true
	}
	t.kept(to, &env, &o)
	return more, t.mayGoOn(&o)
}

// aside gives those whom an outcome is about, and takes down who of the others is refused. The rest may have the message.
func (t *trial) aside(to []int, addresses []mail.Address, o *upstream.Outcome) (concerned []int, whose []mail.Address, more [][]int) {
	var rest []int
	for k, i := range to {
		if _, is := o.Concerned[addresses[k]]; is {
			concerned, whose = append(concerned, i), append(whose, addresses[k])
		} else if r, no := o.Refused[addresses[k]]; no && !tooMany(r) {
			t.r.reached = true
			t.refused([]int{i}, o, r)
		} else {
			rest = append(rest, i)
		}
	}
	if len(rest) > 0 {
		more = [][]int{rest}
	}
	return concerned, whose, more
}

// each calls f for those whom an outcome is about, with the next server's word about them.
func (t *trial) each(to []int, addresses []mail.Address, o *upstream.Outcome, f func(to []int, r mail.Reply)) {
	if len(o.Concerned) == 0 {
		f(to, o.Reply)
		return
	}
	for k, i := range to {
		f([]int{i}, o.Concerned[addresses[k]])
	}
}

// mayGoOn reports whether others of the group may have more luck after a fault. After some in a row nobody has.
func (t *trial) mayGoOn(o *upstream.Outcome) bool {
	t.faults++
	own := o.Insecure() || o.Kind == upstream.OurFault && o.Stage == upstream.StageRcpt && o.Reply.Code != 421
	return own && t.faults < faultsInARow
}

// kept takes an outcome that says nothing about the message, or not for sure.
func (t *trial) kept(to []int, env *mail.Envelope, o *upstream.Outcome) {
	early := beforeMail(o.Stage) && !o.Insecure() && !aboutClient(env, o)
	t.r.cause = causeOf(o)
	t.r.down = early && o.Kind == upstream.Unreachable
	t.r.fault, t.r.early = o.Kind == upstream.OurFault && o.Stage != upstream.StageContent && !o.Insecure(), early
	if t.r.early {
		return // nothing is known of this message: it costs neither a mark nor its time
	}
	t.blamed = true
	t.each(to, env.To, o, func(to []int, r mail.Reply) { t.note(to, spool.Waiting, o, r, t.r.cause) })
}

// aboutClient reports whether a fault before MAIL may be about the client of whom the server was told.
func aboutClient(env *mail.Envelope, o *upstream.Outcome) bool {
	switch o.Stage {
	case upstream.StageGreeting, upstream.StageHello, upstream.StageIdentity:
		return env.Client != nil && o.Kind == upstream.OurFault && !o.Reply.IsZero()
	}
	return false
}

// beforeMail reports whether a delivery ended before the server had heard which mail it is.
func beforeMail(s upstream.Stage) bool {
	switch s {
	case upstream.StageWait, upstream.StageDial, upstream.StageGreeting, upstream.StageHello, upstream.StageTLS, upstream.StageAuth,
		upstream.StageIdentity:
		return true
	}
	return false
}

// some takes the answers of a transaction in which some recipients were refused, and nothing was sent. The others are
// worth another one, and so are those for whom the server had no room in this one (RFC 5321 4.5.3.1.10).
func (t *trial) some(to []int, addresses []mail.Address, o *upstream.Outcome) [][]int {
	var taken, further []int
	for k, i := range to {
		if r, no := o.Refused[addresses[k]]; !no {
			taken = append(taken, i)
		} else if tooMany(r) {
			further = append(further, i)
		} else {
			t.refused([]int{i}, o, r)
		}
	}
	if len(taken) == 0 {
		for _, i := range further {
			t.refused([]int{i}, o, o.Refused[addresses[slices.Index(to, i)]])
		}
		return nil
	}
	if len(further) == 0 {
		return [][]int{taken}
	}
	return [][]int{taken, further}
}

// tooMany reports whether a refusal of a recipient says that there are too many in the transaction.
func tooMany(r mail.Reply) bool {
	return r.Temporary() && (r.Enhanced[1] == 5 && r.Enhanced[2] == 3 || r.Code == 452 && r.Enhanced == (mail.Enhanced{}))
}

// refused takes a next server's refusal of recipients, or of the message for them: a 5yz ends their wait.
func (t *trial) refused(to []int, o *upstream.Outcome, r mail.Reply) {
	if !r.Permanent() {
		t.blamed = true
		t.note(to, spool.Waiting, o, r, "")
		return
	}
	for _, i := range to {
		p := &t.g.To[i]
		p.Reply, p.Server, p.Last = r, o.Server, time.Now()
	}
	t.failed = append(t.failed, to...)
}

// note marks what became of recipients, and tells it.
func (t *trial) note(to []int, state spool.State, o *upstream.Outcome, r mail.Reply, cause string) {
	now := time.Now()
	t.marks = append(t.marks, spool.Mark{
		Time: now, Group: t.it.group, To: to, State: state, Tried: true, Reply: r, Server: o.Server, Cause: cause,
	})
	for _, i := range to {
		p := &t.g.To[i]
		p.State, p.Reply, p.Server, p.Cause, p.Last = state, r, o.Server, cause, now
		t.tell(i, state, o, r, cause)
	}
	if state == spool.Delivered {
		t.q.notify(t.s, t.e, t.it.group, to, o)
	}
}

func (t *trial) tell(i int, state spool.State, o *upstream.Outcome, r mail.Reply, cause string) {
	if f := t.q.o.Hooks.Tried; f != nil {
		f(Tried{Entry: t.e, Group: t.g, To: t.g.To[i].Address, State: state, Outcome: *o, Reply: r, Cause: cause})
	}
}

// flush puts the marks into the spool.
func (t *trial) flush() {
	t.q.mark(t.e.ID, t.marks...)
	t.marks = nil
}

// end gives up who failed, and says what is to become of the group.
func (t *trial) end() result {
	if t.r.gone {
		return t.r
	}
	if len(t.failed) > 0 {
		ctx, cancel := context.WithTimeout(t.q.ctx, notifyTime) // the servers may have used up the time of the try
		defer cancel()
		marks, err := t.q.giveUp(ctx, t.s, t.e, t.it.group, t.failed, "")
		if err != nil {
			t.q.fault(t.e.ID, err) // they wait on: nobody's mail is dropped since a report can't be made
			t.blamed = true
		}
		t.marks = append(t.marks, marks...)
	}
	left := waiting(t.g)
	t.r.left = len(left)
	if len(left) == 0 {
		t.r.gone = true
		if len(t.e.Groups) == 1 {
			t.q.remove(t.e.ID, t.marks...)
			t.marks = nil
			return t.r
		}
		t.flush()
		return t.r
	}
	if t.blamed {
		t.r.counted = 1
		t.r.next = time.Now().Add(t.s.pause(max(t.g.Attempts, t.it.attempts) + 1))
		t.marks = append(t.marks, spool.Mark{Time: time.Now(), Group: t.it.group, Tried: true, Next: t.r.next})
	}
	t.flush()
	return t.r
}

// envelope gives the envelope of a transaction for some of a group.
func envelope(e *spool.Entry, g *spool.Group, to []int) (env mail.Envelope, err error) {
	env = mail.Envelope{ID: e.ID, SMTPUTF8: e.SMTPUTF8, Body8Bit: e.Body8Bit}
	if e.From != "" {
		if env.From, err = mail.ParseAddress(e.From); err != nil {
			return env, err
		}
	}
	dsn := mail.DSN{Return: e.Return, EnvelopeID: e.EnvelopeID}
	asks := e.Return != "" || e.EnvelopeID != ""
	for _, i := range to {
		p := &g.To[i]
		a, err := mail.ParseAddress(p.Address)
		if err != nil {
			return env, err
		}
		env.To = append(env.To, a)
		dsn.Notify = append(dsn.Notify, mail.Notify{When: p.Notify, Original: p.Original})
		asks = asks || p.Notify != "" || p.Original != ""
	}
	if asks {
		env.DSN = &dsn
	}
	return env, nil
}

func client(e *spool.Entry) *mail.Client {
	c := &e.Client
	if !c.Addr.IsValid() && c.Helo == "" {
		return nil
	}
	return &mail.Client{Addr: c.Addr, Server: c.Server, Name: c.Name, Reverse: c.Reverse, Nameless: c.Nameless, Helo: c.Helo, ESMTP: c.ESMTP, Login: e.User}
}

// causeOf says for people why there was no word about the message.
func causeOf(o *upstream.Outcome) string {
	switch {
	case o.Err != nil:
		return o.Err.Error()
	case !o.Reply.IsZero():
		return fmt.Sprintf("%s: %s to %s", o.Server, o.Reply, o.Stage)
	}
	return fmt.Sprintf("%s: %s at %s", o.Server, o.Kind, o.Stage)
}
