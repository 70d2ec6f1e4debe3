// Package mailtest makes contents for the tests of rooms that read mail; nothing of it is in the program.
package mailtest

import (
	"bytes"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/postern-mail/postern/mail"
)

// BreakingContent makes a content of a text with CRLF line ends whose structure has been read, and of which nothing can be
// read any more, as of a file on a disk that has failed meanwhile.
func BreakingContent(t testing.TB, text string) *mail.Content {
	t.Helper()
	file := &breaking{Reader: bytes.NewReader([]byte(text))}
	c := mail.NewContent(mail.NewFileBlob(file, int64(len(text))), mail.LineFaults{}, mail.Limits{})
	t.Cleanup(c.Release)
	c.Root()
	if err := c.Err(); err != nil {
		t.Fatal(err)
	}
	file.broken.Store(true)
	return c
}

// breaking is a file that can't be read any more from some moment on.
type breaking struct {
	*bytes.Reader
	broken atomic.Bool
}

func (b *breaking) ReadAt(p []byte, off int64) (int, error) {
	if b.broken.Load() {
		return 0, errors.New("disk")
	}
	return b.Reader.ReadAt(p, off)
}

func (*breaking) Close() error { return nil }
