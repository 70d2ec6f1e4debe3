// Package bayes scores mail by what the site's learner was taught of wanted and unwanted mail. It learns nothing itself, but for
// what it hands on where rules were sure and the configuration asks for that, and it refuses nobody.
package bayes

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/internal/learner"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/rules/text"
)

// Kind is the filter's kind.
const Kind = "bayes"

// The symbols.
const (
	symSpam      = "BAYES_SPAM"
	symHam       = "BAYES_HAM"
	symUnsure    = "BAYES_UNSURE"
	symUntrained = "BAYES_UNTRAINED"
)

var symbols = []filter.Symbol{
	{Name: symSpam, Weight: perLogit * mostSpam, Description: "the learner takes it for spam; strength 1, the most, is odds of 400 to 1"},
	{Name: symHam, Weight: -hamPoints, Description: "the learner takes it for wanted; strength 1, the most, is odds of 3000 to 1"},
	{Name: symUnsure, Description: "the learner can't tell"},
	{Name: symUntrained, Description: "the learner has not learned enough to say anything"},
}

// A finding adds perLogit points for each unit of the logarithm of the odds. So much of it makes the best of the learner and of
// rules whose scores were fitted to 5 points (see ADR 37), and bounds keep the learner from deciding alone: it refuses nobody with
// reject at 15, and rules that are sure outweigh what it takes for wanted.
const (
	perLogit = 2.0
	mostSpam = 6.0 // logarithm of the odds at strength 1, about 400 to 1; nothing beyond counts
	plainHam = 2.0 // about 7 to 1: up to there what it takes for wanted counts as much
	mostHam  = 8.0 // about 3000 to 1: what is between counts less, so that of what is surely wanted the surest still stands lowest
	least    = 0.5 // below it, the learner can't tell

	hamPoints = 6.0 // what wanted mail loses at most
)

// strength gives how strong a finding of these odds is, 0 to 1.
func strength(odds float64) float64 {
	if odds > 0 {
		return min(odds/mostSpam, 1)
	}
	const rest = (hamPoints - perLogit*plainHam) / (mostHam - plainHam)
	return (perLogit*min(-odds, plainHam) + rest*max(min(-odds, mostHam)-plainHam, 0)) / hamPoints
}

// Points gives what a finding adds to the score of a message, by the weights of its symbol, where the learner gives these odds.
func Points(odds float64) float64 {
	f := finding(odds, func() string { return "" })
	for _, s := range symbols {
		if s.Name == f.Symbol {
			return s.Weight * f.Strength
		}
	}
	return 0
}

// config is the stage's configuration.
type config struct {
	Least     int           `yaml:"least"`
	Samples   int           `yaml:"samples"`
	HalfLife  time.Duration `yaml:"half_life"`
	Words     bool          `yaml:"words"` // name the words that weigh most in the finding
	Autolearn autolearn     `yaml:"autolearn"`
}

const (
	day          = 24 * time.Hour
	usualSamples = 10_000 // where nothing is said
)

func (c config) check() error {
	key := "samples"
	if c.Samples == usualSamples {
		key = "least" // which is what somebody has written
	}
	switch {
	case c.Least < 20 || c.Least > 100_000:
		return filter.At(fmt.Errorf("bayes: least: %d; allowed: 20 to 100000", c.Least), "least")
	case c.Samples < c.Least || c.Samples > 100_000:
		return filter.At(fmt.Errorf("bayes: samples: %d; allowed: as many as least (%d) to 100000", c.Samples, c.Least), key)
	case c.HalfLife < day || c.HalfLife > 3650*day:
		return filter.At(fmt.Errorf("bayes: half_life: %s; allowed: 1d to 3650d", c.HalfLife), "half_life")
	}
	_, err := c.Autolearn.thresholds()
	return err
}

func read(decode func(any) error) (config, error) {
	cfg := config{Least: 200, Samples: usualSamples, HalfLife: 180 * day, Words: true}
	if err := decode(&cfg); err != nil {
		return cfg, err
	}
	return cfg, cfg.check()
}

// LearnerOptions gives what a stage's configuration says of the learner; decode is that of a Factory.
func LearnerOptions(decode func(any) error) (learner.Options, error) {
	cfg, err := read(decode)
	return learner.Options{Samples: cfg.Samples, Least: cfg.Least, HalfLife: cfg.HalfLife}, err
}

// Learner is what the filter asks. *learner.Store and *learner.Snapshot are ones.
type Learner interface {
	Ready() bool
	Score(learner.Sample) float64
	Heaviest(s learner.Sample, most int) []learner.Share
}

// teachable is a Learner that can be taught.
type teachable interface {
	Offer(learner.Lesson)
}

