package lines

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// CheckEvery is how often Get looks whether the file changed.
	CheckEvery = 2 * time.Second
	// Settle is the age that a change must have before Get takes it up: a file that was written a moment ago may
	// still be being written.
	Settle = time.Second
	// Rest is the age from which a last line without an end is what somebody wrote, and not the middle of a write.
	Rest = time.Minute
	// Patience is how long the Get that finds a file changed waits for it to be read. Lists of ordinary size are read within:
	// where Get is called seldom, the first one after a change is to go by it.
	Patience = 500 * time.Millisecond
)

// Source says what a file's octets mean.
type Source[T any] struct {
	// Parse reads the file; name is for its errors, which are of the form name:line: what.
	Parse func(name string, r io.Reader) (T, error)
	// Doubt gives an error where a file that changed is not to be taken up in the place of what is in force, though
	// it can be read: it looks like a part of itself. nil: no such doubt. Reload takes the file all the same.
	Doubt func(inForce, found T) error
	// Vouched reports whether somebody says of the file, as this look at it saw it, that it is to be taken in spite of
	// Doubt. It is asked at every look as long as the file is doubted. nil: only Reload takes it.
	Vouched func(path string, seen fs.FileInfo) bool
	// Taken is told of each state of the file that is taken up. It may be nil.
	Taken func(found T)
	// Report is told of each change of Err after Open: an error when a changed file can't be used, nil when it is in
	// force again or anew. It may be nil.
	Report func(error)
	// Prefix stands before each error.
	Prefix string
}

// File is what a file says, read again when the file changed, which Get finds out, at most every CheckEvery. It is read in the
// background: what was in force stays so until that has ended, and nobody waits for it longer than Patience. A file
// that is missing or broken leaves the last good state in force, and so does one that the Source doubts, or whose
// last line has no end and was written within Rest. Err says so. It is safe for concurrent use.
type File[T any] struct {
	path    string
	source  Source[T]
	value   atomic.Pointer[T]
	checked atomic.Int64 // time of the last check, unix nanoseconds

	mu      sync.Mutex  // held by whoever reads the file
	seen    fs.FileInfo // the file as it was read last, well or not; nil: to be read again in any case
	doubted bool        // it was doubted then
	lastErr atomic.Pointer[error]
}

// Open reads the file at path.
func Open[T any](path string, s Source[T]) (*File[T], error) {
	f := &File[T]{path: path, source: s}
	f.source.Report = nil // whoever opens it has the error, and nothing is in force yet
	if err := f.Reload(); err != nil {
		return nil, err
	}
	f.source.Report = s.Report
	return f, nil
}

// OpenAfter reads the file at path where it is known what it said before: what looks like a part of it is not taken, and what it said before
// is in force then, as if the file had changed meanwhile.
func OpenAfter[T any](path string, s Source[T], before T) (*File[T], error) {
	f := &File[T]{path: path, source: s}
	f.value.Store(&before)
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	f.checked.Store(now.UnixNano())
	f.source.Report = nil
	if err := f.read(now, Rest, false); err != nil && !f.doubted && !errors.Is(err, errUnfinished) {
		return nil, err
	}
	f.source.Report = s.Report
	if err := f.Err(); err != nil && s.Report != nil {
		s.Report(err)
	}
	return f, nil
}

// Get gives what is in force. Where a look at the file is due it begins one, and gives it a little time.
func (f *File[T]) Get() T {
	f.refresh(time.Now())
	return *f.value.Load()
}

// Err says why the file as it is now is not in force, nil if it is.
func (f *File[T]) Err() error {
	if p := f.lastErr.Load(); p != nil {
		return *p
	}
	return nil
}

// Reload reads the file now, and takes it on the caller's word that it is whole. On an error what was in force
// stays so.
func (f *File[T]) Reload() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	f.checked.Store(now.UnixNano())
	return f.read(now, 0, true)
}

// Renew is Reload, but for a file that the Source doubts, which needs to be vouched for.
func (f *File[T]) Renew() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	f.checked.Store(now.UnixNano())
	return f.read(now, 0, false)
}

// readings counts what is being read in the background, of all Files of the process.
var readings atomic.Int64

// Idle waits until nothing is being read in the background of any File of the process, for so long at most: a disk that hangs
// must not keep the process from its end. It reports whether nothing is.
func Idle(most time.Duration) bool {
	for end := time.Now().Add(most); readings.Load() > 0; time.Sleep(time.Millisecond) {
		if !time.Now().Before(end) {
			return false
		}
	}
	return true
}

