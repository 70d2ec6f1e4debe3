// Package filter is the vocabulary in which filters speak: what they are given, what they may report, and
// the typed facts they share. It holds no filter, no policy and no way to act: a filter reports and
// proposes, package pipeline decides, and one place acts.
package filter

import (
	"context"
	"log/slog"
	"net"

	"github.com/postern-mail/postern/mail"
)

// Phase is the point of an SMTP session at which filters run.
type Phase uint8

// The phases, in the order in which a session reaches them.
const (
	Connect Phase = iota // the client has connected
	Helo                 // EHLO or HELO has named the client
	Mail                 // MAIL has begun a transaction
	Rcpt                 // RCPT has named one recipient
	Data                 // the content is here
	phaseCount
)

var phaseNames = [phaseCount]string{"connect", "helo", "mail", "rcpt", "data"}

// AllPhases lists the phases in order.
func AllPhases() []Phase { return []Phase{Connect, Helo, Mail, Rcpt, Data} }

// String gives the phase's name in lower case.
func (p Phase) String() string {
	if p < phaseCount {
		return phaseNames[p]
	}
	return "unknown"
}

// Phases is a set of phases.
type Phases uint8

// In makes a set of phases.
func In(phases ...Phase) Phases {
	var s Phases
	for _, p := range phases {
		s |= 1 << p
	}
	return s
}

// Has reports whether the set holds p.
func (s Phases) Has(p Phase) bool { return s&(1<<p) != 0 }

// First gives the earliest phase of the set, and Data for an empty set.
func (s Phases) First() Phase {
	for p := Connect; p < phaseCount; p++ {
		if s.Has(p) {
			return p
		}
	}
	return Data
}

// Action is what should become of a message. Of two actions the greater wins.
type Action uint8

// The actions, in ascending order.
const (
	Continue   Action = iota // deliver as it is
	Tag                      // deliver, marked
	Quarantine               // keep it here
	Defer                    // ask the client to come back (4yz)
	Reject                   // refuse (5yz)
	actionCount
)

var actionNames = [actionCount]string{"continue", "tag", "quarantine", "defer", "reject"}

// AllActions lists the actions in ascending order.
func AllActions() []Action { return []Action{Continue, Tag, Quarantine, Defer, Reject} }

// String gives the action's name in lower case.
func (a Action) String() string {
	if a < actionCount {
		return actionNames[a]
	}
	return "unknown"
}

// MarshalText writes the action's name.
func (a Action) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// Filter checks one phase of one session. Check must be safe for concurrent use, must not change its
// input, and must return soon after its context ends. An error means "could not tell": it is never
// read as clean, nor as a reason against the sender.
//
// The phases before RCPT run by the options of the default policy. Where the policy of a recipient has others, the filter that has
// these is asked in the same phases when the policy is known, once for a transaction, and is heard in the place of the other. See
// Spec.Fixed.
type Filter interface {
	Check(ctx context.Context, in *Input) (Result, error)
}

// Unmarker is a Filter that puts marks on messages for those who read them: its factory says so. Of a message that comes back with them
// it tells how they come off, as far as it would put the same ones on today.
type Unmarker interface {
	Filter
	// Unmark gives the edits that take the marks off. The error is one of reading the content.
	Unmark(c *mail.Content) ([]mail.Edit, error)
}

// Func adapts a function to a Filter.
type Func func(ctx context.Context, in *Input) (Result, error)

// Check calls f.
func (f Func) Check(ctx context.Context, in *Input) (Result, error) { return f(ctx, in) }

// Result is what a filter found, and what it proposes. The zero Result says nothing against the message.
type Result struct {
	Findings []Finding // what was found; scored by the policy
	Propose  Action    // the action that the filter's own configuration asks for; Continue proposes nothing
	// Aggravated is proposed as well where the score reaches the policy's lowest threshold without the findings
	// of this stage: for evidence that is not to weigh so much alone.
	Aggravated Action
	Reply      *mail.Reply // the reply for Defer and Reject; nil for a general one
	Hold       bool        // of a proposal before the rcpt phase: answer it at each RCPT, where exemptions are known
	Edits      []mail.Edit // changes to the content, data phase only; never carried out by the filter itself
	Rebuild    bool        // parts that readers may read differently are to be serialised anew (mail.Rewrite), data phase only
	Facts      []Fact      // what other filters, the Authentication-Results field and the record may use
	// Settle, of a result of the mail, rcpt or data phase, is told how it ended for the recipient (rcpt phase) or the
	// message: once, by the session, when the client has been or is about to be told. It must be quick. It is not called
	// where nobody is told anything (postern scan), nor for a result that comes too late. nil: the filter needs not know.
	Settle func(Fate)
}

// Fate is how it ended for a recipient or a message.
type Fate uint8

