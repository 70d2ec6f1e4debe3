package queue

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/postern-mail/postern/internal/spool"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/mail/dsn"
)

// giveUp ends the wait of recipients whose last word is in their Reply or Cause; why comes before it where it is not "". It
// gives the marks that say so.
//
// Whoever sent the message learns of it where the reverse-path is known to be theirs, and did not ask for silence. Where nobody can
// be told, the message is kept for an operator: a report to a forged sender is spam, and to drop it would be a loss.
func (q *Queue) giveUp(ctx context.Context, s *Settings, e *spool.Entry, group int, to []int, why string) ([]spool.Mark, error) {
	g := &e.Groups[group]
	var told, silent []int
	for _, i := range to {
		if asksFor(&g.To[i], "FAILURE") || bearsFailure(e, g) {
			told = append(told, i)
		} else {
			silent = append(silent, i) // RFC 3461 4.1: NOTIFY=NEVER, or without FAILURE
		}
	}
	var marks []spool.Mark
	mark := func(to []int, state spool.State) {
		for _, i := range to {
			p := &g.To[i]
			p.State = state
			if why != "" {
				p.Cause = strings.TrimSuffix(why+": "+p.Cause, ": ")
			}
			marks = append(marks, spool.Mark{
				Time: time.Now(), Group: group, To: []int{i}, State: state, Tried: true, Reply: p.Reply, Server: p.Server, Cause: p.Cause,
			})
			if f := q.o.Hooks.Tried; f != nil {
				f(Tried{Entry: e, Group: g, To: p.Address, State: state, Reply: p.Reply, Cause: p.Cause})
			}
		}
	}
	if len(told) > 0 {
		sent, err := q.report(ctx, s, e, news{group: group, to: told, what: dsn.Failed, why: why})
		if err != nil {
			return nil, err
		}
		if sent {
			mark(told, spool.Failed)
		} else {
			if err := q.keep(ctx, e, group, told, why); err != nil {
				return nil, err
			}
			q.silent(whySilent(e))
			mark(told, spool.Kept)
		}
	}
	if len(silent) > 0 {
		q.silent(NotWanted)
		mark(silent, spool.Failed)
	}
	return marks, nil
}

// Silence is why nobody is told that mail was given up.
type Silence string

// The reasons.
const (
	NullSender     Silence = "null_sender"     // RFC 5321 6.1: never to a null reverse-path
	OwnReport      Silence = "own_report"      // the mail is such a report itself
	UnprovenSender Silence = "unproven_sender" // nobody knows whether the reverse-path is the sender's: it may be forged
	NoRoute        Silence = "no_route"        // no way leads to the sender
	NotWanted      Silence = "not_wanted"      // RFC 3461 4.1: NOTIFY=NEVER, or without FAILURE
)

// Silences lists the reasons.
func Silences() []Silence {
	return []Silence{NullSender, OwnReport, UnprovenSender, NoRoute, NotWanted}
}

// whySilent says why report reports nothing of a message.
func whySilent(e *spool.Entry) Silence {
	switch {
	case e.Report:
		return OwnReport
	case e.From == "":
		return NullSender
	case !e.Bounce:
		return UnprovenSender
	}
	return NoRoute
}

func (q *Queue) silent(why Silence) {
	if f := q.o.Hooks.Silent; f != nil {
		f(why)
	}
}

// bearsFailure reports whether a message is a report of ours that somebody's mail was given up: the mail is gone, and nobody knows of it
// if the report goes as well, whatever NOTIFY it has.
func bearsFailure(e *spool.Entry, g *spool.Group) bool {
	return e.Report && (g.Because == "" || g.Because == string(dsn.Failed))
}

// asksFor reports whether a recipient's sender wants to be told of what: FAILURE or DELAY. Where the client said nothing, both.
func asksFor(p *spool.Recipient, what string) bool {
	return p.Notify == "" || slices.ContainsFunc(strings.Split(p.Notify, ","), func(n string) bool { return strings.EqualFold(n, what) })
}

// keep gives the message to those who hold what nobody could be told of.
func (q *Queue) keep(ctx context.Context, e *spool.Entry, group int, to []int, why string) error {
	b, err := q.o.Store.Original(e.ID)
	if err != nil {
		return err
	}
	defer b.Release()
	if why == "" {
		why = whyRefused(&e.Groups[group], to)
	}
	return q.o.Keep(ctx, e, group, to, why, b)
}

// refusalsTold are how many different refusals an operator is told of.
const refusalsTold = 5

// whyRefused says what the next servers had against recipients.
func whyRefused(g *spool.Group, to []int) string {
	var all []string
	for _, i := range to {
		p := &g.To[i]
		if s := fmt.Sprintf("refused by %s: %s", p.Server, p.Reply); !slices.Contains(all, s) && len(all) < refusalsTold {
			all = append(all, s)
		}
	}
	return strings.Join(all, "; ")
}

// news is what a sender is to be told of recipients of a group.
type news struct {
	group    int
	to       []int // their places
	what     dsn.Action
	why      string     // see giveUp
	original *mail.Blob // the message as it came, where it is not in the spool
}

