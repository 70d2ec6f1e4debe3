package dmarc

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"os"
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
		eachMessage(t, filepath.Join(folder, corpus.name+".tar.gz"), func(name, text string) {
			a := mail.ReadAuthors(content(t, text).Header())
			if all++; a.Domain() == "" {
				unclear++
				t.Logf("%s: %s: %s, %q", name, a.Flaw, a.Detail, a.Domains)
			}
		})
		t.Logf("%s: %d of %d have no Author Domain", corpus.name, unclear, all)
		if all < 500 || float64(unclear) > corpus.atMost*float64(all) {
			t.Errorf("%s: %d of %d have no Author Domain", corpus.name, unclear, all)
		}
	}
}

func eachMessage(t *testing.T, path string, visit func(name, text string)) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag != tar.TypeReg || strings.HasSuffix(h.Name, ".tsv") {
			continue
		}
		raw, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		visit(h.Name, string(raw))
	}
}
