//go:build accept

package accept

import (
	"math"
	"os"
	"strconv"
	"testing"
)

// TestSpamAssassinSum: the sum by which SpamAssassin is measured, of rules that ran once and of a learner that ran for each task,
// is the score that the program gives, of nearly all messages.
func TestSpamAssassinSum(t *testing.T) {
	if os.Getenv("POSTERN_DETECTION") == "quick" {
		return
	}
	b := detectionBench(t)
	groups := b.splits()
	s := groups[len(groups)-1].splits[0]
	var some []int
	for i := 0; i < len(s.Test); i += 10 {
		some = append(some, s.Test[i])
	}
	s.Test = some
	sums := spamassassin{}.scores(t, b, s)
	p := startPerl(t, "testdata/spamassassin-whole.pl")
	ask := func(command string) string {
		out, err := p.ask(command)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	for _, m := range s.Train {
		verb := "ham "
		if b.all[m].Spam {
			verb = "spam "
		}
		ask(verb + b.file(m))
	}
	ask("synced")
	differ := 0
	for k, m := range s.Test {
		whole, err := strconv.ParseFloat(ask("check "+b.file(m)), 64)
		if err != nil {
			t.Fatal(err)
		}
		if math.Abs(whole-sums[k]) > 0.0015 {
			differ++
			t.Logf("%s: the program says %.3f, the sum is %.3f", b.all[m].Path, whole, sums[k])
		}
	}
	t.Logf("%d of %d differ", differ, len(s.Test))
	// Some have a probability near the bound of a rule, and some differ by a rule that is no learner's: 7 of 305 when it was measured.
	if differ*100 > 3*len(s.Test) {
		t.Errorf("%d of %d differ", differ, len(s.Test))
	}
}