// report puts a delivery status notification into the queue, once. It reports false where there is nobody who may be told.
func (q *Queue) report(ctx context.Context, s *Settings, e *spool.Entry, n news) (bool, error) {
	if e.From == "" || e.Report || !e.Bounce {
		return false, nil // RFC 5321 6.1: never to a null reverse-path
	}
	reader, err := mail.ParseAddress(e.From)
	if err != nil {
		return false, fmt.Errorf("%w: %w", spool.ErrDamaged, err)
	}
	route, err := s.Route(reader)
	if err != nil {
		return false, nil //nolint:nilerr // no way leads there: the message is kept
	}
	// The id is the same however often this is tried for these recipients: a crash before the mark makes no second report. More of
	// them are another report: nobody must go without.
	id := fmt.Sprintf("%s-%s%d-%s", e.ID, reportKind(n.what), n.group, Places(n.to))
	written, err := q.write(s, e, n, id)
	if err != nil {
		return false, fmt.Errorf("queue: report: %w", err)
	}
	blob := mail.NewBlob(written.Octets)
	defer blob.Release()
	m := mail.NewMessage(blob)
	defer func() { m.Release() }()
	if s.Sign != nil {
		top, err := s.Sign(ctx, m)
		if err != nil {
			return false, fmt.Errorf("queue: sign a report: %w", err)
		}
		unsigned := m
		m = m.Prepend(top)
		unsigned.Release()
	}
	err = q.Put(ctx, spool.Entry{
		ID: id, Time: time.Now(), Node: e.Node, Report: true, SMTPUTF8: written.SMTPUTF8, Body8Bit: written.EightBit,
		MessageID: "<" + id + "@" + s.Hostname + ">",
		// RFC 3461 6.1: with NOTIFY=NEVER.
		Groups: []spool.Group{{
			Route: route.Name, Upstream: route.Upstream, Because: string(n.what), To: []spool.Recipient{{Address: e.From, Notify: "NEVER"}},
		}},
	}, blob, []*mail.Message{m})
	if errors.Is(err, spool.ErrExists) {
		return true, nil
	}
	if f := q.o.Hooks.Reported; f != nil && err == nil {
		f(e, n.what, id)
	}
	return err == nil, err
}

// reportKind is what tells the ids of reports about the same recipients apart.
func reportKind(what dsn.Action) string {
	switch what {
	case dsn.Failed:
		return "f"
	case dsn.Delayed:
		return "d"
	}
	return "s"
}

// Places gives a word of letters and digits, for ids, that stands for just these places in a group, in whatever order.
func Places(to []int) string {
	h := fnv.New64a()
	for _, i := range slices.Sorted(slices.Values(to)) {
		fmt.Fprintf(h, "%d ", i)
	}
	return strconv.FormatUint(h.Sum64(), 36)
}

// remoteName gives a server as a report names it: a socket of this machine, or a folder, has no name that others could know.
func remoteName(server string) string {
	if _, port, err := net.SplitHostPort(server); err != nil || strings.Trim(port, "0123456789") != "" {
		return ""
	}
	return server
}

// write writes a report. What the next servers are and say is told to our own clients only: others get the code.
func (q *Queue) write(s *Settings, e *spool.Entry, n news, id string) (dsn.Notification, error) {
	g := &e.Groups[n.group]
	reader, err := mail.ParseAddress(e.From)
	if err != nil {
		return dsn.Notification{}, err
	}
	r := dsn.Report{
		ReportingMTA: s.Hostname, From: s.From, To: reader, ID: id, Time: time.Now(), EnvelopeID: e.EnvelopeID, QueueID: e.ID,
		Arrival: e.Time, ReceivedFrom: e.Client.Helo, ReceivedAddr: e.Client.Addr.Addr(),
		Full: strings.EqualFold(e.Return, "FULL"),
	}
	words := "the next server does not take the message"
	switch n.what {
	case dsn.Delayed:
		r.Until = e.Time.Add(s.Expire)
	case dsn.Relayed, dsn.Delivered:
		words = "the next server has taken the message"
	}
	for _, i := range n.to {
		p := &g.To[i]
		a, err := mail.ParseAddress(p.Address)
		if err != nil {
			return dsn.Notification{}, err
		}
		one := dsn.Recipient{Address: a, Original: p.Original, Action: n.what, Last: p.Last, Why: n.why, Diagnostic: p.Reply}
		switch {
		case e.Relay:
			one.RemoteMTA = remoteName(p.Server)
		case !p.Reply.IsZero():
			one.Diagnostic.Text = words
		}
		if r := p.Reply; r.IsZero() && one.Why == "" {
			one.Why = "the next server could not be reached"
		} else if n.why != "" {
			one.Status = mail.Enhanced{5, 4, 7} // RFC 3463 3.5: delivery time expired
			if n.what == dsn.Delayed {
				one.Status[0] = 4
			}
		}
		r.Recipients = append(r.Recipients, one)
	}
	b := n.original
	if b == nil {
		b, err = q.o.Store.Original(e.ID)
		switch {
		case errors.Is(err, spool.ErrDamaged): // a report without the message is better than none
			return dsn.Write(r, nil)
		case err != nil:
			return dsn.Notification{}, err
		}
		defer b.Release()
	}
	original := mail.NewMessage(b)
	defer original.Release()
	return dsn.Write(r, original)
}
