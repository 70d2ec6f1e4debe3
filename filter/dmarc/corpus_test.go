package dmarc

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/peertest"
	"github.com/postern-mail/postern/mail"
)

// TestHonestAuthors: next to all honest messages have an Author Domain. Each one without is named.
func TestHonestAuthors(t *testing.T) {
	folder := peertest.Shared(t, "suites/spam")
	for _, corpus := range []struct {
		name   string
		atMost float64 // of all
	}{{"spamassassin-ham", 0.005}, {"csdmc2010-new-ham", 0.005}} {
		all, unclear := 0, 0
		for name, raw := range peertest.Packed(t, filepath.Join(folder, corpus.name+".tar.gz")) {
			if strings.HasSuffix(name, ".tsv") {
				continue
			}
			a := mail.ReadAuthors(content(t, string(raw)).Header())
			if all++; a.Domain() == "" {
				unclear++
				t.Logf("%s: %s: %s, %q", name, a.Flaw, a.Detail, a.Domains)
			}
		}
		t.Logf("%s: %d of %d have no Author Domain", corpus.name, unclear, all)
		if all < 500 || float64(unclear) > corpus.atMost*float64(all) {
			t.Errorf("%s: %d of %d have no Author Domain", corpus.name, unclear, all)
		}
	}
}
