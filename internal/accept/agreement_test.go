//go:build accept

package accept

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/postern-mail/postern/internal/peertest"
	"github.com/postern-mail/postern/internal/peertest/agreement"
	sa "github.com/postern-mail/postern/internal/peertest/spamassassin"
)

var updateAgreement = flag.Bool("update-agreement", false, "write what was measured into docs/spamassassin-agreement.md")

// TestAgreementWithSpamAssassin has SpamAssassin and our engine, with the same stock rules, look at all messages of the suites.
func TestAgreementWithSpamAssassin(t *testing.T) {
	messages := sa.Corpus(t)
	verdicts := sa.Verdicts(t, messages)
	set, _ := agreement.Stock(t)
	r := agreement.Compare(t, set, messages, verdicts)
	details := filepath.Join(peertest.Module(t), ".cache", "spamassassin", "differences.txt")
	if err := os.WriteFile(details, []byte(r.Details()), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d messages, ours took %v; differences are in %s\n%s", r.Messages, r.Ours, details, r.Summary())
	if got := 100 * r.Sum(false).Agreement(); got < 99.5 {
		t.Errorf("%.3f %% of the hits agree", got)
	}
	if got := 100 * float64(r.SameScore) / float64(r.Messages); got < 98 {
		t.Errorf("%.2f %% of the scores agree", got)
	}
	if got := 100 * float64(r.SameWord) / float64(r.Messages); got < 99.9 {
		t.Errorf("%.3f %% of the verdicts agree", got)
	}
	if *updateAgreement {
		page := filepath.Join(peertest.Module(t), "docs", "spamassassin-agreement.md")
		text := fmt.Sprintf(agreementPage, r.Messages, r.Summary(), r.Table())
		if err := os.WriteFile(page, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

const agreementPage = `# Agreement with SpamAssassin

Debian's SpamAssassin 4.0.1 and Postern's engine looked at the same %d messages with the same stock rules: no network, no Bayes, nobody's
preferences. How it is measured, and what departs knowingly, stands in [ADR 38](adr/0038-agreement-is-measured.md). This page is
written by

    POSTERN_PEERS=required POSTERN_SHARED=required go test -tags accept -run TestAgreementWithSpamAssassin ./internal/accept -update-agreement

%s
## Rules

Rules that no message hits on either side are left out; TestPatternsAgreeWithSpamAssassin tries them with texts made from their patterns,
TestMadeMessagesAgreeWithSpamAssassin with messages around such texts. Names that begin with two underscores serve other rules and have no
score.

%s`

// TestPatternsAgreeWithSpamAssassin tries all patterns, those of rules that no message of the suites hits too, with texts made
// from them: how often each side's compiled pattern matches.
func TestPatternsAgreeWithSpamAssassin(t *testing.T) {
	set, _ := agreement.Stock(t)
	judge := sa.Start(t)
	known, err := judge.Rules()
	if err != nil {
		t.Fatal(err)
	}
	var asked []sa.Match
	var ours []int
	patterns := 0
	for _, r := range set.Rules() {
		if len(known[r.Name].Pattern) == 0 {
			continue
		}
		texts := agreement.Texts(set, r)
		if len(texts) > 0 {
			patterns++
		}
		for _, text := range texts {
			n, err := set.Pattern(r).Count(text, 1000)
			if err != nil {
				t.Errorf("%s: %v", r.Name, err)
				continue
			}
			asked, ours = append(asked, sa.Match{Rule: r.Name, Text: text}), append(ours, n)
		}
	}
	theirs, err := judge.Matches(asked)
	if err != nil {
		t.Fatal(err)
	}
	hits, differ := 0, 0
	for i, a := range asked {
		if ours[i] > 0 {
			hits++
		}
		if theirs[i] != ours[i] {
			if differ++; differ <= 20 {
				t.Errorf("%s matches %.200q %d times, for SpamAssassin %d times", a.Rule, a.Text, ours[i], theirs[i])
			}
		}
	}
	t.Logf("%d texts for %d patterns, %d of them match, %d are judged in another way", len(asked), patterns, hits, differ)
}

// TestMadeMessagesAgreeWithSpamAssassin has both sides look at messages that are made around texts which match.
func TestMadeMessagesAgreeWithSpamAssassin(t *testing.T) {
	set, _ := agreement.Stock(t)
	var messages []sa.Message
	for _, r := range set.Rules() {
		if m, ok := agreement.Made(set, r); ok && set.Active(r) {
			messages = append(messages, m)
		}
	}
	r := agreement.Compare(t, set, messages, sa.Verdicts(t, messages))
	t.Logf("%d messages\n%s", r.Messages, r.Summary())
	if got := 100 * r.Sum(false).Agreement(); got < 99.5 {
		t.Errorf("%.3f %% of the hits agree\n%s", got, r.Details())
	}
}
