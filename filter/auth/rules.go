package auth

import "github.com/postern-mail/postern/filter"

// The keys of what rules found in a message.
const (
	RuleHits filter.Key[[]RuleHit] = "rule_hits"
	// RulesGaveUp is how many rules reached the limit of steps, of which is therefore not known whether they hit.
	RulesGaveUp filter.Key[int] = "rules_gave_up"
)

// RuleHit is a rule that hit.
type RuleHit struct {
	Name  string  // as in its file
	Score float64 // what it counts without a policy's own weights; 0 for a rule that only serves others
	Count int     // how often, at least 1
}