// refresh reads the file again if it changed and the last look at it is a while ago. One caller begins that; the others go on
// with what they have, and so does the one where it takes long.
func (f *File[T]) refresh(now time.Time) {
	last := f.checked.Load()
	if now.UnixNano()-last < int64(CheckEvery) || !f.checked.CompareAndSwap(last, now.UnixNano()) {
		return
	}
	if !f.mu.TryLock() {
		return // it is being read
	}
	done := make(chan struct{})
	readings.Add(1)
	go func() {
		defer readings.Add(-1)
		defer close(done)
		defer f.mu.Unlock()
		f.look(now)
	}()
	patience := time.NewTimer(Patience)
	defer patience.Stop()
	select {
	case <-done:
	case <-patience.C:
	}
}

// look reads the file if it changed; f.mu is held. There is nobody here who would catch a panic of whoever parses it.
func (f *File[T]) look(now time.Time) {
	defer func() {
		if v := recover(); v != nil {
			f.setErr(fmt.Errorf("%s%s: reading it panicked: %v", f.source.Prefix, f.path, v))
		}
	}()
	info, err := os.Stat(f.path)
	if err != nil {
		f.seen = nil
		f.setErr(fmt.Errorf("%s%w", f.source.Prefix, err))
		return
	}
	if !unchanged(f.seen, info) || f.doubted && f.vouched(info) {
		if age := now.Sub(info.ModTime()); age >= 0 && age < Settle {
			return
		}
		_ = f.read(now, Rest, false) // it is in Err
	}
}

// vouched reports whether a doubted file is to be taken.
func (f *File[T]) vouched(seen fs.FileInfo) bool {
	return f.source.Vouched != nil && f.source.Vouched(f.path, seen)
}

// read takes up the file; f.mu is held. rest is load's. Without force, what looks like a part of the file is an error.
func (f *File[T]) read(now time.Time, rest time.Duration, force bool) error {
	v, info, err := f.load(now, rest)
	f.seen, f.doubted = info, false
	if err == nil && !force && f.source.Doubt != nil {
		if err = f.source.Doubt(*f.value.Load(), v); err != nil && f.vouched(info) {
			err = nil
		}
		if err != nil {
			f.doubted, err = true, fmt.Errorf("%s: %w", f.path, err)
		}
	}
	if err != nil {
		err = fmt.Errorf("%s%w", f.source.Prefix, err)
	} else {
		f.value.Store(&v)
		if f.source.Taken != nil {
			f.source.Taken(v)
		}
	}
	f.setErr(err)
	return err
}

func (f *File[T]) setErr(err error) {
	before := f.Err()
	f.lastErr.Store(&err)
	changed := (err == nil) != (before == nil) || err != nil && err.Error() != before.Error()
	if f.source.Report != nil && changed {
		f.source.Report(err)
	}
}

// unchanged reports whether two looks at a path saw one file in one state. One that was put in the place of
// another is a different file, though it may have its size and its time.
func unchanged(a, b fs.FileInfo) bool {
	return a != nil && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size() && os.SameFile(a, b)
}

// load reads the file. One that changes while it is read is an error, and so is one whose last line has no end,
// until it has not changed for rest, if that is not zero. The FileInfo is nil where the file is to be read again
// although it did not change.
func (f *File[T]) load(now time.Time, rest time.Duration) (v T, info fs.FileInfo, err error) {
	file, err := os.Open(f.path)
	if err != nil {
		return v, nil, err
	}
	defer file.Close() //nolint:errcheck // read only
	before, err := file.Stat()
	if err != nil {
		return v, nil, err
	}
	if rest > 0 && now.Sub(before.ModTime()) < rest {
		if err := checkEnd(f.path, file, before.Size()); err != nil {
			return v, nil, err
		}
	}
	v, err = f.source.Parse(f.path, file)
	if disk := new(fs.PathError); errors.As(err, &disk) {
		return v, nil, err
	} else if err != nil {
		return v, before, err
	}
	after, err := file.Stat()
	if err != nil {
		return v, before, err
	}
	if !unchanged(before, after) {
		return v, nil, fmt.Errorf("%s: changed while it was read", f.path)
	}
	return v, before, nil
}

var errUnfinished = errors.New("the last line has no end: the file seems to be in the middle of a write")

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
		return fmt.Errorf("%s: %w", name, errUnfinished)
	}
	return nil
}
