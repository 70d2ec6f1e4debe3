package auth

import "github.com/postern-mail/postern/filter"

// The keys of what rules found in a message.
const (
	RuleHits filter.Key[[]RuleHit] = "rule_hits"
	// RulesGaveUp is how many rules reached the limit of steps, of which is therefore not known whether they hit.
	RulesGaveUp filter.Key[int] = "rules_gave_up"
	// RulesTeach is what rules say of a message where a learner is taught by them.
	RulesTeach filter.Key[Teaching] = "rules_teach"
)

// RuleHit is a rule that hit.
type RuleHit struct {
	Name  string  // as in its file
	Score float64 // what all its hits count without a policy's own weights; 0 for a rule that only serves others
	Count int     // how often, at least 1
}

// Teaching is what rules say of a message where a learner is taught by them. Of some rules is not known whether they hit: a list in the DNS
// did not answer, or they gave up. So there are two sums, between which the true one lies: what is to be learned has to hold by both.
type Teaching struct {
	Stage       string // whose rules they are
	Least, Most Tally
	Force       bool // one has hit that is safe enough to teach spam whatever it is about
	Partial     bool // they have not seen all of the message: neither sum means anything
}

// Tally is a sum of rules, in points. Those that go by lists of the site, or are not to teach (tflags userconf, noautolearn, learn), count
// in Score and Learned alone.
type Tally struct {
	Points       float64 // by the scores without a learner
	Header, Body float64 // so much of Points is by rules about the header, or the body; of some is not known
	Learned      float64 // by rules that were taught themselves
	Score        float64 // by all rules, as they count
}
