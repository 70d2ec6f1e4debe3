//go:build !race

package mail

import (
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/peertest"
)

// Every message of the corpora has a tree, within limits and quickly, whatever is odd about it; edits of
// its parts are carried out, and nothing else changes.
func TestIndexCorpus(t *testing.T) {
	messages, parts := 0, 0
	kinds := map[DefectKind]int{}
	for _, suite := range []string{"mime", "mime-ambiguity"} {
		err := filepath.WalkDir(peertest.Shared(t, "suites", suite), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			in, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			messages++
			msg := canonicalOf(in)
			if err := checkIndex(msg, Limits{}); err != nil {
				t.Errorf("%s: %v", path, err)
			}
			random := rand.New(rand.NewPCG(1, uint64(len(msg))))
			for range 5 {
				if err := checkRewrite(t, msg, random.IntN); err != nil {
					t.Errorf("%s: %v", path, err)
				}
			}
			began := time.Now()
			c := contentOf(t, string(msg), Limits{})
			c.Root().Walk(func(p *Part) bool {
				parts++
				for _, d := range p.Defects {
					kinds[d.Kind]++
				}
				readPart(t, p)
				return true
			})
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("%s: took %s", path, took)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if messages < 100 {
		t.Errorf("only %d messages", messages)
	}
	t.Logf("%d messages, %d parts, defects %v", messages, parts, kinds)
}