// The fates. Of what is Unfinished the client may try again, and nothing is known yet.
const (
	Unfinished Fate = iota // broken off, or the client was told to come again (4yz)
	Taken                  // the client was told that it is taken (2yz after the content)
	Refused                // the client was told not to come again (5yz)
	Held                   // as Taken, but some recipients, or all, don't have it: it went to the quarantine
	Doubted                // as Taken, but the verdict was against it: it was marked, for some at least, or more would be done if all that observes were enforced
)

// Accepted reports whether the client was told that it is taken, wherever it went.
func (f Fate) Accepted() bool { return f == Taken || f == Held || f == Doubted }

// Finding is one thing found. Its score is the weight of its symbol times its strength.
type Finding struct {
	Symbol   string  `json:"symbol"`           // UPPER_SNAKE, declared in Spec.Symbols; "" scores nothing
	Strength float64 `json:"strength"`         // 1 for plain yes; 0 is a mention that scores nothing
	Detail   string  `json:"detail,omitempty"` // the evidence, for people; may hold octets of the message

	// Unknown says that this stands for what could not be found out: what it scores may mark a message, since nothing unknown is called
	// clean, and holds or refuses none, since that would be for our fault.
	Unknown bool `json:"unknown,omitempty"`
}

// Symbol declares a symbol that a filter may report.
type Symbol struct {
	Name        string  // UPPER_SNAKE
	Weight      float64 // score at strength 1, before a policy's own weights
	Description string  // one sentence, for `postern explain` and the docs
}

// Spec is what a filter declares of itself.
type Spec struct {
	Name     string   // name of the stage: unique in a plan
	Phases   Phases   // when Check is to be called
	Needs    []string // facts that must be provided by an earlier stage
	Wants    []string // facts that are used where a stage provides them
	Provides []string // facts that this filter gives
	Symbols  []Symbol // every symbol that it may report
	// Certificates says that it goes by certificates of clients: they are asked for one.
	Certificates bool
	Lists        []string // names of the DNS lists that it asks, by which auth.Lists are counted
	// Fixed lists options, such as "client.messages", that count before RCPT and once for a message: no policy has own ones, and the
	// filter's phases before RCPT are not run anew for a policy. Of a filter without such phases they count for all policies together. Free
	// lists those that a policy may have all the same, for people.
	Fixed, Free []string
	// Apart says that the filter goes by Input.For: in the data phase what it says for one policy is not taken over for another.
	Apart bool
	// Idle says why the filter can do nothing with its options ("lists names none"), "" where it can. One that can do nothing for
	// any policy is refused.
	Idle string
	// Uses lists options that do nothing without a fact of another stage. Where they would do nothing for any policy they are refused.
	Uses []Use
	// Health tells how the program is that it asks; nil where it asks none. It is called at any time, and answers at once.
	Health func() Health
}

// Use is an option that has been set and goes by a fact of another stage.
type Use struct {
	Path  []string // as that of an OptionError
	Fact  string
	Giver string // the kind that gives the fact, for people
}

// Factory makes filters of one kind from their configuration.
type Factory struct {
	Kind string // the key under filters: in the configuration
	// New decodes the stage's own configuration into a struct of the filter's, strictly, by calling
	// decode once with a pointer to it (fields carry `yaml:"…"` tags and hold the defaults
	// beforehand), and returns what the filter declares and the filter.
	// Spec.Name may stay empty: the name of the stage is Env.Name. An error about one of the options says so by At.
	New   func(env Env, decode func(any) error) (Spec, Filter, error)
	Marks bool // its filters are Unmarkers
}

// Env is what a filter may use of the gateway around it.
type Env struct {
	Name       string            // name of the stage
	Hostname   string            // the gateway's own name
	Postmaster string            // whom people may ask
	Stages     []string          // names of all stages of the configuration, this one among them
	Kinds      []string          // the kinds of Stages, in their order
	Symbols    map[string]Symbol // by name, what the other stages declare; only the kind rules, which is made last, sees all
	Ours       func(string) bool // whether a domain (A-labels, lower case) is one that we take mail for
	DNS        Resolver          // the gateway's resolver; never nil
	State      State             // what the gateway remembers; never nil
	Log        *slog.Logger      // never nil
}

// Resolver is what filters may ask of the DNS. *net.Resolver is one; errors are *net.DNSError, whose
// IsNotFound and IsTemporary tell "no such thing" from "could not tell".
type Resolver interface {
	LookupTXT(ctx context.Context, name string) ([]string, error)
	LookupMX(ctx context.Context, name string) ([]*net.MX, error)
	LookupIPAddr(ctx context.Context, host string) ([]net.IPAddr, error)
	LookupAddr(ctx context.Context, addr string) ([]string, error)
}
