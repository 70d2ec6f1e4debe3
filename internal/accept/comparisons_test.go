//go:build accept

package accept

import (
	"os"
	"os/exec"
	"testing"
)

// TestComparisons has the rooms of rules compare over everything what plain tests compare over samples: with Perl, and with
// SpamAssassin.
func TestComparisons(t *testing.T) {
	cmd := exec.Command("go", "test", "-count", "1", "-timeout", "30m", "-run", "AsSpamAssassin|Oracle|Perl|Stock", "../../rules/text", "../../rules/pattern")
	cmd.Env = append(os.Environ(), "POSTERN_SAMPLES=all")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out[max(0, len(out)-10000):])
	}
}
