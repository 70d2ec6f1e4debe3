package lines

import (
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"testing"
)

// What keeps a file from being opened is for whoever opens it: Report is about files that are in force.
func TestOpenReportsNothing(t *testing.T) {
	_, err := Open(filepath.Join(t.TempDir(), "none"), Source[int]{
		Parse:  func(string, io.Reader) (int, error) { return 0, nil },
		Report: func(err error) { t.Errorf("told of %v", err) },
	})
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}
