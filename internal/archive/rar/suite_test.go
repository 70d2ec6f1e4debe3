package rar

import (
	"context"
	"path/filepath"
	"strings"
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
		if err != nil || !ok {
			t.Fatalf("%s: no archive: %v", path, err)
		}
		data = data[off:]
	}
	return telltest.Walk(t, Walk, data)
}

// Every archive of the suites is read whole and without a sign, but those that are named: encrypted ones, and damaged
// ones that no other program opens without complaint either.
func TestSuites(t *testing.T) {
	dir := peertest.Shared(t, "suites", "attachments")
	signs := map[string]archive.Kind{
		"rar4_solid_encrypted":                  archive.Encrypted,
		"rar5_encrypted":                        archive.Encrypted,
		"rar5_encrypted_filenames":              archive.Encrypted,
		"rar5_solid_encrypted":                  archive.Encrypted,
		"rar5_solid_encrypted_filenames":        archive.Encrypted,
		"rar_encryption_header":                 archive.Encrypted,
		"rar_encryption_partially":              archive.Encrypted,
		"rar5_arm_filter_on_window_boundary":    archive.Unreadable,
		"rar5_bytes_remaining_underflow":        archive.Unreadable,
		"rar5_data_ready_pointer_leak":          archive.Unreadable,
		"rar5_decode_number_out_of_bounds_read": archive.Unreadable,
		"rar5_different_solid_window_size":      archive.Unreadable,
		"rar5_different_window_size":            archive.Unreadable,
		"rar5_invalid_dict_reference":           archive.Unreadable,
		"rar5_invalid_hash_valid_htime_exfld":   archive.Unreadable,
		"rar5_nonempty_dir_stream":              archive.Unreadable,
		"rar5_owner_name_toolong":               archive.Unreadable,
		"rar5_unsupported_exfld":                archive.Unreadable,
		"rar5_window_buf_and_size_desync":       archive.Unreadable,
		"rar_endarc_huge":                       archive.Unreadable,
		"rar_newsub_huge":                       archive.Unreadable,
		"rar_overflow":                          archive.Unreadable,
		"rar_ppmd_use_after_free2":              archive.Unreadable,
		"rar_seek_data_cursor0":                 archive.Unreadable,
	}
	var files []string
	for _, pattern := range []string{"libarchive/*_rar*", "tika-docs/*.rar", "corkami-minimal-types/*.rar"} {
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
		name := strings.TrimPrefix(filepath.Base(path), "test_read_format_")
		name, _, _ = strings.Cut(name, ".")
		kind, signed := signs[name]
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
	if len(files) < 45 || whole < 21 {
		t.Errorf("only %d of %d archives are whole", whole, len(files))
	}
}
