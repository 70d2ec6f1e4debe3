package upstream

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/postern-mail/postern/mail"
)

const (
	// askFor is how long a client waits at RCPT for what the servers say to a question, a free place included, unless
	// Timeouts.Ask says otherwise.
	askFor = 2 * time.Second
	// askedSlow is how many servers may take their part of that time, so that it has as many parts at most.
	askedSlow = 3
	// askAtOnce is how many questions are under way, of the connections that the pool may have: mail goes before.
	askAtOnce = 8
	// askWaiting is how many questions are under way or wait for that. Those beyond fail at once.
	askWaiting = 512
	// keepKnown is how long a mailbox that was found serves on while the servers can't be asked again.
	keepKnown = 7 * 24 * time.Hour
	// askAgain is how long after a question that failed the next one about the same known mailbox is put.
	askAgain = time.Minute
	// maxKnown bounds the mailboxes that were found, in each of two generations. Those that were not found have tables of
	// their own, so that who tries names pushes out none that is known.
	maxKnown = 65536
)

// errAsk is the cause where the servers were not asked.
var errAsk = errors.New("upstream: too many questions about recipients")

// Asked says where an answer about a mailbox comes from, for metrics.
type Asked uint8

const (
	AskedBefore Asked = iota // it was known from a question before
	AskedYes                 // the server takes mail for it
	AskedNo                  // the server says that there is no such mailbox
	AskedUnsure              // the server refuses it for a reason that is not clearly the mailbox
	AskedFailed              // no answer: out of reach, too slow, a temporary failure, or a fault of ours
	AskedStale               // no answer either, but the mailbox is known from before
)

var askedNames = [...]string{"cached", "yes", "no", "unsure", "failed", "stale"}

// String gives the name of a as it stands in metrics.
func (a Asked) String() string {
	if int(a) < len(askedNames) {
		return askedNames[a]
	}
	return fmt.Sprintf("asked(%d)", uint8(a))
}

// AllAsked gives all values, for those who prepare a metric's series.
func AllAsked() []Asked {
	return []Asked{AskedBefore, AskedYes, AskedNo, AskedUnsure, AskedFailed, AskedStale}
}

// asked is what one pool has found out about mailboxes, and what it is finding out. Keys are mail.Address.Mailbox.
type asked struct {
	places chan struct{} // a question under way holds one
	memory Memory        // never nil

	mu      sync.Mutex
	yes     generations[string, knownMailbox]
	no      generations[string, time.Time] // since when
	flights map[string]*flight
}

// knownMailbox is one that was found.
type knownMailbox struct {
	at    time.Time // when
	again time.Time // before that it is not asked about, whatever its age; zero for nothing
}

// flight is one question under way; its fields may be read when done is closed.
type flight struct {
	done  chan struct{}
	stale bool // asked.mu is held: it was begun before somebody wanted the answer forgotten
	known Known
	err   error
}

func (a *asked) init(memory Memory) {
	if a.memory = memory; memory == nil {
		a.memory = forgetful{}
	}
	a.places = make(chan struct{}, askAtOnce)
	a.yes = generations[string, knownMailbox]{young: map[string]knownMailbox{}, most: maxKnown}
	a.no.young = map[string]time.Time{}
	a.flights = map[string]*flight{}
}

// remembered gives what is known of a mailbox and holds still.
func (a *asked) remembered(key string, now time.Time, positive, negative time.Duration) Known {
	if y, ok := a.yes.get(key); ok && (now.Sub(y.at) < positive || now.Before(y.again) && now.Sub(y.at) < keepKnown) {
		return Yes
	}
	if at, ok := a.no.get(key); ok && now.Sub(at) < negative {
		return No
	}
	return NoSource
}

// Ask is a recipient source that asks the servers of a pool, as a client would: MAIL with the null reverse-path or From, RCPT,
// RSET. It remembers the answers, for all Asks of the pool, whatever their From. It is safe for concurrent use.
//
// A server that says that there is no such mailbox is believed. Where it speaks about us, puts us off, says nothing
// within 2 s or can't be reached, Lookup gives an error, unless the mailbox was found within the last 7 days. Where it
// refuses for another reason, such as the sender, Lookup gives NoSource: it would take it from others, perhaps.
type Ask struct {
	Pool               *Pool
	Positive, Negative time.Duration // how long the answers hold
	From               mail.Address  // ASCII; zero for the null reverse-path
}

