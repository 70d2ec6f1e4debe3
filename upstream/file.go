package upstream

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postern-mail/postern/mail"
)

const (
	fileCheckEvery = 2 * time.Second // how often a Lookup looks whether the file changed
	// fileSettle is the age that a change must have before a Lookup takes it up: a file that was written
	// a moment ago may still be being written, and half a list would refuse the mail of the other half.
	fileSettle = time.Second
	// fileRest is the age from which a last line without an end is what somebody wrote, and not the middle
	// of a write.
	fileRest = time.Minute
	// fileShrink is the part of the list in force, one in so many entries, that a new one may lack. Where
	// more are gone the list was cut short, or made from a directory that was: it would refuse the mail of
	// all the others.
	fileShrink  = 5
	fileMaxLine = 4096 // octets of a line
)

// File is a recipient source made of a text file: one address per line, "@domain" for every mailbox of a
// domain, and comments from a '#' at the line's beginning or after a blank. Addresses are compared as by
// mail.Address.Mailbox: the case and the quoting of the local part do not matter.
//
// The file is read again when it changed, which Lookup finds out, at most every 2 s. A file that is
// missing, broken or empty then leaves the last good list in force, and so does one that looks like a part
// of a list: its last line has no end and was written within the last minute, or it has over 20 % fewer
// entries than the list in force. Err says so. Reload takes such a part, too.
type File struct {
	path    string
	list    atomic.Pointer[list]
	checked atomic.Int64 // time of the last check, unix nanoseconds
	report  func(error)

	mu      sync.Mutex  // held by whoever reads the file
	seen    fs.FileInfo // the file as it was read last, well or not; nil: to be read again in any case
	lastErr atomic.Pointer[error]
}

// list is what a file says; it is immutable.
type list struct {
	mailboxes map[string]struct{}
	domains   map[string]struct{}
}

// size gives the number of entries.
func (l *list) size() int { return len(l.mailboxes) + len(l.domains) }

// NewFile reads the file at path. Its errors are of the form path:line: what. Afterwards report is told of each
// change of Err: an error when a changed file cannot be used, nil when it is in force again or anew. It may be nil.
func NewFile(path string, report func(error)) (*File, error) {
	f := &File{path: path, report: report}
	if err := f.Reload(); err != nil {
		return nil, err
	}
	return f, nil
}

// Lookup says whether a is listed. A local part that is Suspicious must be listed itself: "@domain" does
// not vouch for it.
func (f *File) Lookup(_ context.Context, a mail.Address) (Known, error) {
	f.refresh(time.Now())
	l := f.list.Load()
	if _, ok := l.mailboxes[a.Mailbox()]; ok {
		return Yes, nil
	}
	if _, ok := l.domains[a.Domain()]; ok && !Suspicious(a) {
		return Yes, nil
	}
	return No, nil
}

// Err says why the file as it is now is not in force, nil if it is.
func (f *File) Err() error {
	if p := f.lastErr.Load(); p != nil {
		return *p
	}
	return nil
}

// Reload reads the file now, and takes it on the caller's word that it is whole. On an error the last good
// list stays in force.
func (f *File) Reload() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	f.checked.Store(now.UnixNano())
	return f.read(now, true)
}

// refresh reads the file again if it changed and the last look at it is a while ago. One caller does so;
// the others go on with the list they have.
func (f *File) refresh(now time.Time) {
	last := f.checked.Load()
	if now.UnixNano()-last < int64(fileCheckEvery) || !f.checked.CompareAndSwap(last, now.UnixNano()) {
		return
	}
	if !f.mu.TryLock() {
		return
	}
	defer f.mu.Unlock()
	info, err := os.Stat(f.path)
	if err != nil {
		f.seen = nil
		f.setErr(fmt.Errorf("upstream: recipients: %w", err))
		return
	}
	if !unchanged(f.seen, info) {
		if age := now.Sub(info.ModTime()); age >= 0 && age < fileSettle {
			return
		}
		_ = f.read(now, false) // it is in Err
	}
}

// read takes up the file; f.mu is held. Without force, a part of a list is an error.
func (f *File) read(now time.Time, force bool) error {
	rest := fileRest
	if force {
		rest = 0
	}
	l, info, err := readList(f.path, now, rest)
	f.seen = info
	if before := f.list.Load(); err == nil && !force && (before.size()-l.size())*fileShrink > before.size() {
		err = fmt.Errorf("%s: %d entries, %d are in force: so many fewer are taken at a reload only",
			f.path, l.size(), before.size())
	}
	if err != nil {
		err = fmt.Errorf("upstream: recipients: %w", err)
	} else {
		f.list.Store(l)
	}
	f.setErr(err)
	return err
}

