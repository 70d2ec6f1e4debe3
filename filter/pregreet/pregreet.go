// Package pregreet looks at the manners of a client before it has said anything of its mail: whether it waited for the
// greeting, and whether it calls itself by a name that could be its own. It scores, and refuses only early talkers, where the
// configuration asks for it.
package pregreet

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/mail"
)

// Factory makes the filter "pregreet".
var Factory = filter.Factory{Kind: "pregreet", New: open}

// The symbols.
const (
	early = "EARLY_TALKER"

	ours             = "HELO_OURS"
	ourDomain        = "HELO_OUR_DOMAIN"
	invalid          = "HELO_INVALID"
	notFull          = "HELO_NOT_FULL"
	bareAddress      = "HELO_BARE_ADDRESS"
	literal          = "HELO_LITERAL"
	literalOther     = "HELO_LITERAL_OTHER"
	literalMalformed = "HELO_LITERAL_MALFORMED"
	unresolvable     = "HELO_UNRESOLVABLE"
	mismatch         = "HELO_MISMATCH"
	dynamic          = "HELO_DYNAMIC"
)

// symbols and their weights. Nothing honest talks before it is greeted but health checks and what is broken: that weighs just
// less than the standard threshold, so that one more mark of any kind is needed. Of the names in EHLO half of the world's
// honest servers have some fault, and RFC 5321 4.1.4 forbids to refuse mail for them.
var symbols = []filter.Symbol{
	{Name: early, Weight: 4, Description: "the client spoke before it was greeted"},
	{Name: ours, Weight: 2, Description: "the client calls itself by our name or our address"},
	{Name: ourDomain, Weight: 1.5, Description: "the client calls itself by a domain of ours that does not lead to it"},
	{Name: literalMalformed, Weight: 1, Description: "the client calls itself by an address literal that is none"},
	{Name: bareAddress, Weight: 1, Description: "the client calls itself by an address without brackets"},
	{Name: literalOther, Weight: 0.8, Description: "the client calls itself by the literal of another address"},
	{Name: dynamic, Weight: 0.8, Description: "the client calls itself by a name such as providers give to the lines of their customers"},
	{Name: unresolvable, Weight: 0.6, Description: "the name by which the client calls itself has no address"},
	{Name: invalid, Weight: 0.5, Description: "the client calls itself by what no host is called"},
	{Name: notFull, Weight: 0.5, Description: "the client calls itself by a name without a domain"},
	{Name: literal, Weight: 0.3, Description: "the client calls itself by the literal of its address"},
	{Name: mismatch, Weight: 0.2, Description: "the name by which the client calls itself does not lead to its address"},
}

type config struct {
	Action action   `yaml:"action"`
	Off    []string `yaml:"off"`
}

// action is what is proposed for early talkers beside the score; filter.Continue is nothing.
type action filter.Action

// UnmarshalYAML reads "score", "tag", "defer" or "reject".
func (a *action) UnmarshalYAML(unmarshal func(any) error) error {
	var word string
	if err := unmarshal(&word); err != nil {
		return err
	}
	allowed := map[string]filter.Action{"score": filter.Continue, "tag": filter.Tag, "defer": filter.Defer, "reject": filter.Reject}
	v, ok := allowed[word]
	if !ok {
		return fmt.Errorf("pregreet: action: %q is none of score, tag, defer, reject", word)
	}
	*a = action(v)
	return nil
}

func open(env filter.Env, decode func(any) error) (filter.Spec, filter.Filter, error) {
	var cfg config
	if err := decode(&cfg); err != nil {
		return filter.Spec{}, nil, err
	}
	c := &check{dns: env.DNS, ours: env.Ours, action: filter.Action(cfg.Action), off: map[string]bool{}}
	for i, name := range cfg.Off {
		if !slices.ContainsFunc(symbols, func(s filter.Symbol) bool { return s.Name == name }) {
			return filter.Spec{}, nil, filter.At(fmt.Errorf("pregreet: off: %q is none of %s", name, strings.Join(names(), ", ")), "off", strconv.Itoa(i))
		}
		c.off[name] = true
	}
	if own, err := mail.Domain(env.Hostname); err == nil {
		c.hostname = own
	}
	spec := filter.Spec{Name: env.Name, Phases: filter.In(filter.Connect, filter.Helo), Symbols: slices.Clone(symbols)}
	return spec, c, nil
}

func names() []string {
	var all []string
	for _, s := range symbols {
		all = append(all, s.Name)
	}
	slices.Sort(all)
	return all
}

type check struct {
	dns      filter.Resolver
	ours     func(string) bool
	hostname string // our own, A-labels, lower case
	action   filter.Action
	off      map[string]bool // symbols that are not reported
}

// Check looks at how the client began in the connect phase, and at what it calls itself in the helo phase. Clients with the
// right to relay and those of exempt networks are not looked at.
func (c *check) Check(ctx context.Context, in *filter.Input) (filter.Result, error) {
	client := in.Session.Client.Addr().Unmap().WithZone("")
	if in.Session.Relay || in.Session.Exempt || !client.IsValid() {
		return filter.Result{}, nil
	}
	if in.Phase == filter.Helo {
		return c.helo(ctx, in.Session, client)
	}
	return c.early(in.Session, client), nil
}

// early: RFC 5321 3.1 and 4.3.1: a client waits for the greeting before it sends any command.
func (c *check) early(s *filter.Session, client netip.Addr) filter.Result {
	if !s.Early || c.off[early] {
		return filter.Result{}
	}
	r := filter.Result{Findings: []filter.Finding{{Symbol: early, Strength: 1, Detail: client.String()}}, Propose: c.action}
	const why = "you spoke before you were greeted"
	switch c.action {
	case filter.Defer:
		reply := mail.NewReply(450, 4, 5, 1, "Protocol error: "+why)
		r.Reply, r.Hold = &reply, true
	case filter.Reject:
		reply := mail.NewReply(550, 5, 5, 1, "Protocol error: "+why)
		r.Reply, r.Hold = &reply, true
	case filter.Continue, filter.Tag, filter.Quarantine:
	}
	return r
}
