package spool

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/postern-mail/postern/internal/store"
)

// version is that of the folder's layout, of the messages' files and of the lines of marks.
const version = 1

// The files of an entry, by what follows its id. That of messageSuffix gets its name when all others are durable, and loses
// it before them: the name is the commit point, and the others without it are leftovers of a crash.
const (
	messageSuffix  = ".msg" // envelope and content, in a file that others may share
	originalSuffix = ".eml" // the original, where it is large
	logSuffix      = ".log" // marks
	tmpSuffix      = ".tmp"
)

const (
	lockName    = "lock"
	versionName = "version"
	damagedName = "damaged"
)

// Options bound a Store.
type Options struct {
	Size    int64            // octets of all files; 0: no bound
	MinFree int64            // octets that must stay free in the file system, 0: no look
	FS      store.FS         // nil: store.OS
	Now     func() time.Time // nil: time.Now
	// Fault is told by Open of what it passes over; nil: nobody is.
	Fault func(error)
}

// Usage is what a Store holds.
type Usage struct {
	Entries int
	Octets  int64 // of all files, those of damaged entries included
	Damaged int   // entries that were set aside and are still kept
	Limit   int64 // how many octets there may be; 0: as many as the disk has room for

	TornMarks int64 // marks that Load found damaged and left out, since Open
}

// Store is a spool folder. It is safe for concurrent use.
type Store struct {
	dir string
	fs  store.FS
	now func() time.Time

	large int64 // size beyond which an original gets a file of its own

	lock    store.File
	names   syncer // of the folder
	batches committer
	puts    sync.WaitGroup
	alone   atomic.Bool // files can't have two names here

	unlinking sync.Mutex // held while a file loses a name

	mu       sync.Mutex
	size     int64
	minFree  int64
	usage    Usage
	reserved int64                    // octets that are being written
	busy     map[string]chan struct{} // entries that somebody changes; closed when that ends
	gone     map[string]struct{}      // entries that were removed and whose files are not all gone
	strays   map[string]struct{}      // ids of which files are there that belong to no entry and could not be removed
	hidden   map[string]struct{}      // entries of Puts that have not returned, or whose callers have left
	left     int                      // Puts under way whose callers have left
	torn     map[string]int           // lines of logs that were left out, and have been counted
	logs     map[string]int64         // what a large log had when it was last written anew
	closed   bool

	separating bool      // entries are given files of their own
	separateAt time.Time // not before
}

// Open makes the folder where it is missing, takes it for this process, and clears what a crash has left. It looks at names
// and sizes and reads no entry; a file of which that fails is told to Options.Fault, and passed over. The error is ErrOwned where another process has the folder, ErrVersion where a newer Postern
// wrote it.
func Open(dir string, o Options) (*Store, error) {
	s := &Store{
		dir: dir, fs: o.FS, now: o.Now, size: o.Size, minFree: o.MinFree, large: largeOriginal,
		busy: map[string]chan struct{}{}, gone: map[string]struct{}{}, strays: map[string]struct{}{}, hidden: map[string]struct{}{}, torn: map[string]int{}, logs: map[string]int64{},
	}
	if s.fs == nil {
		s.fs = store.OS
	}
	if s.now == nil {
		s.now = time.Now
	}
	if err := s.take(); err != nil {
		return nil, err
	}
	err := s.prepare()
	if err == nil {
		f := faults{to: o.Fault}
		err = s.sweep(&f)
		f.end()
	}
	if err != nil {
		return nil, errors.Join(err, s.lock.Close())
	}
	s.names.start(func() error { return s.fs.SyncDir(s.dir) })
	s.batches.start(s.commit)
	return s, nil
}

// Close waits for what is under way, syncs what was removed, and lets go of the folder. Nothing may be called after it.
func (s *Store) Close() error {
	s.mu.Lock()
	done := s.closed
	s.closed = true
	s.mu.Unlock()
	if done {
		return nil
	}
	s.puts.Wait()
	s.batches.stop()
	if err := errors.Join(s.names.stop(), s.lock.Close()); err != nil {
		return fmt.Errorf("spool: close: %w", err)
	}
	return nil
}

// Bound changes how many octets there may be and how many must stay free; zero values bound nothing. It removes nothing.
func (s *Store) Bound(size, minFree int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.size, s.minFree = size, minFree
}

// Usage tells what the Store holds. It asks no disk.
func (s *Store) Usage() Usage {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := s.usage
	u.Limit = s.size
	return u
}