func (f *File) setErr(err error) {
	before := f.Err()
	f.lastErr.Store(&err)
	changed := (err == nil) != (before == nil) || err != nil && err.Error() != before.Error()
	if f.report != nil && changed {
		f.report(err)
	}
}

// unchanged reports whether two looks at a path saw one file in one state. One that was put in the place of
// another is a different file, though it may have its size and its time.
func unchanged(a, b fs.FileInfo) bool {
	return a != nil && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size() && os.SameFile(a, b)
}

// readList reads the file at path. A file that changes while it is read is an error, and so is one whose last
// line has no end, until it has not changed for rest, if that is not zero. The FileInfo is nil where the file is
// to be read again although it did not change.
func readList(path string, now time.Time, rest time.Duration) (*list, fs.FileInfo, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer file.Close() //nolint:errcheck // read only
	before, err := file.Stat()
	if err != nil {
		return nil, nil, err
	}
	if rest > 0 && now.Sub(before.ModTime()) < rest {
		if err := checkEnd(path, file, before.Size()); err != nil {
			return nil, nil, err
		}
	}
	l, err := parseList(path, file)
	if disk := new(fs.PathError); errors.As(err, &disk) {
		return nil, nil, err
	} else if err != nil {
		return nil, before, err
	}
	after, err := file.Stat()
	if err != nil {
		return nil, before, err
	}
	if !unchanged(before, after) {
		return nil, nil, fmt.Errorf("%s: changed while it was read", path)
	}
	return l, before, nil
}

// checkEnd gives an error where the last line of a file of that size has no end; name is for it.
func checkEnd(name string, file io.ReaderAt, size int64) error {
	if size == 0 {
		return nil
	}
	var last [1]byte
	if _, err := file.ReadAt(last[:], size-1); err != nil {
		return fmt.Errorf("%s: last line: %w", name, err)
	}
	if last[0] != '\n' {
		return fmt.Errorf("%s: the last line has no end: the file seems to be in the middle of a write", name)
	}
	return nil
}

// parseList reads the lines of a list; name is for errors.
func parseList(name string, r io.Reader) (*list, error) {
	l := &list{mailboxes: map[string]struct{}{}, domains: map[string]struct{}{}}
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, fileMaxLine), fileMaxLine)
	n := 0
	for lines.Scan() {
		n++
		if err := l.add(lines.Bytes(), n == 1); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, n, err)
		}
	}
	if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		return nil, fmt.Errorf("%s:%d: line longer than %d octets", name, n+1, fileMaxLine)
	} else if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if l.size() == 0 {
		return nil, fmt.Errorf("%s: no address in it", name)
	}
	return l, nil
}

// add takes up one line.
func (l *list) add(line []byte, isFirst bool) error {
	if isFirst {
		line = bytes.TrimPrefix(line, []byte("\ufeff")) // written by some editors
	}
	entry := string(bytes.TrimSpace(stripComment(line)))
	if entry == "" {
		return nil
	}
	if name, ok := strings.CutPrefix(entry, "@"); ok {
		domain, err := mail.Domain(name)
		if err != nil {
			return fmt.Errorf("%q: %w", entry, err)
		}
		l.domains[domain] = struct{}{}
		return nil
	}
	a, err := mail.ParseAddress(entry)
	if err != nil {
		return fmt.Errorf("%q: %w", entry, err)
	}
	if a.Domain() == "" {
		return fmt.Errorf("%q: a domain is needed", entry)
	}
	l.mailboxes[a.Mailbox()] = struct{}{}
	return nil
}

// stripComment cuts a line before the '#' that begins a comment. Within a local part '#' is an ordinary
// character (RFC 5322 3.2.3), so that only one at the beginning or after a blank counts.
func stripComment(line []byte) []byte {
	for from := 0; ; {
		i := bytes.IndexByte(line[from:], '#')
		if i < 0 {
			return line
		}
		i += from
		if i == 0 || line[i-1] == ' ' || line[i-1] == '\t' {
			return line[:i]
		}
		from = i + 1
	}
}
