// Package ratelimit bounds how much mail comes from one client's network, for one sender's domain, to one recipient, from
// one host that may relay or one user, in a time. It counts messages that end and proposes to defer what is too much; it
// counts no connections, and refuses nobody for good.
package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/internal/rates"
	"github.com/postern-mail/postern/mail"
)

// Factory makes the filter "ratelimit".
var Factory = filter.Factory{Kind: "ratelimit", New: open}

const symExceeded = "RATELIMIT_EXCEEDED"

var symbols = []filter.Symbol{
	{Name: symExceeded, Description: "a limit on messages, recipients or octets in a time is reached"},
}

// config holds what is allowed to whom. A client that may relay has no other limits than those of relay or user.
type config struct {
	Client    limits `yaml:"client"`
	Sender    limits `yaml:"sender"`
	Recipient struct {
		Messages list `yaml:"messages"`
		Octets   list `yaml:"octets"`
	} `yaml:"recipient"`
	Relay limits `yaml:"relay"`
	User  limits `yaml:"user"`
}

type limits struct {
	Messages   list `yaml:"messages"`
	Recipients list `yaml:"recipients"`
	Octets     list `yaml:"octets"`
}

// list is a rate, or several of which each holds.
type list []rates.Rate

// UnmarshalYAML takes a value for a list of one.
func (l *list) UnmarshalYAML(unmarshal func(any) error) error {
	var given any
	if err := unmarshal(&given); err != nil {
		return err
	}
	*l = nil
	all, ok := given.([]any)
	if !ok {
		all = []any{given}
	}
	for _, one := range all {
		text, ok := one.(string)
		if !ok {
			return fmt.Errorf("ratelimit: a rate such as 100/1h is needed, or a list of rates, and this is %v", one)
		}
		r, err := rates.Parse(text)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(*l, func(o rates.Rate) bool { return o.Per == r.Per }) {
			return fmt.Errorf("ratelimit: two rates for the same time: %s", text)
		}
		*l = append(*l, r)
	}
	return nil
}

// defaults bound what a stolen password is good for, and nothing else: how much comes from outside each site knows itself.
func defaults() config {
	return config{User: limits{Recipients: list{{Most: 500, Per: time.Hour}, {Most: 2000, Per: 24 * time.Hour}}}}
}

func open(env filter.Env, decode func(any) error) (filter.Spec, filter.Filter, error) {
	cfg := defaults()
	if err := decode(&cfg); err != nil {
		return filter.Spec{}, nil, err
	}
	c := &check{config: cfg, stage: env.Name, tables: map[string]filter.Table{}}
	spec := filter.Spec{
		Name: env.Name, Wants: []string{string(auth.SPF), string(auth.Waivers)}, Symbols: slices.Clone(symbols),
	}
	recipient := limits{Messages: cfg.Recipient.Messages, Octets: cfg.Recipient.Octets}
	for name, l := range map[string]limits{ofClient: cfg.Client, ofSender: cfg.Sender, ofRecipient: recipient, ofRelay: cfg.Relay, ofUser: cfg.User} {
		if len(l.Messages)+len(l.Recipients)+len(l.Octets) > 0 {
			c.tables[name] = env.State.Table(env.Name+"/"+name, filter.TableOptions{Most: maxSubjects, Lazy: true})
		}
		if name != ofRecipient && len(l.Messages)+len(l.Octets) > 0 {
			spec.Phases |= filter.In(filter.Mail)
		}
		if len(l.Recipients) > 0 || name == ofRecipient && len(l.Messages) > 0 {
			spec.Phases |= filter.In(filter.Rcpt)
		}
		if len(l.Octets) > 0 {
			spec.Phases |= filter.In(filter.Data)
		}
	}
	if spec.Phases == 0 {
		return filter.Spec{}, nil, errors.New("ratelimit: no limit is set; allowed: client, sender, recipient, relay, user, each with messages, recipients or octets, such as client: {messages: 1000/1h}")
	}
	// A user may have limits of his own.
	spec.Phases |= filter.In(filter.Rcpt)
	spec.Apart = len(cfg.Recipient.Octets) > 0
	// What is counted at MAIL is counted once, whatever the policies of the recipients.
	for _, name := range []string{ofClient, ofSender, ofRelay, ofUser} {
		spec.Fixed = append(spec.Fixed, name+"."+messages, name+"."+octets)
		spec.Free = append(spec.Free, name+"."+recipients)
	}
	spec.Free = append(spec.Free, ofRecipient)
	if c.tables[ofUser] == nil {
		c.tables[ofUser] = env.State.Table(env.Name+"/"+ofUser, filter.TableOptions{Most: maxSubjects, Lazy: true})
	}
	return spec, c, nil
}

