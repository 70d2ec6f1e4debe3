//go:build accept

package accept

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/filter/bayes"
	"github.com/postern-mail/postern/internal/detection"
	"github.com/postern-mail/postern/internal/learner"
	"github.com/postern-mail/postern/rules"
)

// A stream has a filter judge messages one after the other, as they come to a gateway, by what it knows then; what its own rules are
// sure of it learns. In how many orders they come, and after how many messages what was learned counts.
const (
	orders    = 3
	fitsAfter = 100
)

// A streamer is a detector that learns by itself while it judges.
type streamer interface {
	name() string // what the tables call it
	kind() string // by which it is kept
	version(t *testing.T) string
	// streams learns from what the split gives to learn, then judges messages and learns from them, in each of the orders anew.
	streams(t *testing.T, b *bench, s detection.Split, orders [][]int) []streamed
}

// streamed is what a streamer said to messages in the order in which they came, and how many it learned from.
type streamed struct {
	Scores      []float64
	Learned     [2]int // as ham, as spam
	LearnedAway [2]int // of these, such as are the other
}

func (s *streamed) learned(as, is bool) {
	class := 0
	if as {
		class = 1
	}
	s.Learned[class]++
	if as != is {
		s.LearnedAway[class]++
	}
}

// streams writes what streamers make of a split's messages: figures that are the mean of all orders, with the least and the most.
func (b *bench) streams(t *testing.T, w io.Writer, s detection.Split, all []streamer) {
	fmt.Fprintf(w, "\n## %s, with what is taught meanwhile\n\nThe messages judged come one after the other, in %d orders, and each is judged by what is known then. What rules are sure of, or people teach, is learned, "+
		"and counts %d messages later at most. Figures are the mean of the orders, with the least and the most. Beside them stands how many messages were learned, and how many of these wrongly.\n\n"+
		"| | area under the curve | recall, 0.1 %% of the ham | recall, 0.5 %% of the ham | as ham, wrongly | as spam, wrongly |\n|---|---|---|---|---|---|\n", s.Name, orders, fitsAfter)
	shuffled := make([][]int, orders)
	for n := range shuffled {
		order := slices.Clone(s.Test)
		rand.New(rand.NewPCG(uint64(n), 1)).Shuffle(len(order), func(i, k int) { order[i], order[k] = order[k], order[i] })
		shuffled[n] = order
	}
	for _, j := range all {
		var figures [3][]float64
		var said streamed
		for n, one := range b.streamsOf(t, j, s, shuffled) {
			order := shuffled[n]
			scored := make([]detection.Scored, len(order))
			for k, m := range order {
				scored[k] = detection.Scored{Spam: b.all[m].Spam, Score: one.Scores[k], Cluster: b.clusters[m]}
			}
			for k, v := range figuresOf(scored) {
				figures[k] = append(figures[k], v)
			}
			for class := range 2 {
				said.Learned[class] += one.Learned[class]
				said.LearnedAway[class] += one.LearnedAway[class]
			}
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s |", j.name(), span("%.5f", "", 1, figures[0]), span("%.1f", " %", 100, figures[1]), span("%.1f", " %", 100, figures[2]))
		for class := range 2 {
			fmt.Fprintf(w, " %.0f, %.1f |", float64(said.Learned[class])/orders, float64(said.LearnedAway[class])/orders)
		}
		fmt.Fprintln(w)
	}
}

// span gives the mean of some values, with the least and the most of them.
func span(format, unit string, times float64, all []float64) string {
	sum := 0.0
	for _, v := range all {
		sum += v
	}
	return fmt.Sprintf(format+"%s ("+format+"–"+format+")", times*sum/float64(len(all)), unit, times*slices.Min(all), times*slices.Max(all))
}

// streamsOf gives what a streamer makes of messages in each of the orders: what is kept of it where all is the same.
func (b *bench) streamsOf(t *testing.T, j streamer, s detection.Split, all [][]int) (out []streamed) {
	t.Helper()
	file := b.keptAs(t, j.kind(), j.version(t), s)
	if !readKept(file, &out) || len(out) != len(all) {
		out = j.streams(t, b, s, all)
	}
	for n, one := range out {
		if len(one.Scores) != len(all[n]) || one.Learned[0]+one.Learned[1] == 0 {
			t.Fatalf("%s, %s: %d scores for %d messages, %v lessons", j.name(), s.Name, len(one.Scores), len(all[n]), one.Learned)
		}
	}
	keep(t, file, out)
	return out
}

// posternStream is the gateway's own filter, with a learner on disk, and settings of autolearn; with none, people teach what they find
// on the wrong side of spamFrom.
type posternStream struct{ autolearn string }

// spamFrom is the score from which on a policy without thresholds tags a message as spam.
const spamFrom = 5

func (j posternStream) name() string {
	if j.autolearn == "" {
		return "postern, mistakes taught by people"
	}
	return "postern, `autolearn: {" + j.autolearn + "}`"
}
func (posternStream) kind() string { return "postern-autolearn" }

func (j posternStream) version(t *testing.T) string {
	return j.autolearn + sourceDigest() + digestOf(t, "", "accuracy_stream_test.go")
}

// offered is a store of lessons that takes those of rules when it is told to: Store.Tend would do it by the clock.
type offered struct {
	*learner.Store
	lessons []learner.Lesson
}

func (o *offered) Offer(l learner.Lesson) { o.lessons = append(o.lessons, l) }

func (j posternStream) streams(t *testing.T, b *bench, s detection.Split, all [][]int) []streamed {
	v := ourViews(t)
	set := v.scored(t, b, s)
	alone := map[int]float64{} // what is said where nothing is learned
	for k, score := range b.cached(t, posternSum{}, s) {
		alone[s.Test[k]] = score
	}
	out, errs := make([]streamed, len(all)), make([]error, len(all))
	var wg sync.WaitGroup
	for n, order := range all {
		dir := t.TempDir()
		wg.Go(func() { out[n], errs[n] = j.stream(dir, b, v, s, order, set, alone) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	return out
}

// scored gives our rules with the scores that are fitted for a split.
func (v *views) scored(t *testing.T, b *bench, s detection.Split) *rules.Set {
	t.Helper()
	var scores bytes.Buffer
	for name, w := range v.weights(t, b, s) {
		fmt.Fprintf(&scores, "score %s %g\n", name, w)
	}
	sources := append(unscored(), rules.Source{Name: "scores.cf", Octets: scores.Bytes()})
	set, _, err := rules.Load(sources, rules.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func (j posternStream) stream(dir string, b *bench, v *views, s detection.Split, order []int, set *rules.Set, alone map[int]float64) (out streamed, err error) {
	store, err := learner.Open(filepath.Join(dir, "learner"), learner.StoreOptions{})
	if err != nil {
		return out, err
	}
	defer store.Close()
	o := &offered{Store: store}
	learn := func(lessons []learner.Lesson) error {
		_, err := store.Add(lessons)
		return errors.Join(err, store.Fit(context.Background()))
	}
	var known []learner.Lesson
	for _, m := range s.Train {
		known = append(known, learner.NewLesson(v.samples[m], b.all[m].Spam, learner.FromPeople, time.Now()))
	}
	if err := learn(known); err != nil {
		return out, err
	}
	var desk bayes.Desk
	desk.Use(o)
	spec, f, err := desk.Factory().New(filter.Env{Name: bayes.Kind}, func(cfg any) error {
		settings := "{words: false}"
		if j.autolearn != "" {
			settings = "{words: false, autolearn: {" + j.autolearn + "}}"
		}
		return yaml.Unmarshal([]byte(settings), cfg)
	})
	if err != nil {
		return out, err
	}
	for k, m := range order {
		if k%fitsAfter == 0 && len(o.lessons) > 0 {
			if err := learn(o.lessons); err != nil {
				return out, err
			}
			o.lessons = o.lessons[:0]
		}
		c, err := detection.Content(b.all[m].Octets)
		if err != nil {
			return out, err
		}
		var found []rules.Hit
		hits, score := slices.Clone(v.ruleHits[m]), 0.0
		for i := range hits {
			rule := set.Rule(hits[i].Name)
			if !rule.Hidden() {
				if hits[i].Score = set.Score(rule); rule.Flag("multiple") {
					return out, fmt.Errorf("%s: the score of each hit of it counts: this adds it once", rule.Name)
				}
			}
			score += hits[i].Score
			found = append(found, rules.Hit{Rule: rule, Score: hits[i].Score, Count: hits[i].Count, Times: 1})
		}
		in := &filter.Input{Session: &filter.Session{}, Transaction: &filter.Transaction{From: b.all[m].Sender}, Content: c}
		in.Transaction.Record(auth.RuleHits.Of(hits), auth.RulesTeach.Of(set.Teaching(&rules.Result{Hits: found})))
		r, err := f.Check(context.Background(), in)
		if err != nil {
			return out, err
		}
		for _, x := range r.Findings {
			i := slices.IndexFunc(spec.Symbols, func(s filter.Symbol) bool { return s.Name == x.Symbol })
			score += spec.Symbols[i].Weight * x.Strength
		}
		out.Scores = append(out.Scores, score)
		if k < fitsAfter && math.Abs(score-alone[m]) > 0.01 {
			return out, fmt.Errorf("%s: %.3f before anything was learned, and as part of no stream %.3f", b.all[m].Path, score, alone[m])
		}
		n, spam := len(o.lessons), b.all[m].Spam
		if r.Settle != nil {
			fate := filter.Taken
			if score >= spamFrom {
				fate = filter.Doubted
			}
			r.Settle(fate)
		} else if j.autolearn == "" && (score >= spamFrom) != spam {
			o.Offer(learner.NewLesson(v.samples[m], spam, learner.FromPeople, time.Now()))
		}
		for _, l := range o.lessons[n:] {
			out.learned(l.Spam, spam)
		}
		c.Release()
	}
	return out, nil
}

// spamassassinStream is SpamAssassin with its own settings of autolearn: what its plugin says, the learner aside, and what the learner
// says against it.
type spamassassinStream struct{}

func (spamassassinStream) name() string { return "spamassassin, `bayes_auto_learn 1`" }
func (spamassassinStream) kind() string { return "spamassassin-autolearn" }
func (spamassassinStream) version(t *testing.T) string {
	return spamassassin{}.version(t) + digestOf(t, "", autolearnScript, "accuracy_stream_test.go")
}

const (
	autolearnScript = "testdata/spamassassin-autolearn.pl"
	saidOther       = 1.0 // points of the learner beyond which nothing is learned as the other
)

func (j spamassassinStream) streams(t *testing.T, b *bench, s detection.Split, all [][]int) (out []streamed) {
	said, sure := spamassassin{}.rules(t, b), j.sure(t, b, s)
	for _, order := range all {
		out = append(out, j.stream(t, b, s, order, said, sure))
	}
	return out
}

func (spamassassinStream) stream(t *testing.T, b *bench, s detection.Split, order []int, said map[string]ruled, sure map[string]string) (out streamed) {
	l := startLearner(t, b)
	if n := l.teach(b, s); min(n["ham"], n["spam"]) < 200 {
		t.Fatalf("SpamAssassin has learned %v", n)
	}
	for _, m := range order {
		answer := numbers(t, l.ask("bayes "+b.file(m))+"\n", 1)[0]
		out.Scores = append(out.Scores, said[b.sums[m]].Score+answer)
		verb := sure[b.sums[m]]
		if verb == "ham" && answer <= saidOther || verb == "spam" && answer >= -saidOther {
			if l.ask(verb+" "+b.file(m)) == "1" {
				out.learned(verb == "spam", b.all[m].Spam)
			}
		}
	}
	return out
}

// sure gives what the plugin says of the messages that are judged.
func (spamassassinStream) sure(t *testing.T, b *bench, s detection.Split) map[string]string {
	t.Helper()
	file := filepath.Join(filepath.Dir(b.dir), "spamassassin-autolearn-"+digestOf(t, spamassassin{}.program(t), autolearnScript)+".json")
	known := map[string]string{}
	readKept(file, &known)
	todo := slices.DeleteFunc(slices.Clone(s.Test), func(m int) bool { return known[b.sums[m]] != "" })
	askAll(t, b, autolearnScript, file, todo, known, func(answer string) (string, error) {
		if !slices.Contains([]string{"ham", "spam", "none"}, answer) {
			return "", errors.New("it says neither ham, spam nor none")
		}
		return answer, nil
	})
	return known
}