// Lookup implements Recipients. A local part that is Suspicious is not asked about: a server that takes mail for
// user%foreign@ours does not say that it is a mailbox.
func (k Ask) Lookup(ctx context.Context, to mail.Address) (Known, error) {
	if Suspicious(to) {
		return NoSource, nil
	}
	a, key := &k.Pool.asked, to.Mailbox()
	a.mu.Lock()
	now := time.Now()
	a.recall(key, now)
	if known := a.remembered(key, now, k.Positive, k.Negative); known != NoSource {
		a.mu.Unlock()
		k.Pool.cfg.Hooks.asked(AskedBefore)
		return known, nil
	}
	f, under := a.flights[key]
	if !under {
		if len(a.flights) >= askWaiting {
			a.mu.Unlock()
			return k.Pool.failed(key, errAsk)
		}
		f = &flight{done: make(chan struct{}), err: errAsk}
		a.flights[key] = f
	}
	a.mu.Unlock()
	if !under {
		k.fly(ctx, f, key, to)
		return f.known, f.err
	}
	select {
	case <-f.done:
		return f.known, f.err
	case <-ctx.Done():
		return NoSource, fmt.Errorf("upstream: asking about a recipient: %w", context.Cause(ctx))
	}
}

// fly puts the question, for all who wait for its answer: the end of ctx does not end it.
func (k Ask) fly(ctx context.Context, f *flight, key string, to mail.Address) {
	p := k.Pool
	defer func() {
		p.asked.mu.Lock()
		if p.asked.flights[key] == f {
			delete(p.asked.flights, key)
		}
		p.asked.mu.Unlock()
		close(f.done)
	}()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.cfg.Timeouts.Ask)
	defer cancel()
	select {
	case p.asked.places <- struct{}{}:
		defer func() { <-p.asked.places }()
	case <-ctx.Done():
		f.known, f.err = p.failed(key, errAsk)
		return
	}
	o := p.probe(ctx, k.From, to)
	switch {
	case o.Kind == Delivered:
		f.known, f.err = p.found(f, key, Yes, keepKnown), nil
	case o.Kind == RecipientRefused && o.Reply.Permanent() && speaksOfMailbox(o.Reply) && !speaksOf(k.From, o.Reply):
		f.known, f.err = p.found(f, key, No, k.Negative), nil
	case (o.Kind == RecipientRefused || o.Kind == Refused) && o.Reply.Permanent():
		p.cfg.Hooks.asked(AskedUnsure)
		f.known, f.err = NoSource, nil
	case o.Err != nil:
		f.known, f.err = p.failed(key, fmt.Errorf("upstream: asking %s about a recipient: %w", o.Server, o.Err))
	default:
		f.known, f.err = p.failed(key, fmt.Errorf("upstream: asking %s about a recipient: %s", o.Server, o.Reply))
	}
}

// found notes an answer, which is of use for so long.
func (p *Pool) found(f *flight, key string, known Known, keep time.Duration) Known {
	result, now := AskedYes, time.Now()
	p.asked.mu.Lock()
	if known == No {
		result = AskedNo
	}
	switch {
	case f.stale:
	case known == Yes:
		p.asked.yes.put(key, knownMailbox{at: now})
		p.asked.no.drop(key)
	default:
		p.asked.no.put(key, now)
		p.asked.yes.drop(key)
	}
	if !f.stale {
		p.asked.memory.Keep(key, known, now, keep)
	}
	p.asked.mu.Unlock()
	p.cfg.Hooks.asked(result)
	return known
}

// failed gives what is known of a mailbox from before, where the servers did not answer because of err.
func (p *Pool) failed(key string, err error) (Known, error) {
	now := time.Now()
	p.asked.mu.Lock()
	y, ok := p.asked.yes.get(key)
	ok = ok && now.Sub(y.at) < keepKnown
	if ok {
		y.again = now.Add(askAgain)
		p.asked.yes.put(key, y)
	}
	p.asked.mu.Unlock()
	if ok {
		p.cfg.Hooks.asked(AskedStale)
		return Yes, nil
	}
	p.cfg.Hooks.asked(AskedFailed)
	return NoSource, err
}