// Whom a limit is about.
const (
	ofClient    = "client"
	ofSender    = "sender"
	ofRecipient = "recipient"
	ofRelay     = "relay"
	ofUser      = "user"
)

// maxSubjects bounds each table. Who has used nothing lately is in none; of the others the one that has been quiet longest
// is forgotten, and begins anew.
const maxSubjects = 100_000

// times is how much more is allowed to a big sender's networks, and to domains that send from them.
const times = 10

type check struct {
	config
	stage  string
	tables map[string]filter.Table // by whom they are about
}

// Check takes what a message, a recipient or a content uses of each limit, or proposes to defer and takes nothing. What
// was taken is given back where the client has to come again, whoever's fault that is: then it will be counted.
func (c *check) Check(_ context.Context, in *filter.Input) (filter.Result, error) {
	let, _ := auth.Waivers.From(in)
	if _, waived := auth.Waived(let, c.stage); waived || in.Session.Exempt || in.Recipient != nil && in.Recipient.Exempt {
		return filter.Result{}, nil
	}
	var use []claim
	for _, s := range c.subjects(in) {
		switch {
		case in.Content != nil:
			use = append(use, s.claims(octets, s.limits.Octets, in.Content.Blob().Size())...)
		case in.Recipient != nil:
			use = append(use, s.claims(recipients, s.limits.Recipients, 1)...)
		default:
			use = append(use, s.claims(messages, s.limits.Messages, 1)...)
			for _, o := range s.claims(octets, s.limits.Octets, max(in.Transaction.Size, 1)) {
				if wait, ok := o.rate.Room(o.table, o.key, o.n); !ok { // the content may as well stay where it is
					return refuse(in, o, wait), nil
				}
			}
		}
	}
	use = append(use, c.toRecipients(in)...)
	use, short, wait := filter.KeptBy[taken](in, c.stage).take(use)
	if short != nil {
		return refuse(in, *short, wait), nil
	}
	if len(use) == 0 {
		return filter.Result{}, nil
	}
	return filter.Result{Settle: func(f filter.Fate) {
		if f == filter.Unfinished {
			giveBack(use)
		}
	}}, nil
}

// taken is what has been taken for a content, by however many policies that ask about it: each limit counts it once.
type taken struct {
	mu  sync.Mutex
	all map[limit]bool
}

// limit is one of a subject.
type limit struct {
	about string
	key   filter.Digest
}

// take takes what has not been taken yet, and gives that; or nothing, and gives the claim for which there is too little.
func (t *taken) take(use []claim) (now []claim, short *claim, wait time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, u := range use {
		l := limit{u.about, u.key}
		if t.all[l] {
			continue
		}
		if wait, ok := u.rate.Take(u.table, u.key, u.n); !ok {
			giveBack(now)
			for _, n := range now {
				delete(t.all, limit{n.about, n.key})
			}
			return nil, &u, wait
		}
		if t.all == nil {
			t.all = map[limit]bool{}
		}
		t.all[l], now = true, append(now, u)
	}
	return now, nil, 0
}

func giveBack(use []claim) {
	for _, u := range use {
		u.rate.Return(u.table, u.key, u.n)
	}
}

// toRecipients gives what is used of the limits of recipients. Our own people's mail is not counted there.
func (c *check) toRecipients(in *filter.Input) (use []claim) {
	if c.tables[ofRecipient] == nil || in.Session.Relay || in.Session.User != "" {
		return nil
	}
	one := func(a mail.Address) subject {
		return subject{about: ofRecipient, name: a.Mailbox(), shown: "this recipient", table: c.tables[ofRecipient], times: 1}
	}
	switch {
	case in.Recipient != nil:
		return one(in.Recipient.Address).claims(messages, c.Recipient.Messages, 1)
	case in.Content != nil:
		for _, a := range in.For {
			s := one(a)
			s.shown = "a recipient"
			use = append(use, s.claims(octets, c.Recipient.Octets, in.Content.Blob().Size())...)
		}
	}
	return use
}

// refuse proposes to defer. For strangers it is held, so that those are reached who must always be.
func refuse(in *filter.Input, u claim, wait time.Duration) filter.Result {
	seconds := int64(max((wait+time.Second-1)/time.Second, 1))
	reply := mail.NewReply(450, 4, 7, 1, fmt.Sprintf("Limit of %s for %s is reached, please come again in %d seconds", u, u.shown, seconds))
	return filter.Result{
		Findings: []filter.Finding{{
			Symbol: symExceeded, Strength: 1, Detail: fmt.Sprintf("%s %s: %s, to come again in %ds", u.about, u.name, u, seconds),
		}},
		Propose: filter.Defer, Reply: &reply, Hold: !in.Session.Relay && in.Session.User == "",
	}
}
