package app

import (
	"strings"
	"testing"

	"github.com/postern-mail/postern/pipeline"
)

// TestScoresAreCut: scan shows a score as the fields of the message do.
func TestScoresAreCut(t *testing.T) {
	for score, want := range map[float64]string{4.96: "4.9", -0.001: "0.0", 5: "5.0", -1.25: "-1.2"} {
		s := &scan{verdict: pipeline.Verdict{Score: score}, policy: judgePolicy{policy: &pipeline.Policy{}}}
		if got := s.scoreLine(); !strings.HasPrefix(got, want) || len(strings.Fields(got)[0]) != len(want) {
			t.Errorf("%v is shown as %q, want %s", score, got, want)
		}
	}
}
