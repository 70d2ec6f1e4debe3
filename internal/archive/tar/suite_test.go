package tar

import (
	stdtar "archive/tar"
	"bytes"
	"compress/bzip2"
	"encoding/base64"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/tell/telltest"
	"github.com/postern-mail/postern/internal/peertest"
)

// odd gives the signs of files of the suites that are no ordinary archives.
var odd = map[string]archive.Kind{
	"gnu-incremental.tar":                archive.Bomb, // a hole of 512 MiB
	"gnu-sparse-big.tar":                 archive.Bomb,
	"pax-sparse-big.tar":                 archive.Bomb,
	"gnu-sparse-many-zeros.tar":          archive.Unreadable, // a map of a million regions
	"hdr-only.tar":                       archive.Unreadable, // folders and links with content
	"issue10968.tar":                     archive.Unreadable,
	"issue11169.tar":                     archive.Unreadable,
	"issue12435.tar":                     archive.Unreadable,
	"neg-size.tar":                       archive.Unreadable,
	"pax-bad-hdr-file.tar":               archive.Unreadable,
	"pax-bad-hdr-large.tar":              archive.Unreadable,
	"pax-nul-path.tar":                   archive.Unreadable,
	"pax-path-hdr.tar":                   archive.Unreadable,
	"pax-pos-size-file.tar":              archive.Unreadable, // two sizes
	"test_compat_tar_directory_1.tar.uu": archive.Unreadable, // a folder with content
	"writer-big.tar":                     archive.Unreadable, // headers without content
	"writer-big-long.tar":                archive.Unreadable,
}

// Ordinary archives of the suites give no sign, and at least the files that the standard library finds in them.
func TestSuites(t *testing.T) {
	root := peertest.Shared(t, "suites", "attachments")
	paths, err := filepath.Glob(filepath.Join(root, "go-zip-tar", "tar", "testdata", "*.tar*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, more := range []string{"libarchive/*tar*.tar.uu", "tika-docs/*.tar", "corkami-minimal-types/tar.tar"} {
		found, err := filepath.Glob(filepath.Join(root, more))
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, found...)
	}
	files, entries := 0, 0
	for _, path := range paths {
		name, b := tarOf(t, path)
		s := walk(t, b, archive.Limits{})
		files++
		entries += len(s.Names())
		if kind, ok := odd[name]; ok {
			if !s.Has(kind, "") {
				t.Errorf("%s: %v", name, s.Signs)
			}
			continue
		}
		if len(s.Signs) > 0 {
			t.Errorf("%s: %v", name, s.Signs)
		}
		compare(t, name, b, s)
	}
	if files < 40 {
		t.Errorf("only %d files", files)
	}
	t.Logf("%d files, %d entries, %d files with signs", files, entries, len(odd))
}

// tarOf gives the tar of a file that may be wrapped.
func tarOf(t *testing.T, path string) (string, []byte) {
	b := telltest.ReadFile(t, path)
	var err error
	name := filepath.Base(path)
	switch ext := filepath.Ext(name); ext {
	case ".base64":
		b, err = base64.StdEncoding.DecodeString(strings.ReplaceAll(string(b), "\n", ""))
		name = strings.TrimSuffix(name, ext)
	case ".bz2":
		b, err = io.ReadAll(bzip2.NewReader(bytes.NewReader(b)))
		name = strings.TrimSuffix(name, ext)
	}
	if err != nil {
		t.Fatal(err)
	}
	return name, b
}

// compare looks for what the standard library reads, as far as it gets.
func compare(t *testing.T, name string, b []byte, s *telltest.Found) {
	r := stdtar.NewReader(bytes.NewReader(b))
	for {
		h, err := r.Next()
		if err != nil {
			return
		}
		if h.Typeflag == stdtar.TypeXGlobalHeader {
			continue
		}
		content, err := io.ReadAll(r)
		if err != nil {
			return
		}
		at := slices.IndexFunc(s.Names(), func(all []string) bool { return slices.Contains(all, h.Name) })
		if at < 0 && strings.ToValidUTF8(h.Name, "") == h.Name {
			t.Errorf("%s: %s is missing", name, h.Name)
		}
		if at >= 0 && len(content) > 0 && s.Contents()[at] != string(content) {
			t.Errorf("%s: %s has other content", name, h.Name)
		}
	}
}

// The cpio and ar archives of the suites give no sign.
func TestSuiteOthers(t *testing.T) {
	for path, entries := range map[string]int{
		"tika-docs/test-documents.cpio":         9,
		"corkami-minimal-types/ascii.cpio":      1,
		"corkami-minimal-types/binary.cpio":     1,
		"corkami-minimal-types/archive.ar":      1,
		"libarchive/test_compat_cpio_1.cpio.uu": 4,
		"libarchive/test_compat_gtar_1.tar.uu":  2,
		"libarchive/test_compat_gtar_2.tar.uu":  1,
	} {
		b := telltest.ReadFile(t, filepath.Join(peertest.Shared(t, "suites", "attachments"), path))
		if s := walk(t, b, archive.Limits{}); len(s.Signs) > 0 || len(s.Names()) != entries {
			t.Errorf("%s: %v, %d entries", path, s.Signs, len(s.Names()))
		}
	}
}
