package rules_test

import (
	"bytes"
	"crypto/sha256"
	"slices"
	"testing"

	"github.com/postern-mail/postern/internal/peertest/agreement"
	"github.com/postern-mail/postern/internal/peertest/spamassassin"
)

// sample is how many messages of the suites TestAgreement has both sides look at.
const sample = 60

// TestAgreement compares with SpamAssassin on some messages of the suites; package accept does so on all.
func TestAgreement(t *testing.T) {
	messages := spamassassin.Corpus(t)
	sums := make(map[string][32]byte, len(messages))
	for _, m := range messages {
		sums[m.Name] = sha256.Sum256(m.LF)
	}
	// Those with the smallest digests: some of every corpus, and the same each time.
	slices.SortFunc(messages, func(a, b spamassassin.Message) int {
		x, y := sums[a.Name], sums[b.Name]
		return bytes.Compare(x[:], y[:])
	})
	messages = messages[:min(sample, len(messages))]
	set, _ := agreement.Stock(t)
	r := agreement.Compare(t, set, messages, spamassassin.Verdicts(t, messages))
	t.Logf("%d messages\n%s", r.Messages, r.Summary())
	if got := 100 * r.Sum(false).Agreement(); got < 99.5 {
		t.Errorf("%.3f %% of the hits agree", got)
	}
	if got := 100 * float64(r.SameScore) / float64(r.Messages); got < 98 {
		t.Errorf("%.2f %% of the scores agree", got)
	}
	if r.SameWord < r.Messages-1 {
		t.Errorf("%d verdicts differ", r.Messages-r.SameWord)
	}
	if t.Failed() {
		t.Log(r.Details())
	}
}