func open(d *Desk, env filter.Env, decode func(any) error) (filter.Spec, filter.Filter, error) {
	cfg, err := read(decode)
	if err != nil {
		return filter.Spec{}, nil, err
	}
	if n := count(env.Kinds, Kind); n > 1 {
		return filter.Spec{}, nil, errors.New("bayes: there is one learner: a second filter of this kind would count its word twice")
	}
	spec := filter.Spec{
		Name: env.Name, Phases: filter.In(filter.Data),
		Wants:   []string{string(auth.RuleHits), string(auth.RulesTeach), string(auth.Waivers)},
		Symbols: slices.Clone(symbols),
		// There is one learner for all policies.
		Fixed: []string{"least", "samples", "half_life"}, Free: []string{"words", "autolearn"},
	}
	c := &check{config: cfg, name: env.Name, desk: d}
	if c.teach, err = cfg.Autolearn.thresholds(); c.teach != nil {
		spec.Uses = []filter.Use{{Path: []string{"autolearn"}, Fact: string(auth.RulesTeach), Giver: "rules"}}
	}
	return spec, c, err
}

func count(all []string, one string) (n int) {
	for _, x := range all {
		if x == one {
			n++
		}
	}
	return n
}

type check struct {
	config
	name  string
	desk  *Desk
	teach *Autolearn // nil: rules teach nothing
}

// Check scores a message, as it is without the marks that the gateway puts on those it delivers: so it was taught. The error is that of
// reading the content.
func (c *check) Check(ctx context.Context, in *filter.Input) (filter.Result, error) {
	l := c.desk.Learner()
	ready := l != nil && l.Ready()
	teach := c.lesson(in, l)
	if !ready && teach == nil {
		return untrained(), nil
	}
	content, err := c.desk.unmarked(in.Content)
	switch {
	case errors.Is(err, mail.ErrEdit), err == nil && content == nil: // it can't be had without marks: it is as it is, and teaches nothing
		content, teach = in.Content.Retain(), nil
	case err != nil:
		return filter.Result{}, fmt.Errorf("bayes: %w", err)
	}
	defer content.Release()
	hits, _ := auth.RuleHits.From(in)
	m := text.Of(content, text.Options{})
	if err := filter.Hold(ctx, m.Memory()); err != nil {
		return filter.Result{}, fmt.Errorf("bayes: %w", err)
	}
	s := learner.FromMessage(m, hits)
	if err := m.Err(); err != nil {
		return filter.Result{}, fmt.Errorf("bayes: %w", err)
	}
	r := untrained()
	if ready {
		odds := l.Score(s)
		r = filter.Result{Findings: []filter.Finding{finding(odds, func() string { return c.explain(l, m, hits, s) })}}
		if teach != nil && (known(odds, teach.spam) || odds > firm && !teach.spam || odds < -firm && teach.spam) {
			teach = nil // it would say nothing new, or that all that was taught is wrong
		}
	}
	if teach != nil {
		lesson := learner.NewLesson(s, teach.spam, learner.FromRules, time.Now())
		r.Settle = func(f filter.Fate) {
			// Unfinished tells nothing yet. What was held, refused or in doubt is not what people want, whatever rules say.
			if (f == filter.Taken || f != filter.Unfinished && lesson.Spam) && teach.heard.counts() {
				teach.to.Offer(lesson)
			}
		}
	}
	return r, nil
}

func untrained() filter.Result {
	return filter.Result{Findings: []filter.Finding{{Symbol: symUntrained, Strength: 1}}}
}

// finding says what the odds are; words gives the strongest reasons.
func finding(odds float64, words func() string) filter.Finding {
	f := filter.Finding{Symbol: symUnsure, Strength: 1, Detail: fmt.Sprintf("spam with a probability of %.2f", learner.Probability(odds))}
	switch {
	case odds >= least:
		f.Symbol = symSpam
	case odds <= -least:
		f.Symbol = symHam
	default:
		return f
	}
	f.Strength = math.Round(strength(odds)*1e4) / 1e4
	f.Detail = fmt.Sprintf("spam with a probability of %.4f%s", learner.Probability(odds), words())
	return f
}

// maxReasons is how many reasons stand in a finding.
const maxReasons = 8

// explain names what weighs most in the score. The words are read out of the message anew, for the few that are needed.
func (c *check) explain(l Learner, m *text.Message, hits []auth.RuleHit, s learner.Sample) string {
	if !c.Words {
		return ""
	}
	var b strings.Builder
	for i, r := range learner.Words(m, hits, l.Heaviest(s, 4*maxReasons)) {
		if i == maxReasons {
			break
		}
		between := ", "
		if i == 0 {
			between = ": "
		}
		fmt.Fprintf(&b, "%s%q %+.2f", between, r.Text, r.Weight)
	}
	return b.String()
}
