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

// Teaching gives what hits of this set say where a learner is taught by them. They count by the scores without a learner, so that
// it does not teach itself.
func (s *Set) Teaching(hits []Hit) (t auth.Teaching) {
	for i := range hits {
		h := &hits[i]
		r := h.Rule
		if r.Hidden() {
			continue
		}
		t.Score += h.Score
		switch {
		case r.Flag("noautolearn"), r.Flag("userconf"):
			continue
		case r.Flag("learn"):
			t.Learned += h.Score
			continue
		case r.Flag("autolearn_force"):
			t.Force = true
		}
		score, of := r.Scores[s.scoreSet&^learnerScores], r.sides
		switch {
		case r.Flag("autolearn_header"):
			of = sides{header: 1}
		case r.Flag("autolearn_body"):
			of = sides{body: 1}
		}
		t.Points += score
		t.Header += score * of.header
		t.Body += score * of.body
	}
	for _, f := range []*float64{&t.Score, &t.Points, &t.Header, &t.Body, &t.Learned} {
		*f = math.Round(*f*1000) / 1000 // decimals that add up to a threshold reach it
	}
	return t
}
