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
	Score float64 // what it counts without a policy's own weights; 0 for a rule that only serves others
	Count int     // how often, at least 1
}

// Teaching is what rules say of a message where a learner is taught by them, in points. Those that go by lists of the site, or are not
// to teach (tflags userconf, noautolearn, learn), count in Score and Learned alone.
type Teaching struct {
	Stage        string  // whose rules they are
	Points       float64 // by the scores without a learner
	Header, Body float64 // so much of Points is by rules about the header, or the body; of some is not known
	Learned      float64 // by rules that were taught themselves
	Score        float64 // by all rules, as they count
	Partial      bool    // they have not seen all of the message, or some could not tell, for one that the DNS did not answer
	Force        bool    // one has hit that is safe enough to teach spam whatever it is about
}