// take makes the folder, durably, and locks it.
func (s *Store) take() error {
	if err := s.fs.MkdirAll(s.dir, 0o700); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	// Who has made it may have died before its name was synced, and that of the folder above. They need not be ours to open.
	for _, above := range []string{filepath.Dir(s.dir), filepath.Dir(filepath.Dir(s.dir))} {
		if err := s.fs.SyncDir(above); err != nil && !errors.Is(err, os.ErrPermission) && !errors.Is(err, syscall.EROFS) {
			return fmt.Errorf("spool: %w", err)
		}
	}
	f, err := s.fs.OpenFile(filepath.Join(s.dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	free, err := store.TryLock(f)
	if err == nil && !free {
		err = fmt.Errorf("%w: %s", ErrOwned, s.dir)
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	s.lock = f
	return nil
}

// prepare checks the version file, or makes it.
func (s *Store) prepare() error {
	path := filepath.Join(s.dir, versionName)
	data, err := s.read(path, 64)
	switch {
	case err == nil:
		return checkVersion(data)
	case !errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("spool: %w", err)
	}
	if err := s.fs.Remove(path + tmpSuffix); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("spool: %w", err)
	}
	err = store.WriteFile(s.fs, path+tmpSuffix, path, 0o600, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%d\n", version)
		return err
	})
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	return nil
}

func checkVersion(data []byte) error {
	var v int
	if _, err := fmt.Sscanf(string(data), "%d\n", &v); err != nil || v < 1 {
		return fmt.Errorf("%w: the version file says %q", ErrDamaged, data)
	}
	if v > version {
		return fmt.Errorf("%w: version %d, this one knows %d", ErrVersion, v, version)
	}
	return nil
}

// read gives a small file whole; one of more than most octets is ErrDamaged.
func (s *Store) read(path string, most int64) ([]byte, error) {
	f, err := s.fs.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	if int64(len(data)) > most {
		return nil, fmt.Errorf("%w: %s has more than %d octets", ErrDamaged, path, most)
	}
	return data, nil
}

// sweep counts what is there and removes what a crash has left. That need not be synced: what comes back is swept again.
func (s *Store) sweep(f *faults) error {
	all, err := s.fs.ReadDir(s.dir)
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	entries, octets := make(map[string]struct{}, len(all)), 0.0
	for _, d := range all {
		if id, ok := strings.CutSuffix(d.Name(), messageSuffix); ok && checkID(id) == nil && !d.IsDir() {
			entries[id] = struct{}{}
		}
	}
	for _, d := range all {
		name := d.Name()
		if d.IsDir() {
			continue
		}
		id, suffix := name, ""
		if i := strings.LastIndexByte(name, '.'); i >= 0 {
			id, suffix = name[:i], name[i:]
		}
		_, there := entries[id]
		leftover := suffix == tmpSuffix
		switch suffix {
		case messageSuffix, originalSuffix, logSuffix:
			if checkID(id) != nil {
				continue // not ours
			}
			leftover = !there
		}
		switch {
		case leftover:
			if err := s.remove(filepath.Join(s.dir, name)); err != nil {
				f.tell(err)
				s.strays[id] = struct{}{}
			}
		case suffix != "" && there:
			info, err := d.Info()
			if err != nil {
				f.tell(err)
				continue
			}
			octets += float64(info.Size()) / float64(store.Links(info)) // each name has its share of the file
		}
	}
	s.usage.Entries, s.usage.Octets = len(entries), int64(math.Round(octets))
	s.countDamaged(f)
	return nil
}

// countDamaged counts what was set aside.
func (s *Store) countDamaged(f *faults) {
	all, err := s.fs.ReadDir(filepath.Join(s.dir, damagedName))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		f.tell(err)
	}
	for _, d := range all {
		if strings.HasSuffix(d.Name(), messageSuffix) {
			s.usage.Damaged++
		}
		info, err := d.Info()
		if err != nil {
			f.tell(err)
			continue
		}
		s.usage.Octets += info.Size() / store.Links(info)
	}
}

// mostFaults is how many of them Open tells one by one.
const mostFaults = 10

// faults are what Open passes over: one broken file must not keep all others from being delivered.
type faults struct {
	to   func(error)
	many int
}

func (f *faults) tell(err error) {
	if f.many++; f.many <= mostFaults && f.to != nil {
		f.to(fmt.Errorf("spool: passed over: %w", err))
	}
}

// end tells how many have not been told.
func (f *faults) end() {
	if more := f.many - mostFaults; more > 0 && f.to != nil {
		f.to(fmt.Errorf("spool: passed over %d files more", more))
	}
}

func (s *Store) path(id, suffix string) string { return filepath.Join(s.dir, id+suffix) }

// hold takes an entry for the caller, who changes its files, until the func that it gives is called.
func (s *Store) hold(id string) (letGo func(), err error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	for {
		s.mu.Lock()
		wait := s.busy[id]
		if wait == nil {
			mine := make(chan struct{})
			s.busy[id] = mine
			s.mu.Unlock()
			return func() {
				s.mu.Lock()
				defer s.mu.Unlock()
				delete(s.busy, id)
				close(mine)
			}, nil
		}
		s.mu.Unlock()
		<-wait
	}
}

// account notes that files have grown or shrunk, and entries come or gone.
func (s *Store) account(entries int, octets int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.usage.Entries += entries
	s.usage.Octets = max(0, s.usage.Octets+octets)
}
