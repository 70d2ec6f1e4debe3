package queue

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"github.com/postern-mail/postern/internal/spool"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/mail/dsn"
	"github.com/postern-mail/postern/upstream"
)

// notifyTime bounds the wait for the disk.
const notifyTime = time.Minute

// HandedOn tells the sender of a message that was handed on while its client waited, where it asked for that and the next server
// will not tell it. The recipients of the entry's one group are those who have the message; nothing of it is in the spool.
// original is the message as it came. The error says that a report is due and could not be made.
func (q *Queue) HandedOn(ctx context.Context, e *spool.Entry, o *upstream.Outcome, original *mail.Blob) error {
	q.mu.Lock()
	s := q.settings
	q.mu.Unlock()
	all := make([]int, len(e.Groups[0].To))
	for i := range all {
		p := &e.Groups[0].To[i]
		all[i], p.Reply, p.Server, p.Last = i, o.Reply, o.Server, time.Now()
	}
	return q.handedOn(ctx, s, e, news{to: all, original: original}, o)
}

// notify tells the sender of a message that was handed on from the spool. It comes before the mark that says so: after a crash in
// between the report is made once more, with the id that it had. Where it can't be made the message is not tried again for it.
func (q *Queue) notify(s *Settings, e *spool.Entry, group int, to []int, o *upstream.Outcome) {
	if o.DSN || !slices.ContainsFunc(to, func(i int) bool { return wantsNotice(&e.Groups[group].To[i]) }) {
		return
	}
	defer func() {
		if v := recover(); v != nil { // else the message would be tried again, and again
			q.o.Log.Error("queue panicked", "id", e.ID, "error", fmt.Sprint(v), "stack", string(debug.Stack()))
		}
	}()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(q.ctx), notifyTime) // it is delivered, whoever wants to end
	defer cancel()
	if err := q.handedOn(ctx, s, e, news{group: group, to: to}, o); err != nil {
		q.fault(e.ID, err)
	}
}

// handedOn reports that a message was handed on, to those of n whose sender asked for that.
func (q *Queue) handedOn(ctx context.Context, s *Settings, e *spool.Entry, n news, o *upstream.Outcome) error {
	if o.DSN {
		return nil // RFC 3461 5.2.1: the next server knows what is asked
	}
	g := &e.Groups[n.group]
	n.to = slices.DeleteFunc(slices.Clone(n.to), func(i int) bool { return !wantsNotice(&g.To[i]) })
	if len(n.to) == 0 {
		return nil
	}
	n.what = dsn.Relayed // RFC 3461 5.2.2 (b)
	if o.Final {
		n.what = dsn.Delivered // RFC 3461 5.2.3 (a)
	}
	_, err := q.report(ctx, s, e, n)
	return err
}

// wantsNotice reports whether a recipient's sender asked to be told that all went well. RFC 3461 5.2.2 (d), (e), 5.2.3 (b), (c):
// nobody else is.
func wantsNotice(p *spool.Recipient) bool { return p.Notify != "" && asksFor(p, "SUCCESS") }
