// Package greylist asks clients that are not known to come again a little later (RFC 6647), which those who send and
// forget do not do. It remembers and proposes; it judges no content, and never sends anybody away for good.
package greylist

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/mail"
)

// Factory makes the filter "greylist".
var Factory = filter.Factory{Kind: "greylist", New: open}

// The symbols. All recipients of a message that are let through have the same one, whatever the reason: recipients about
// whom different things are found can't share a message.
const (
	symDeferred = "GREYLIST_DEFERRED"
	symPassed   = "GREYLIST_PASSED"
)

var symbols = []filter.Symbol{
	{Name: symDeferred, Description: "the client is not known, and is to come again a little later"},
	{Name: symPassed, Description: "the client is known, has come again, or can't be remembered"},
}

type config struct {
	Delay     time.Duration `yaml:"delay"`
	Retry     time.Duration `yaml:"retry"`
	Keep      time.Duration `yaml:"keep"`
	AutoAllow int           `yaml:"auto_allow"`
}

const day = 24 * time.Hour

// maxDelay bounds delay: clients that come from everywhere wait twice as long, and nobody is to wait for hours.
const maxDelay = time.Hour

func (c config) check() error {
	switch {
	case c.Delay < time.Second || c.Delay > maxDelay:
		return filter.At(fmt.Errorf("greylist: delay: %s; allowed: 1s to 1h", c.Delay), "delay")
	case c.Retry < 4*c.Delay || c.Retry > 7*day:
		return filter.At(fmt.Errorf("greylist: retry: %s; allowed: four times the delay to 7d", c.Retry), "retry")
	case c.Keep < c.Retry || c.Keep > 400*day:
		return filter.At(fmt.Errorf("greylist: keep: %s; allowed: as long as retry to 400d", c.Keep), "keep")
	case c.AutoAllow < 0:
		return filter.At(fmt.Errorf("greylist: auto_allow: %d; allowed: 0, which means never, and more", c.AutoAllow), "auto_allow")
	}
	return nil
}

func open(env filter.Env, decode func(any) error) (filter.Spec, filter.Filter, error) {
	// RFC 6647 5: retries from one minute to 24 hours after the first try are to count, and what is known is to be kept
	// for a week at least. 36 days cover what comes once a month.
	cfg := config{Delay: 5 * time.Minute, Retry: day, Keep: 36 * day, AutoAllow: 10}
	if err := decode(&cfg); err != nil {
		return filter.Spec{}, nil, err
	}
	if err := cfg.check(); err != nil {
		return filter.Spec{}, nil, err
	}
	spec := filter.Spec{
		Name: env.Name, Phases: filter.In(filter.Rcpt),
		Wants:   []string{string(auth.SPF), string(auth.HeloSPF), string(auth.IPRev), string(auth.Waivers)},
		Symbols: slices.Clone(symbols),
	}
	return spec, &check{config: cfg, stage: env.Name, ours: env.Ours, memory: newMemory(env)}, nil
}

type check struct {
	config
	stage  string
	ours   func(string) bool
	memory memory
}

// Check looks at one recipient. It never fails: what can't be remembered is let through.
func (c *check) Check(_ context.Context, in *filter.Input) (filter.Result, error) {
	s, from, to := in.Session, in.Transaction.From, in.Recipient.Address
	if s.Relay || s.User != "" {
		return c.outbound(from, to), nil
	}
	waivers, _ := auth.Waivers.From(in)
	if _, waived := auth.Waived(waivers, c.stage); waived || s.Exempt || s.Big != "" || in.Recipient.Exempt {
		return filter.Result{}, nil
	}
	t := &try{check: c, now: time.Now(), in: in, origins: origins(in), from: plain(from, to), to: plain(to, mail.Address{})}
	if why := t.known(); why != "" {
		return passed(why, t.refresh), nil
	}
	return t.greylist(), nil
}

// outbound remembers whom our own people have written to, when the message was taken: answers and bounces are not to wait.
func (c *check) outbound(from, to mail.Address) filter.Result {
	if from.IsZero() || to.Domain() == "" || c.ours != nil && c.ours(to.Domain()) {
		return filter.Result{}
	}
	return filter.Result{Settle: func(f filter.Fate) {
		if f.Accepted() {
			c.memory.wrote(plain(from, mail.Address{}), plain(to, mail.Address{}), to.Domain(), c.Keep)
		}
	}}
}

// passed is the result for who is let through; learn is called when the message has been taken.
func passed(why string, learn func()) filter.Result {
	return filter.Result{
		Findings: []filter.Finding{{Symbol: symPassed, Strength: 1, Detail: why}},
		Settle: func(f filter.Fate) {
			if f.Accepted() {
				learn()
			}
		},
	}
}

// try is one attempt to reach one recipient.
type try struct {
	*check
	now      time.Time
	in       *filter.Input
	origins  []origin
	from, to string // plain
	useful   []use  // the records that it is known by
}

