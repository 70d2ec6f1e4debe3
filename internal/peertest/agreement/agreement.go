// Package agreement compares what our engine finds by SpamAssassin's stock rules with what SpamAssassin finds itself, rule by
// rule. It is no part of the gateway.
package agreement

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/peertest"
	"github.com/postern-mail/postern/internal/peertest/spamassassin"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/rules"
	"github.com/postern-mail/postern/rules/eval"
	"github.com/postern-mail/postern/rules/text"
)

// Stock loads the stock rules as Debian's SpamAssassin does: its own files, and then those of the site.
func Stock(t testing.TB) (*rules.Set, []rules.Problem) {
	t.Helper()
	root := peertest.Root(t)
	sources, err := rules.ReadFiles([]string{
		filepath.Join(root, "usr/share/spamassassin/*.cf"), filepath.Join(root, "etc/spamassassin/*.cf"),
	})
	if err != nil {
		t.Fatal(err)
	}
	s, problems, err := rules.Load(sources, rules.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s, problems
}

// Tally counts the hits of one rule.
type Tally struct {
	Both, OnlyOurs, OnlyTheirs int
	Counts                     int      // of those of both, how many with another count
	Where                      []string // some messages on which they differ: +name for ours, -name for theirs, ≠name for counts
}

// Differs reports whether the two differ anywhere.
func (t *Tally) Differs() bool { return t.OnlyOurs+t.OnlyTheirs+t.Counts > 0 }

// maxWhere is how many messages a tally names.
const maxWhere = 12

// Report is a comparison.
type Report struct {
	Messages  int
	SameHits  int // messages with the very same rules
	SameScore int // messages with a score that is the same, within 0.01
	SameWord  int // messages that both call spam, or neither, at 5
	Rules     map[string]*Tally
	Scores    []Difference // the messages with another score
	Ours      time.Duration
	GaveUp    map[string]int
	scored    map[string]bool
	known     int
}

// Difference is a message with another score.
type Difference struct {
	Name         string
	Ours, Theirs float64
	Rules        []string // those that differ and count: +ours, -theirs
}

// Spam is the score at which SpamAssassin calls a message spam.
const Spam = 5

// Mail makes what the rules of a set are run over, and frees it.
func Mail(s *rules.Set, m spamassassin.Message) (*eval.Mail, func()) {
	c := mail.NewContent(mail.NewBlob(m.CRLF), mail.LineFaults{}, mail.Limits{})
	return &eval.Mail{Text: text.Of(c, s.Settings().Text())}, c.Release
}

// Compare runs a set over messages and compares.
func Compare(t testing.TB, s *rules.Set, messages []spamassassin.Message, verdicts []spamassassin.Verdict) *Report {
	t.Helper()
	r := &Report{Rules: map[string]*Tally{}, GaveUp: map[string]int{}, scored: map[string]bool{}}
	for _, rule := range s.Rules() {
		if s.Active(rule) {
			r.known++
			r.scored[rule.Name] = !rule.Hidden()
		}
	}
	results := make([]rules.Result, len(messages))
	var next sync.Mutex
	var wg sync.WaitGroup
	at := 0
	begin := time.Now()
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for {
				next.Lock()
				i := at
				at++
				next.Unlock()
				if i >= len(messages) {
					return
				}
				m, release := Mail(s, messages[i])
				res, err := s.Run(context.Background(), m)
				if err != nil {
					t.Errorf("%s: %v", messages[i].Name, err)
				}
				for j := range res.Hits {
					res.Hits[j].Text = nil
				}
				results[i] = res
				release()
			}
		})
	}
	wg.Wait()
	r.Ours = time.Since(begin)
	for i := range messages {
		r.add(messages[i].Name, results[i], verdicts[i])
	}
	return r
}

func (r *Report) add(name string, ours rules.Result, theirs spamassassin.Verdict) {
	r.Messages++
	same := true
	d := Difference{Name: name, Ours: ours.Score, Theirs: theirs.Score}
	seen := map[string]bool{}
	for _, h := range ours.Hits {
		rule := h.Rule.Name
		seen[rule] = true
		n, ok := theirs.Hits[rule]
		t := r.tally(rule)
		switch {
		case !ok:
			t.OnlyOurs++
			t.at("+", name)
			same = false
			d.add("+", rule)
		case max(int(n), 1) != h.Count:
			t.Both++
			t.Counts++
			t.at(fmt.Sprintf("≠(%d,%v)", h.Count, n), name)
		default:
			t.Both++
		}
	}
	for rule := range theirs.Hits {
		if !seen[rule] {
			t := r.tally(rule)
			t.OnlyTheirs++
			t.at("-", name)
			same = false
			d.add("-", rule)
		}
	}
	for _, g := range ours.GaveUp {
		r.GaveUp[g.Name]++
	}
	if same {
		r.SameHits++
	}
	if math.Abs(d.Ours-d.Theirs) <= 0.01 {
		r.SameScore++
	} else {
		slices.Sort(d.Rules)
		r.Scores = append(r.Scores, d)
	}
	if (d.Ours >= Spam) == (d.Theirs >= Spam) {
		r.SameWord++
	}
}

