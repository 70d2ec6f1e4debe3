package stream

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/peertest"
)

// uudecode gives what a file of uuencode holds.
func uudecode(b []byte) (out []byte) {
	for line := range strings.SplitSeq(string(b), "\n") {
		line = strings.TrimRight(line, "\r")
		if line == "" || strings.HasPrefix(line, "begin ") || line == "end" {
			continue
		}
		n := int(line[0]-' ') & 63
		var row []byte
		for line = line[1:]; len(line) >= 4; line = line[4:] {
			var v [4]byte
			for i := range v {
				v[i] = (line[i] - ' ') & 63
			}
			row = append(row, v[0]<<2|v[1]>>4, v[1]<<4|v[2]>>2, v[2]<<6|v[3])
		}
		out = append(out, row[:min(n, len(row))]...)
	}
	return out
}

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
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(path, ".uu") {
				b = uudecode(b)
			}
			format := Detect(b[:min(len(b), headSize)])
			if format == "" {
				continue
			}
			formats[format]++
			s := walk(t, b, archive.Limits{})
			name := filepath.Base(path)
			extra += len(s.names) - 1
			switch {
			case name == "zeros-1GiB.gz":
				if !s.has(archive.Bomb, "") {
					t.Errorf("%s: %v", name, s.signs)
				}
			case format == Lzop:
				if !s.has(archive.Unreadable, "") {
					t.Errorf("%s: %v", name, s.signs)
				}
			case len(s.signs) > 0:
				t.Errorf("%s: %v", name, s.signs)
			case strings.Contains(name, "test-documents") && format != Compress: // which holds another version
				want, err := os.ReadFile(filepath.Join(root, "tika-docs", "test-documents.tar"))
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(want, []byte(s.content[0])) {
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
