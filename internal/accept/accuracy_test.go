//go:build accept

package accept

import (
	"fmt"
	"testing"

	"github.com/postern-mail/postern/internal/detection"
)

// TestAccuracy measures how well spam is told from mail.
func TestAccuracy(t *testing.T) {
	b := detectionBench(t)
	for _, g := range b.splits() {
		for _, j := range []detector{bogofilter{}, spamassassin{}} {
			r := b.run(t, j, g)
			t.Log(g.name, j.name(), r.describe())
		}
	}
}

func (r result) describe() string {
	return fmt.Sprintf("AUC %.5f, at 0.1%% %.3f, at 0.5%% %.3f", detection.AUC(r.scored), detection.Recall(r.scored, 0.001), detection.Recall(r.scored, 0.005))
}
