package auth

import "github.com/postern-mail/postern/filter"

// RuleHits is the key of the rules that hit a message, in the order of the rule set.
const RuleHits filter.Key[[]RuleHit] = "rule_hits"

// RuleHit is one rule that hit.
type RuleHit struct {
	Name  string  // UPPER_SNAKE
	Score float64 // what the set of rules gives it
	Count int     // how often it hit, at least 1
}
