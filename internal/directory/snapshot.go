package directory

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/postern-mail/postern/internal/store"
	"github.com/postern-mail/postern/upstream"
)

// A snapshot is a text: its name and version, when the directory said so, the number of entries, the entries in order, and
// the SHA-256 of all that stands above it. Entries are in the form of upstream.Entry, which has no control characters.
//
//	postern recipients 1
//	read 2006-01-02T15:04:05Z
//	entries 2
//	@example.net
//	bob@example.org
//	sha256 9f86d0…
const (
	snapshotName    = "postern recipients "
	snapshotVersion = 1
	maxSnapshot     = maxRead
	maxLine         = 1 << 10
)

// errNewer says that a snapshot was written by a newer version of the program.
var errNewer = errors.New("written by a newer version of Postern")

// writeSnapshot writes a list.
func writeSnapshot(w io.Writer, l *upstream.Mailboxes, at time.Time) error {
	sum := sha256.New()
	b := bufio.NewWriter(io.MultiWriter(w, sum))
	fmt.Fprintf(b, "%s%d\nread %s\nentries %d\n", snapshotName, snapshotVersion, at.UTC().Format(time.RFC3339), l.Len())
	for _, e := range slices.Sorted(l.All()) {
		b.WriteString(e)
		b.WriteByte('\n')
	}
	if err := b.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "sha256 %s\n", hex.EncodeToString(sum.Sum(nil)))
	return err
}

// parseSnapshot reads one.
func parseSnapshot(data []byte) (*upstream.Mailboxes, time.Time, error) {
	fail := func(format string, args ...any) (*upstream.Mailboxes, time.Time, error) {
		return nil, time.Time{}, fmt.Errorf(format, args...)
	}
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(make([]byte, 0, maxLine), maxLine)
	next := func(key string) string {
		if !lines.Scan() {
			return ""
		}
		value, _ := strings.CutPrefix(lines.Text(), key)
		return value
	}
	version, err := strconv.Atoi(next(snapshotName))
	switch {
	case err != nil:
		return fail("not a snapshot")
	case version > snapshotVersion:
		return nil, time.Time{}, errNewer
	}
	body := bytes.LastIndex(data, []byte("\nsha256 ")) + 1
	sum := sha256.Sum256(data[:body])
	if body == 0 || string(data[body:]) != "sha256 "+hex.EncodeToString(sum[:])+"\n" {
		return fail("damaged: its sum does not fit")
	}
	at, err := time.Parse(time.RFC3339, next("read "))
	if err != nil {
		return fail("damaged: no time in it")
	}
	n, err := strconv.Atoi(next("entries "))
	if err != nil || n < 1 || n > len(data) {
		return fail("damaged: no entries in it")
	}
	l := upstream.NewMailboxes(n)
	for range n {
		if !lines.Scan() || !strings.Contains(lines.Text(), "@") {
			return fail("damaged: an entry is missing")
		}
		l.Add(lines.Text())
	}
	if l.Len() != n {
		return fail("damaged: an entry stands twice")
	}
	return l, at, nil
}

// LoadSnapshot reads a list that SaveSnapshot has written, and when.
func LoadSnapshot(fsys store.FS, path string) (*upstream.Mailboxes, time.Time, error) {
	return loadSnapshot(fsys, path)
}

// SaveSnapshot writes a list, from wherever it is, durable, whole or not at all. It makes the folder.
func SaveSnapshot(fsys store.FS, path string, l *upstream.Mailboxes, at time.Time) error {
	if err := fsys.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return saveSnapshot(fsys, path, l, at)
}

// loadSnapshot reads the file at path.
func loadSnapshot(fsys store.FS, path string) (*upstream.Mailboxes, time.Time, error) {
	f, err := fsys.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return nil, time.Time{}, err
	}
	defer f.Close() //nolint:errcheck // read only
	data, err := io.ReadAll(io.LimitReader(f, maxSnapshot))
	if err != nil {
		return nil, time.Time{}, err
	}
	l, at, err := parseSnapshot(data)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("%s: %w", path, err)
	}
	return l, at, nil
}

// saveSnapshot writes the file at path, durable, whole or not at all.
func saveSnapshot(fsys store.FS, path string, l *upstream.Mailboxes, at time.Time) error {
	tmp := path + ".new"
	_ = fsys.Remove(tmp) // of a write that the power was taken from
	return store.WriteFile(fsys, tmp, path, 0o600, func(w io.Writer) error { return writeSnapshot(w, l, at) })
}