// probe asks the servers, in their order, about a recipient. Each has its part of the time that is left, so that one which
// swallows all that it is sent does not speak for the others, and a third at least: with more servers none would have time enough for
// an answer that is late on purpose. What is Delivered was accepted at RCPT.
func (p *Pool) probe(ctx context.Context, from, to mail.Address) (o Outcome) {
	env := mail.Envelope{From: from, To: []mail.Address{to}, SMTPUTF8: !to.IsASCII()}
	servers := p.inReach(ctx, time.Now(), &o)
	late := 0 // servers that took all of their time
	for i, s := range servers {
		if p.probeOne(ctx, s, min(len(servers)-i, max(askedSlow-late, 1)), &env, &o) {
			late++
		}
		if !elsewhere(&o) || over(ctx) {
			break
		}
	}
	return o
}

// probeOne asks one of the servers that are left, in its part of the time, and reports whether it has taken all of that.
func (p *Pool) probeOne(ctx context.Context, s *server, parts int, env *mail.Envelope, o *Outcome) (late bool) {
	now := time.Now()
	limit, _ := ctx.Deadline()
	ctx, cancel := context.WithTimeout(ctx, limit.Sub(now)/time.Duration(parts))
	defer cancel()
	waited, err := s.acquire(ctx)
	if err != nil {
		*o = Outcome{Kind: Unreachable, Stage: StageWait, Server: s.address, Err: err}
		return over(ctx)
	}
	defer s.release()
	p.try(ctx, s, now, waited, env, nil, o)
	// A server that is slow to say whether it knows somebody is no worse for mail; and one that knows him may still be down for
	// mail, which it refuses later.
	slow := over(ctx) && (o.Stage == StageMail || o.Stage == StageRcpt)
	givenUp := errors.Is(ctx.Err(), context.Canceled)
	if !slow && !givenUp && (o.Kind == OurFault || o.Kind == Unreachable) {
		s.judge(o, false)
	}
	return over(ctx)
}

// AcceptsAny reports whether the servers accept a mailbox of the domain that nobody can have, and which of them says so: then to
// ask them finds out nothing. An error means that they did not say. Nothing is remembered of it.
func (k Ask) AcceptsAny(ctx context.Context, domain string) (all bool, server string, err error) {
	to, err := mail.ParseAddress("postern-" + strings.ToLower(rand.Text()) + "@" + domain)
	if err != nil {
		return false, "", fmt.Errorf("upstream: a recipient to try: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, k.Pool.cfg.Timeouts.Ask)
	defer cancel()
	o := k.Pool.probe(ctx, k.From, to)
	switch {
	case o.Kind == Delivered:
		return true, o.Server, nil
	case o.Kind == RecipientRefused && o.Reply.Permanent():
		return false, o.Server, nil
	case o.Err != nil:
		return false, o.Server, fmt.Errorf("upstream: trying a recipient at %s: %w", o.Server, o.Err)
	}
	return false, o.Server, fmt.Errorf("upstream: trying a recipient at %s: %s", o.Server, o.Reply)
}

// speaksOf reports whether a refusal of RCPT may be about the sender that asked, and not about the mailbox.
func speaksOf(from mail.Address, r mail.Reply) bool {
	text := strings.ToLower(r.Text)
	return !from.IsZero() && (strings.Contains(text, "sender") || strings.Contains(text, strings.ToLower(from.String())))
}

// speaksOfMailbox reports whether a refusal of RCPT, which does not speak about us, says that there is no such mailbox. One
// that may be about the sender, or about what the mailbox takes from whom, does not.
func speaksOfMailbox(r mail.Reply) bool {
	if !r.Permanent() {
		return false
	}
	text := withoutAddresses(r.Text)
	ofSender := strings.Contains(text, "sender")
	switch e := r.Enhanced; {
	case e[1] == 1: // RFC 3463 3.2: all but the codes of senders, 7 and 8
		return e[2] >= 1 && e[2] <= 6 || e[2] == 10
	case ofSender:
		return false
	case e == mail.Enhanced{5, 4, 1}: // Exchange Online, of recipients that its directory does not have
		return strings.Contains(text, "recipient address rejected")
	case e[1] == 0, e[1] == 7: // 5.0.0 and 5.7.1 are given for anything
		return plainMailbox.MatchString(text) || aboutMailbox(mail.Reply{Code: r.Code, Text: text})
	}
	return false
}
