package sevenzip

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/tell/telltest"
	"github.com/postern-mail/postern/internal/peertest"
)

// suite gives what is in a file of the suites.
func suite(t *testing.T, path string) *telltest.Found {
	t.Helper()
	data := telltest.ReadFile(t, path)
	if !Is(data) {
		off, ok, err := Find(context.Background(), archive.NewFile(data))
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if !ok {
			t.Logf("%s: no archive", path)
		}
		data = data[off:]
	}
	return telltest.Walk(t, Walk, data)
}

// Every archive of the suites is read whole and without a sign, but those that are named.
func TestSuites(t *testing.T) {
	dir := peertest.Shared(t, "suites", "attachments")
	signs := map[string]archive.Kind{
		"multi.7z.001": archive.Unreadable,
		"t5.7z":        archive.Encrypted,
		"test_read_format_7zip_encryption_header.7z.uu":    archive.Encrypted,
		"test_read_format_7zip_encryption_partially.7z.uu": archive.Encrypted,
		"test_read_format_7zip_folders_oom.7z.uu":          archive.Bomb,
		"test_read_format_7zip_malformed2.7z.uu":           archive.Unreadable,
		"test_read_format_7zip_malformed3.7z.uu":           archive.Unreadable,
		"test_read_format_7zip_malformed4.7z.uu":           archive.Unreadable,
		"test_read_format_7zip_sfx_boundary_elf.elf.uu":    archive.Unreadable,
		"test_read_format_7zip_lzma2_riscv.7z.uu":          archive.Unreadable,
		"full_encrypted.7z":                                archive.Encrypted,
	}
	var files []string
	for _, pattern := range []string{"sevenzip/*.7z", "sevenzip/*.001", "libarchive/*7zip*", "tika-docs/*.7z", "corkami-minimal-types/*.7z"} {
		more, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, more...)
	}
	whole, entries := 0, 0
	for _, path := range files {
		found := suite(t, path)
		entries += len(found.Entries)
		kind, signed := signs[filepath.Base(path)]
		switch {
		case signed && found.Kinds(kind) == 0:
			t.Errorf("%s: no sign %s:\n%s", path, kind, found)
		case !signed && len(found.Signs) > 0:
			t.Errorf("%s:\n%s", path, found)
		case !signed:
			whole++
		}
	}
	t.Logf("%d archives with %d entries, %d whole", len(files), entries, whole)
	if len(files) < 45 || whole < 35 {
		t.Errorf("only %d of %d archives are whole", whole, len(files))
	}
}

// The program of ClamAV's test files is found.
func TestClamAV(t *testing.T) {
	dir := filepath.Join(peertest.Root(t), "usr/share/clamav-testfiles")
	want, err := os.ReadFile(filepath.Join(dir, "clam.exe"))
	if err != nil {
		t.Fatal(err)
	}
	if found := suite(t, filepath.Join(dir, "clam.7z")); !bytes.Equal(found.Content("clam.exe"), want) || len(found.Signs) > 0 {
		t.Error(found)
	}
}
