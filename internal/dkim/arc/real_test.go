package arc

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/peertest"
	"github.com/postern-mail/postern/mail"
)

// The sets of large providers are of sound structure, and their results are read.
func TestRealSets(t *testing.T) {
	sealed, pass := 0, 0
	for _, folder := range []string{"suites/spam/sublime-emls", "suites/mime/kumomta/crates/dkim/test"} {
		files, err := filepath.Glob(filepath.Join(peertest.Shared(t, folder), "*.eml"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range files {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			message := strings.ReplaceAll(strings.ReplaceAll(string(text), "\r\n", "\n"), "\n", "\r\n")
			c := mail.NewContent(mail.NewBlob([]byte(message)), mail.LineFaults{}, mail.Limits{})
			found := collect(c.Header().Fields())
			c.Release()
			name := filepath.Base(path)
			if found.problem != "" {
				t.Errorf("%s: %s", name, found.problem)
				continue
			}
			for i := range found.all {
				sealed++
				s := &found.all[i]
				r, ok := ParseAuthResults(body(&s.AuthResults))
				if !ok {
					t.Errorf("%s, instance %d: results %q are not read", name, i+1, body(&s.AuthResults))
				}
				if s.SealDomain() == "" || s.SignatureDomain() == "" || !s.Covers("from") {
					t.Errorf("%s, instance %d: %q, %q, covers From: %v", name, i+1, s.SealDomain(), s.SignatureDomain(), s.Covers("from"))
				}
				for _, x := range r.Results {
					if x.Method == "dmarc" && x.Value == "pass" {
						pass++
						if d, one := x.Property("header.from"); !one {
							t.Errorf("%s, instance %d: dmarc=pass of %q", name, i+1, d)
						}
					}
				}
			}
		}
	}
	t.Logf("%d sets, %d of which say dmarc=pass", sealed, pass)
	if sealed < 8 || pass == 0 {
		t.Errorf("only %d sets, %d with dmarc=pass", sealed, pass)
	}
}
