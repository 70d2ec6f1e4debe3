package zip

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/tell/telltest"
	"github.com/postern-mail/postern/internal/peertest"
)

// expected is what odd files of the suites hold: how many entries, and of what kind is a sign. All others are ordinary
// and give no sign.
var expected = map[string]struct {
	entries int // 0 for any
	kind    archive.Kind
}{
	"PPMd.zip":                              {1, unreadable},
	"ppmd.zip":                              {1, unreadable},
	"aes.zip":                               {1, encrypted},
	"zipcrypto.zip":                         {1, encrypted},
	"implode.zip":                           {0, unreadable},
	"implodeV3.zip":                         {4, unreadable},
	"jpeg.zip":                              {1, unreadable},
	"wavpack.zip":                           {1, unreadable},
	"reduce.zip":                            {1, unreadable},
	"reduced1.zip":                          {1, unreadable},
	"reduced2.zip":                          {1, unreadable},
	"reduced3.zip":                          {1, unreadable},
	"reduced4.zip":                          {1, unreadable},
	"shrunk.zip":                            {1, unreadable},
	"corkami.zip":                           {1, unreadable}, // names differ
	"comment-truncated.zip":                 {2, unreadable}, // an archive in the comment
	"test-badbase.zip":                      {2, unreadable}, // two readings of where the directory is
	"deflate64_issue_25.zip":                {1, unreadable},
	"raw_deflate64_index_out_of_bounds.zip": {0, unreadable},
	"zip64_magic_in_filename_1.zip":         {1, unreadable},
	"zip64_magic_in_filename_2.zip":         {1, unreadable},
	"zip64_magic_in_filename_5.zip":         {6, unreadable},
	"42.zip":                                {16, encrypted},
	"overlap-full-1000x100MiB.zip":          {0, bomb},
	"test-documents-spanned.zip":            {9, unreadable},
	"dde-test-from-office2013-utf_16le-korean.doc.zip":       {1, encrypted},
	"testZipEncrypted.zip":                                   {2, encrypted},
	"testZip_with_DataDescriptor.zip":                        {0, unreadable}, // its directory has wrong offsets
	"test_read_format_zip_encryption_partially.zip":          {2, encrypted},
	"test_read_format_zip_ppmd8_aes256_streaming.zipx":       {1, encrypted},
	"test_read_format_zip_ppmd8_crash_1.zipx":                {0, unreadable},
	"test_read_format_zip_ppmd8_crash_2.zipx":                {0, unreadable},
	"test_read_format_zip_zipx_lzma_oom.zipx":                {0, unreadable},
	"test_read_format_zip_size_exceeds_declared_deflate.zip": {2, unreadable},
	"test_read_format_zip_size_exceeds_declared_stored.zip":  {2, unreadable},
	"test_read_format_zip_traditional_encryption_data.zip":   {2, encrypted},
	"test_read_format_zip_winzip_aes128.zip":                 {1, encrypted},
	"test_read_format_zip_winzip_aes256.zip":                 {1, encrypted},
	"test_read_format_zip_winzip_aes256_large_bzip2.zip":     {4, encrypted},
	"test_read_format_zip_winzip_aes256_large_lzma.zip":      {4, encrypted},
	"test_read_format_zip_winzip_aes256_large_ppmd.zip":      {4, encrypted},
	"test_read_format_zip_winzip_aes256_large_xz.zip":        {4, encrypted},
}

// Every zip of the suites is read as expected: ordinary ones without a sign and with all of their content.
func TestSuites(t *testing.T) {
	root := peertest.Shared(t, "suites", "attachments")
	files, entries, plain := 0, 0, 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b := telltest.ReadFile(t, path)
		name := strings.TrimSuffix(filepath.Base(path), ".uu")
		if ext := filepath.Ext(name); ext != ".zip" && ext != ".zipx" && ext != ".jar" {
			return nil
		}
		s := walk(t, b, archive.Limits{})
		files++
		entries += len(s.Names())
		want, odd := expected[name]
		if !odd {
			plain++
			if len(s.Signs) > 0 {
				t.Errorf("%s: %v", name, s.Signs)
			}
			return nil
		}
		if !slices.ContainsFunc(s.Signs, func(x archive.Sign) bool { return x.Kind == want.kind }) {
			t.Errorf("%s: no sign of the kind %s among %v", name, want.kind, s.Signs)
		}
		if want.entries > 0 && len(s.Names()) != want.entries {
			t.Errorf("%s: %d entries, want %d", name, len(s.Names()), want.entries)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 100 {
		t.Errorf("only %d files", files)
	}
	t.Logf("%d files, %d entries, %d files without a sign", files, entries, plain)
}

// Find says yes to every zip of the suites, and no to minimal files of other types.
func TestSuiteFind(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join(peertest.Shared(t, "suites", "attachments", "corkami-minimal-types"), "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Find(context.Background(), archive.NewFile(b))
		if err != nil || got != (filepath.Base(path) == "zip.zip") {
			t.Errorf("%s: %v %v", filepath.Base(path), got, err)
		}
	}
}
