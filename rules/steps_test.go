package rules

import (
	"strings"
	"testing"
)

// TestOneLimitForARule: what a rule spends is bounded for a message, not for each paragraph or link.
func TestOneLimitForARule(t *testing.T) {
	// A paragraph takes some thousands of steps, below the limit.
	paragraph := strings.Repeat("ab", 6) + ";\n\n"
	const pattern = `/(?:(\w+)\1?)+(?!;);/`
	for _, c := range []struct{ name, rules string }{
		{"counted", "body R " + pattern + "\ntflags R multiple"},
		{"beside others", "body R " + pattern + "\nbody A /q[0-9]\\W/\nbody B /[xyz]{3}\\d/\nbody C /y[^a]z/"},
		{"captured", "body R /(?<ABC>x)|(?:(\\w+)\\2?)+(?!;);/\nbody S /%{ABC}/"},
		{"with what was captured", "header __S Subject =~ /(?<ABC>.+)/\nbody R /(?:(\\w+)\\1?)+(?!;);|%{ABC}%{ABC}/"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := mustLoad(t, c.rules)
			few := runOn(t, s, "Subject: z\n\n"+paragraph)
			if len(few.GaveUp) > 0 {
				t.Fatal("one paragraph is too much")
			}
			many := runOn(t, s, "Subject: z\n\n"+strings.Repeat(paragraph, 400))
			if len(many.GaveUp) != 1 || many.GaveUp[0].Name != "R" {
				t.Errorf("gave up: %v", ruleList(many.GaveUp))
			}
		})
	}
}
