package cab

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/tell/telltest"
	"github.com/postern-mail/postern/internal/peertest"
)

// Every cabinet of the suites is read whole and without a sign, but those that are named: parts of a set, and a
// damaged one.
func TestSuites(t *testing.T) {
	dir := peertest.Shared(t, "suites", "attachments")
	var files []string
	for _, pattern := range []string{"libarchive/*_cab*", "tika-docs/*.cab", "corkami-minimal-types/*.cab"} {
		more, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, more...)
	}
	whole, entries := 0, 0
	for _, path := range files {
		data := telltest.ReadFile(t, path)
		found := telltest.Walk(t, Walk, data)
		entries += len(found.Entries)
		signed := strings.Contains(path, "multi") || strings.Contains(path, "malformed")
		switch {
		case signed != (found.Kinds(archive.Unreadable) > 0):
			t.Errorf("%s:\n%s", path, found)
		case !signed:
			whole++
		}
	}
	t.Logf("%d cabinets with %d entries, %d whole", len(files), entries, whole)
	if len(files) < 10 || whole < 7 {
		t.Errorf("only %d of %d cabinets are whole", whole, len(files))
	}
}

// The program of ClamAV's test files is found.
func TestClamAV(t *testing.T) {
	dir := filepath.Join(peertest.Root(t), "usr/share/clamav-testfiles")
	want, err := os.ReadFile(filepath.Join(dir, "clam.exe"))
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "clam.cab"))
	if err != nil {
		t.Fatal(err)
	}
	if found := telltest.Walk(t, Walk, data); !bytes.Equal(found.Content("clam.exe"), want) || len(found.Signs) > 0 {
		t.Error(found)
	}
}
