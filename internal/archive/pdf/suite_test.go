package pdf

import (
	"bytes"
	"context"
	"encoding/base64"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/tell/telltest"
	"github.com/postern-mail/postern/internal/peertest"
)

// TestSuites walks the PDF files that the suites and the messages of the corpora hold. Of those in the messages one
// runs JavaScript; no other gives a sign.
func TestSuites(t *testing.T) {
	files, active := 0, 0
	walk := func(where string, in []byte) {
		if !Is(in[:min(len(in), 2048)]) {
			t.Errorf("%s is no PDF", where)
		}
		s := &seen{}
		if err := Walk(context.Background(), archive.NewFile(in), archive.NewBudget(archive.Limits{}, int64(len(in))), s); err != nil {
			t.Errorf("%s: %v", where, err)
		}
		files++
		switch {
		case s.kinds() == string(archive.ActivePDF):
			active++
		case len(in) > 100 && len(s.signs) > 0: // the others are stubs
			t.Errorf("%s: %v", where, s.signs)
		}
	}
	shared := peertest.Shared(t, "suites")
	for _, name := range []string{"attachments/corkami-minimal-types/pdf.pdf", "mime/ruby-mail/attachments/test.pdf"} {
		in, err := os.ReadFile(filepath.Join(shared, name))
		if err != nil {
			t.Fatal(err)
		}
		walk(name, in)
	}
	for _, name := range []string{"mime/rspamd-messages", "mime/ruby-mail", "mime/enmime", "mime/php-mime-mail-parser", "mime/mime4j"} {
		err := filepath.Walk(filepath.Join(shared, name), func(path string, info os.FileInfo, err error) error {
			if err != nil || info.IsDir() {
				return err
			}
			in, err := os.ReadFile(path)
			for _, part := range parts(in) {
				walk(path, part)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	telltest.EachInTar(t, filepath.Join(shared, "spam", "phishing_pot-2022-2025H1.tar.gz"), func(name string, in []byte) {
		for _, part := range parts(in) {
			walk(name, part)
		}
	})
	t.Logf("%d files, %d of them active", files, active)
	if files < 20 || active != 1 {
		t.Errorf("%d files, %d of them active", files, active)
	}
}

// encoded are the lines of base64 of a PDF.
var encoded = regexp.MustCompile(`(?m)^JVBERi0(?:[A-Za-z0-9+/=]+\r?\n?)+`)

// parts gives the PDF files that a message holds in base64.
func parts(message []byte) [][]byte {
	var all [][]byte
	for _, m := range encoded.FindAll(message, -1) {
		m = bytes.ReplaceAll(bytes.ReplaceAll(m, []byte("\r"), nil), []byte("\n"), nil)
		out := make([]byte, base64.StdEncoding.DecodedLen(len(m)))
		if n, err := base64.StdEncoding.Decode(out, m); err == nil {
			all = append(all, out[:n])
		}
	}
	return all
}
