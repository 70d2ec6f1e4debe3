package rules

import (
	"math"

	"github.com/postern-mail/postern/filter/auth"
)

// What rules say of a message where a learner is taught by them is something else than its score, as in SpamAssassin
// (Mail::SpamAssassin::PerMsgStatus, Mail::SpamAssassin::Plugin::AutoLearnThreshold): rules that go by what the site has written
// down of senders would teach that list over again, to a learner that then believes whoever forges one of them. And a score that
// is made of one side of the message alone may be one mistake.

// sides say how much of a rule is about the header, and how much about the body. The sum is 1, or 0 where that can't be told.
type sides struct{ header, body float64 }

// sidesOf gives those of a rule that is no meta.
func sidesOf(r *Rule) sides {
	switch r.keyword {
	case Header:
		if r.Class != Network {
			return sides{header: 1}
		}
	case Body, URI, RawBody, MIMEHeader:
		return sides{body: 1}
	}
	return sides{}
}

// sidesOfMeta gives those of a meta: the mean of the rules that it names, of which those that have none do not count.
func sidesOfMeta(names []*Rule) (of sides) {
	for _, n := range names {
		of.header += n.sides.header
		of.body += n.sides.body
	}
	if sum := of.header + of.body; sum > 0 {
		of.header /= sum
		of.body /= sum
	}
	return of
}

// sums are those of a tally.
type sums [5]float64

const (
	sumScore = iota
	sumPoints
	sumHeader
	sumBody
	sumLearned
)

// Teaching gives what was found in a message says where a learner is taught by it. Rules count by the scores without a learner, so that
// it does not teach itself. One that did not come to an end, and each meta that hangs on it, may have come out either way.
func (s *Set) Teaching(found *Result) (t auth.Teaching) {
	var open []int
	for _, all := range [...][]*Rule{found.GaveUp, found.Unanswered} {
		for _, r := range all {
			open = append(open, r.id)
		}
	}
	var least, most sums
	doubted := map[*Rule]bool{}
	s.hanging(open, func(r *Rule) {
		doubted[r] = true
		if !r.active {
			return
		}
		times := 1
		if p := r.pattern(); p != nil {
			times = r.times(float64(p.most))
		}
		c, _ := s.teaches(r, times)
		for i, x := range c {
			least[i] += min(x, 0)
			most[i] += max(x, 0)
		}
	})
	for i := range found.Hits {
		h := &found.Hits[i]
		if doubted[h.Rule] {
			continue
		}
		c, force := s.teaches(h.Rule, h.Times)
		for i, x := range c {
			least[i] += x
			most[i] += x
		}
		t.Force = t.Force || force
	}
	t.Least, t.Most = least.tally(), most.tally()
	return t
}

// teaches gives what a rule adds that hits and counts so often, and whether it is safe enough to teach spam by itself.
func (s *Set) teaches(r *Rule, times int) (c sums, force bool) {
	if r.Hidden() {
		return c, false
	}
	score := s.Score(r) * float64(times)
	c[sumScore] = score
	switch {
	case r.Flag("noautolearn"), r.Flag("userconf"):
		return c, false
	case r.Flag("learn"):
		c[sumLearned] = score
		return c, false
	}
	of := r.sides
	switch {
	case r.Flag("autolearn_header"):
		of = sides{header: 1}
	case r.Flag("autolearn_body"):
		of = sides{body: 1}
	}
	points := r.Scores[s.scoreSet&^learnerScores] * float64(times)
	c[sumPoints], c[sumHeader], c[sumBody] = points, points*of.header, points*of.body
	return c, r.Flag("autolearn_force")
}

// tally rounds: decimals that add up to a threshold reach it.
func (c sums) tally() auth.Tally {
	for i, x := range c {
		c[i] = math.Round(x*1000) / 1000
	}
	return auth.Tally{Score: c[sumScore], Points: c[sumPoints], Header: c[sumHeader], Body: c[sumBody], Learned: c[sumLearned]}
}
