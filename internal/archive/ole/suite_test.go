package ole

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/peertest"
)

// Every compound file of the suites opens without complaint, and each of its streams is as long as it says.
func TestSuite(t *testing.T) {
	files, streams := 0, 0
	err := filepath.WalkDir(peertest.Shared(t, "suites", "attachments"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		in, err := os.ReadFile(path)
		if err != nil || !Is(in) {
			return err
		}
		files++
		root, problem, err := Open(t.Context(), archive.NewFile(in))
		if err != nil || problem != nil {
			t.Errorf("%s: %v %v", path, problem, err)
			return nil
		}
		walk(root, func(s *Stream) {
			streams++
			f, problem := s.File()
			if problem != nil {
				t.Errorf("%s: %v", path, problem)
			}
			n, err := io.Copy(io.Discard, f.Reader())
			if err != nil || n != s.Size {
				t.Errorf("%s: stream %q: %d octets of %d, %v", path, s.Name, n, s.Size, err)
			}
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d files, %d streams", files, streams)
	if files < 20 || streams < 500 {
		t.Errorf("only %d files with %d streams", files, streams)
	}
}

// walk calls each for all streams of s and below.
func walk(s *Storage, each func(*Stream)) {
	for _, c := range s.Streams {
		each(c)
	}
	for _, c := range s.Storages {
		walk(c, each)
	}
}