func (r *Report) tally(rule string) *Tally {
	t := r.Rules[rule]
	if t == nil {
		t = &Tally{}
		r.Rules[rule] = t
	}
	return t
}

func (t *Tally) at(sign, name string) {
	if len(t.Where) < maxWhere {
		t.Where = append(t.Where, sign+name)
	}
}

func (d *Difference) add(sign, rule string) {
	if !strings.HasPrefix(rule, "__") {
		d.Rules = append(d.Rules, sign+rule)
	}
}

// Sums is what a report comes to.
type Sums struct {
	Both, OnlyOurs, OnlyTheirs, Counts int
}

// Agreement is the part of all hits, of either side, that both have with the same count.
func (s Sums) Agreement() float64 {
	return float64(s.Both-s.Counts) / float64(max(s.Both+s.OnlyOurs+s.OnlyTheirs, 1))
}

// Sum adds up all rules, or with scored those that count by themselves.
func (r *Report) Sum(scored bool) (s Sums) {
	for name, t := range r.Rules {
		if scored && strings.HasPrefix(name, "__") {
			continue
		}
		s.Both += t.Both
		s.OnlyOurs += t.OnlyOurs
		s.OnlyTheirs += t.OnlyTheirs
		s.Counts += t.Counts
	}
	return s
}

// Names lists the rules that hit, those with the most differences first.
func (r *Report) Names() []string {
	names := slices.Collect(maps.Keys(r.Rules))
	off := func(n string) int { t := r.Rules[n]; return t.OnlyOurs + t.OnlyTheirs + t.Counts }
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(off(b)-off(a), strings.Compare(a, b)) })
	return names
}

// Summary gives the sums for people.
func (r *Report) Summary() string {
	var b bytes.Buffer
	all, scored := r.Sum(false), r.Sum(true)
	part := func(n int) float64 { return 100 * float64(n) / float64(max(r.Messages, 1)) }
	fmt.Fprintf(&b, "| what | agrees | of |\n|---|---:|---:|\n")
	fmt.Fprintf(&b, "| hits of all rules, with their counts | %.3f %% | %d |\n", 100*all.Agreement(), all.Both+all.OnlyOurs+all.OnlyTheirs)
	fmt.Fprintf(&b, "| hits of rules that have a score | %.3f %% | %d |\n", 100*scored.Agreement(), scored.Both+scored.OnlyOurs+scored.OnlyTheirs)
	fmt.Fprintf(&b, "| messages with the same hits throughout | %.2f %% | %d |\n", part(r.SameHits), r.Messages)
	fmt.Fprintf(&b, "| messages with the same score (±0.01) | %.2f %% | %d |\n", part(r.SameScore), r.Messages)
	fmt.Fprintf(&b, "| messages with the same verdict at 5 | %.3f %% | %d |\n", part(r.SameWord), r.Messages)
	return b.String()
}

// Table gives a row for each rule that hit.
func (r *Report) Table() string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "| rule | SpamAssassin | Postern | both | only Postern | only SpamAssassin | other count |\n|---|---:|---:|---:|---:|---:|---:|\n")
	for _, name := range r.Names() {
		t := r.Rules[name]
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %s | %s | %s |\n", name, t.Both+t.OnlyTheirs, t.Both+t.OnlyOurs, t.Both,
			zero(t.OnlyOurs), zero(t.OnlyTheirs), zero(t.Counts))
	}
	return b.String()
}

// zero shows nothing for 0.
func zero(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

// Details tells where the rules differ, for those who mend them.
func (r *Report) Details() string {
	var b bytes.Buffer
	for _, name := range r.Names() {
		if t := r.Rules[name]; t.Differs() {
			fmt.Fprintf(&b, "%s both %d ours %d theirs %d counts %d: %s\n", name, t.Both, t.OnlyOurs, t.OnlyTheirs, t.Counts, strings.Join(t.Where, " "))
		}
	}
	for _, d := range r.Scores {
		fmt.Fprintf(&b, "score %s: %.3f, theirs %.3f: %s\n", d.Name, d.Ours, d.Theirs, strings.Join(d.Rules, " "))
	}
	for _, n := range slices.Sorted(maps.Keys(r.GaveUp)) {
		fmt.Fprintf(&b, "gave up: %s %d times\n", n, r.GaveUp[n])
	}
	return b.String()
}
