package bayes

import (
	"fmt"
	"sync"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
)

// Autolearn says from when on rules are sure, in points (auth.Tally.Points).
type Autolearn struct {
	Ham  float64 // less is ham
	Spam float64 // so much, or more, is spam
}

// autolearn is Autolearn as it is written.
type autolearn struct {
	Ham  *float64 `yaml:"ham"`
	Spam *float64 `yaml:"spam"`
}

// UnmarshalYAML reads off, or no value, for none; else the mapping, which is laid over what is there.
func (a *autolearn) UnmarshalYAML(decode func(any) error) error {
	var given any
	if err := decode(&given); err != nil {
		return err
	}
	if given == nil || given == false || given == "off" {
		*a = autolearn{}
		return nil
	}
	type mapping autolearn
	return decode((*mapping)(a))
}

// thresholds gives what is written; nil where nothing is.
func (a autolearn) thresholds() (*Autolearn, error) {
	if a == (autolearn{}) {
		return nil, nil
	}
	switch {
	case a.Ham == nil:
		return nil, filter.At(fmt.Errorf("bayes: autolearn: spam: %g alone; allowed: ham up to %d beside it, or autolearn: off", *a.Spam, mostHamPoints), "autolearn")
	case a.Spam == nil:
		return nil, filter.At(fmt.Errorf("bayes: autolearn: ham: %g alone; allowed: spam from %d on beside it, or autolearn: off", *a.Ham, leastSpam), "autolearn")
	case !(*a.Ham <= mostHamPoints):
		return nil, filter.At(fmt.Errorf("bayes: autolearn: ham: %g; allowed: up to %d", *a.Ham, mostHamPoints), "autolearn", "ham")
	case !(*a.Spam >= leastSpam):
		return nil, filter.At(fmt.Errorf("bayes: autolearn: spam: %g; allowed: from %d on", *a.Spam, leastSpam), "autolearn", "spam")
	}
	return &Autolearn{*a.Ham, *a.Spam}, nil
}

// What SpamAssassin asks for beside its thresholds.
const (
	mostHamPoints = 1 // that a site may have learned as ham

	leastSpam = 6 // points of spam, of which
	leastSide = 3 // are by rules about the header, and as many by rules about the body
	isSpam    = 5 // points of all rules, lists of the site among them, from which on a message is spam to them
	contrary  = 1 // points of rules that were taught themselves, and say the contrary, at most
)

// Of tells what rules teach of a message: that it is spam or that it is not, or nothing. It is the same whatever those would have said
// of which is not known whether they hit: a list that does not answer makes no spam ham, and keeps none from being learned that is
// spam without it.
func (a Autolearn) Of(t auth.Teaching) (spam, teaches bool) {
	switch {
	case t.Partial:
		return false, false
	case t.Least.Points >= a.Spam:
		l := t.Least
		return true, (t.Force || l.Header >= leastSide && l.Body >= leastSide) && l.Learned >= -contrary && l.Score >= isSpam
	case t.Most.Points < a.Ham:
		return false, t.Most.Learned <= contrary && t.Most.Score < isSpam
	}
	return false, false
}

// teaching is what rules teach of a message.
type teaching struct {
	to    teachable
	spam  bool
	heard *heard
}

// heard is what rules teach of a message, by however many policies that ask about it: there is one lesson, and none where they contradict.
type heard struct {
	mu              sync.Mutex
	ham, spam, told bool
}

func (h *heard) note(spam bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.spam, h.ham = h.spam || spam, h.ham || !spam
}

// counts reports, once, whether there is a lesson.
func (h *heard) counts() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	first := !h.told
	h.told = true
	return first && h.ham != h.spam
}

// lesson tells what rules that are sure teach, nil for nothing. Mail of those who may relay teaches nothing: it is their word
// against the rules'. Nor does it teach that something is spam of which the site has written down that rules, the score or what is
// learned shall not count.
func (c *check) lesson(in *filter.Input, l Learner) *teaching {
	t, ok := l.(teachable)
	if !ok || c.teach == nil || in.Session == nil || in.Session.Relay || in.Session.User != "" {
		return nil
	}
	said, ok := auth.RulesTeach.From(in)
	if !ok {
		return nil // no rule ran
	}
	spam, ok := c.teach.Of(said)
	if !ok || spam && c.waived(in, said.Stage) {
		return nil
	}
	h := filter.KeptBy[heard](in, c.name)
	h.note(spam)
	return &teaching{t, spam, h}
}

// waived reports whether rules, the score or the learner do not count for a message.
func (c *check) waived(in *filter.Input, rules string) bool {
	all, _ := auth.Waivers.From(in)
	for _, what := range []string{rules, auth.WaiveScore, c.name} {
		if _, ok := auth.Waived(all, what); ok {
			return true
		}
	}
	return false
}

const (
	sure = 4.0 // from when on a lesson that agrees is none
	firm = 2.0 // from when on one that does not agree is none
)

// known reports whether the learner knows that well enough: what it is sure of would only crowd out what it is not.
func known(odds float64, spam bool) bool {
	if spam {
		return odds > sure
	}
	return odds < -sure
}
