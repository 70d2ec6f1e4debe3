package stream

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

// Every stream of the suites is unpacked without a sign, but for lzop, which is not read, and a bomb.
func TestSuites(t *testing.T) {
	root := peertest.Shared(t, "suites", "attachments")
	formats, extra := map[string]int{}, 0
	for _, pattern := range []string{
		"libarchive/test_compat_*", "libarchive/*.Z.uu", "tika-docs/*.[tgZ]*", "generated/*/*.gz", "go-zip-tar/tar/testdata/*.bz2",
		"corkami-minimal-types/*",
	} {
		paths, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			b := telltest.ReadFile(t, path)
			format := Detect(b[:min(len(b), headSize)])
			if format == "" {
				continue
			}
			formats[format]++
			s := walk(t, b, archive.Limits{})
			name := filepath.Base(path)
			extra += len(s.Names()) - 1
			switch {
			case name == "zeros-1GiB.gz":
				if !s.Has(archive.Bomb, "") {
					t.Errorf("%s: %v", name, s.Signs)
				}
			case format == Lzop:
				if !s.Has(archive.Unreadable, "") {
					t.Errorf("%s: %v", name, s.Signs)
				}
			case len(s.Signs) > 0:
				t.Errorf("%s: %v", name, s.Signs)
			case strings.Contains(name, "test-documents") && format != Compress: // which holds another version
				want, err := os.ReadFile(filepath.Join(root, "tika-docs", "test-documents.tar"))
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(want, []byte(s.Contents()[0])) {
					t.Errorf("%s: the tar is another one", name)
				}
			}
		}
	}
	for _, f := range []string{Gzip, Bzip2, XZ, LZMA, Lzip, Zstd, LZ4, Compress, Lzop} {
		if formats[f] == 0 {
			t.Errorf("no file is %s", f)
		}
	}
	t.Logf("files %v, %d of them with something after the stream", formats, extra)
}