// use is a record that was of use, and is to be kept on.
type use struct {
	table filter.Table
	key   filter.Digest
}

// known says why the client need not come again, "" if it must.
func (t *try) known() string {
	if t.in.Transaction.From.IsZero() {
		// A bounce may come from any host on the way of what was sent, and so may the question of another server whether
		// the sender of what it was given can be reached.
		if t.has(t.memory.written, wroteAtAll(t.to)) {
			return "the recipient has written lately, and this is a bounce"
		}
	} else if t.has(t.memory.written, wroteTo(t.to, t.from)) {
		return "the recipient has written to the sender"
	}
	for _, o := range t.origins {
		switch o.kind {
		case ofNetwork:
			if r, ok := t.memory.known.Get(knownOrigin(o)); ok && t.AutoAllow > 0 && r.Count >= int64(t.AutoAllow) {
				t.use(t.memory.known, knownOrigin(o))
				return fmt.Sprintf("%s has come again %d times", o, r.Count)
			}
		case ofSPF:
			if t.has(t.memory.written, wroteToDomain(t.to, o.name)) {
				return fmt.Sprintf("the recipient has written to %s", o)
			}
			if t.has(t.memory.known, knownOrigin(o)) {
				return fmt.Sprintf("%s has come again before", o)
			}
		}
		if t.has(t.memory.passed, t.key(o)) {
			return fmt.Sprintf("%s, this sender and this recipient are known", o)
		}
	}
	if t.has(t.memory.passed, t.key(origin{})) {
		return "this sender, who comes from many networks, and this recipient are known"
	}
	return ""
}

// greylist lets those through who come again after the delay, and asks the others to.
func (t *try) greylist() filter.Result {
	first, where, wait := time.Time{}, origin{}, 2*t.Delay
	for _, o := range append(slices.Clip(t.origins), origin{}) {
		delay := t.Delay
		if o.kind == "" {
			delay *= 2 // the same message from anywhere else
		}
		seen, err := t.memory.firstSeen(t.key(o), t.now, t.Retry)
		if err != nil {
			return passed("nothing new can be remembered", func() {}) // filter.ErrTableFull
		}
		if first.IsZero() || seen.Before(first) {
			first, where = seen, o
		}
		left := delay - t.now.Sub(seen)
		// Many senders come again after just as long as they were asked to wait, or after five minutes by a clock of their
		// own: a retry that comes a little early counts.
		if left <= delay/10 {
			age := t.now.Sub(seen)
			return passed(fmt.Sprintf("came again after %s (%s)", age.Round(time.Second), o), func() { t.learn(o) })
		}
		wait = min(wait, left)
	}
	wait = max(wait.Round(time.Second), time.Second)
	detail := fmt.Sprintf("first seen (%s), waits %s", where, wait)
	if age := t.now.Sub(first); age >= time.Second {
		detail = fmt.Sprintf("first seen %s ago (%s), waits %s", age.Round(time.Second), where, wait)
	}
	// RFC 6647 5 has no code to recommend; 451 is what most greylists say.
	reply := mail.NewReply(451, 4, 7, 1, fmt.Sprintf("Greylisted, please come again in %d seconds", int(wait/time.Second)))
	return filter.Result{
		Findings: []filter.Finding{{Symbol: symDeferred, Strength: 1, Detail: detail}},
		Propose:  filter.Defer, Reply: &reply,
	}
}

// key names this sender and recipient from one origin.
func (t *try) key(o origin) filter.Digest { return filter.DigestOf(o.kind, o.name, t.from, t.to) }

func (t *try) has(table filter.Table, key filter.Digest) bool {
	_, ok := table.Get(key)
	if ok {
		t.use(table, key)
	}
	return ok
}

func (t *try) use(table filter.Table, key filter.Digest) {
	t.useful = append(t.useful, use{table, key})
}

// refresh keeps on what the client is known by.
func (t *try) refresh() {
	for _, u := range t.useful {
		t.memory.keepOn(u.table, u.key, t.Keep)
	}
}

// learn remembers a client that has come again; by is what it was known by. One that was known by nothing but sender and
// recipient is one that comes from many networks, and will do so with its next message.
func (t *try) learn(by origin) {
	if by.kind == "" {
		t.memory.remember(t.memory.passed, t.key(by), t.Keep)
	}
	for _, o := range t.origins {
		t.memory.remember(t.memory.passed, t.key(o), t.Keep)
		switch {
		case o.kind == ofNetwork && t.AutoAllow > 0, o.kind == ofSPF && t.speaksForDomain():
			t.memory.remember(t.memory.known, knownOrigin(o), t.Keep)
		}
		t.memory.forget(t.memory.waiting, t.key(o))
	}
	t.memory.forget(t.memory.waiting, t.key(origin{}))
}

// speaksForDomain reports whether SPF has passed for all of the domain of the reverse-path.
func (t *try) speaksForDomain() bool {
	r, _ := auth.SPF.From(t.in)
	return r.Identity == "mailfrom" && !r.LocalPart
}
