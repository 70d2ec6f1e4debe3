package learner

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/postern-mail/postern/internal/store"
)

// A Store keeps lessons in one file, to which it appends: what Add has taken is on disk, synced, when it returns. Lessons that
// have given way, were corrected or taken back leave garbage, and when there is more of it than of lessons the file is written
// anew beside the old one and takes its place. What a crash has left behind a record that is whole was never acknowledged, and
// goes.
//
// Beside it lies what was learned last, the weights: they can be made of the lessons at any time, and only spare the start that.

// Files in a store's folder.
const (
	lessonsFile = "lessons"
	weightsFile = "weights"
	lockFile    = "lock"
	damagedFile = "lessons.damaged"
)

// ErrInUse is the error of a store that another process has open.
var ErrInUse = errors.New("learner: another process has the store open")

// StoreOptions are what a Store needs beside its folder. The zero value has the defaults.
type StoreOptions struct {
	Options
	FS  store.FS     // default: that of the machine
	Log *slog.Logger // default: nothing is told
}

// entry is what is known of a lesson in the file.
type entry struct {
	offset int64
	when   int64
	size   int32 // with its head
	spam   bool
	how    How
}

// Store keeps lessons on disk, and what was learned from them. It is safe for concurrent use.
type Store struct {
	o    StoreOptions // but for the Options in it, which change
	opt  atomic.Pointer[Options]
	dir  string
	lock store.File

	mu      sync.Mutex // of what follows
	file    store.File
	size    int64
	live    int64 // octets of records that are not garbage
	known   map[Digest]entry
	counts  Counts
	by      [2][howCount]int64 // learned by this process: by class and way
	spared  [2]int             // by class: of so many lessons none gives way yet, whatever Samples says
	held    map[store.File]int // who reads a file without the lock: it is closed by the last of them
	closed  bool
	torn    bool // a write failed, and the file's end may be any
	damaged int
	garbage int64 // beyond what there is of lessons, that is not worth writing the file anew,
	endured int64 // and so much more since that could not be done

	unwritten bool // the last batch could not be written

	fitting sync.Mutex // held to fit
	weights atomic.Pointer[fitted]
	unkept  atomic.Bool // the last fit failed, or its weights could not be written
	fits    atomic.Int64
	changed chan struct{} // something was learned since the last fit
	altered chan struct{} // the options have changed
	offered chan Lesson
	dropped atomic.Int64
}

// fitted are weights, and of what and when they were made.
type fitted struct {
	*weights
	print fingerprint
	when  time.Time
}

// Open opens the store in a folder, and makes it where there is none. No lesson gives way by that, however few are to be remembered. The errors are ErrInUse, ErrVersion, ErrFormat for a file
// that is none of ours, and those of the disk.
func Open(dir string, o StoreOptions) (*Store, error) {
	o.Options = o.withDefaults()
	if o.FS == nil {
		o.FS = store.OS
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Store{o: o, dir: dir, garbage: leastGarbage, known: map[Digest]entry{}, held: map[store.File]int{}, changed: make(chan struct{}, 1), altered: make(chan struct{}, 1), offered: make(chan Lesson, offers)}
	s.opt.Store(&o.Options)
	s.weights.Store(&fitted{weights: &weights{slope: 1}})
	if err := o.FS.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("learner: %w", err)
	}
	// The folder, and the one above, may be new; they need not be ours to open.
	for _, above := range []string{filepath.Dir(dir), filepath.Dir(filepath.Dir(dir))} {
		if err := o.FS.SyncDir(above); err != nil && !errors.Is(err, fs.ErrPermission) && !errors.Is(err, syscall.EROFS) {
			return nil, fmt.Errorf("learner: %w", err)
		}
	}
	var err error
	if s.lock, err = o.FS.OpenFile(s.path(lockFile), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, fmt.Errorf("learner: %w", err)
	}
	if free, err := store.TryLock(s.lock); err != nil || !free {
		return nil, errors.Join(orInUse(err), s.lock.Close())
	}
	if err := s.read(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if w, err := readWeights(o.FS, s.path(weightsFile)); err == nil {
		s.weights.Store(w)
	}
	if s.weights.Load().print != s.print() {
		s.nudge()
	}
	s.spare()
	return s, nil
}

func orInUse(err error) error {
	if err != nil {
		return fmt.Errorf("learner: %w", err)
	}
	return ErrInUse
}

func (s *Store) path(name string) string { return filepath.Join(s.dir, name) }

// read reads the lessons. Of a file that does not end with a whole record that end is cut off; one of an older version is written anew.
func (s *Store) read() error {
	for _, name := range []string{lessonsFile, weightsFile} {
		if err := s.o.FS.Remove(s.path(name + ".new")); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("learner: %w", err)
		}
	}
	f, err := s.o.FS.OpenFile(s.path(lessonsFile), os.O_RDWR|os.O_APPEND, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		return s.rewrite()
	}
	if err != nil {
		return fmt.Errorf("learner: %w", err)
	}
	s.file = f
	end, damaged, err := scanRecords(f, func(r record, offset, size int64) {
		s.size = offset + size
		switch r.kind {
		case kindLesson:
			l := &r.lesson
			s.keep(l.Digest, entry{offset: offset, size: int32(size), when: l.When.Unix(), spam: l.Spam, how: l.How})
		case kindForget:
			s.drop(r.lesson.Digest)
		}
	})
	switch {
	case err != nil && !errors.Is(err, ErrCut) && !errors.Is(err, ErrDamaged):
		return inLessons(s.dir, err)
	case errors.Is(err, ErrCut) && damaged == 0: // a crash in the midst of writing, before that was acknowledged
		if s.cutOff(end) != nil {
			s.anew()
			return nil
		}
	case damaged > 0 || err != nil:
		s.damaged = max(damaged, 1)
		return s.setAside()
	}
	s.size = end
	head := make([]byte, headSize)
	if _, err := f.ReadAt(head, 0); err != nil {
		return fmt.Errorf("learner: %w", err)
	}
	if older(head) {
		s.anew() // before anything is appended that who wrote it would take for its own
	}
	return nil
}

// inLessons says of an error that it is about the file of lessons.
func inLessons(dir string, err error) error {
	return fmt.Errorf("%w, in %s", err, filepath.Join(dir, lessonsFile))
}

// Readable tells whether Open could read the store in a folder, as far as its beginning says: the errors are ErrVersion, ErrFormat, and those of
// the disk. It takes no lock, and changes nothing: a gateway may have the store open. Where there is none nothing is wrong.
func Readable(fsys store.FS, dir string) error {
	f, err := fsys.OpenFile(filepath.Join(dir, lessonsFile), os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("learner: %w", err)
	}
	defer func() { _ = f.Close() }()
	var head [headSize]byte
	if n, err := f.ReadAt(head[:], 0); n < headSize {
		if errors.Is(err, io.EOF) {
			return nil // a crash has left it, and it is written anew
		}
		return fmt.Errorf("learner: %w", err)
	}
	if err := checkHead(head[:]); err != nil {
		return inLessons(dir, err)
	}
	return nil
}

// cutOff cuts off what stands behind the records that are whole.
func (s *Store) cutOff(end int64) error {
	if info, err := s.file.Stat(); err != nil || info.Size() < end {
		return ErrCut // not even its head is whole
	}
	if err := s.file.Truncate(end); err != nil {
		return err
	}
	return s.file.Sync()
}

// setAside gives a damaged file a second name, and writes what can be read of it anew.
func (s *Store) setAside() error {
	_ = s.o.FS.Remove(s.path(damagedFile)) // of an earlier time
	if err := s.o.FS.Link(s.path(lessonsFile), s.path(damagedFile)); err != nil {
		return fmt.Errorf("learner: set the damaged file aside: %w", err)
	}
	s.o.Log.Error("the learner's file is damaged: it was set aside, and what can be read of it goes on", "file", s.path(lessonsFile),
		"renamed", s.path(damagedFile), "records", s.damaged)
	s.anew()
	return nil
}

// anew writes the file that was read anew. Where that can't be done now, as on a full disk, what was read counts all the same, and
// nothing is learned before it is done: a gateway is to start.
func (s *Store) anew() {
	if err := s.rewrite(); err != nil {
		s.torn = true
		s.o.Log.Error("the learner's file can't be written anew: nothing is learned until it can", "file", s.path(lessonsFile), "error", err)
	}
}

func (s *Store) keep(d Digest, e entry) {
	s.drop(d)
	s.known[d] = e
	s.counts.add(e.spam, 1)
	s.live += int64(e.size)
}

func (s *Store) drop(d Digest) {
	if old, ok := s.known[d]; ok {
		s.counts.add(old.spam, -1)
		s.live -= int64(old.size)
		delete(s.known, d)
	}
}

// rewrite writes the lessons that are known to a new file, which takes the place of the old one. Where there is no room for it, nothing is
// written: others need what room there is.
func (s *Store) rewrite() error {
	size := s.live + int64(headSize)
	if free, err := s.o.FS.Free(s.dir); err == nil && free < size {
		return fmt.Errorf("learner: %d octets are needed to write the file anew, and %d are free: %w", size, free, syscall.ENOSPC)
	}
	next := make(map[Digest]entry, len(s.known))
	order := s.byOffset()
	at := int64(headSize)
	err := store.WriteFile(s.o.FS, s.path(lessonsFile+".new"), s.path(lessonsFile), 0o600, func(w io.Writer) error {
		buf := bytes.NewBuffer(appendHead(nil))
		for _, d := range order {
			e := s.known[d]
			b, _, err := readLesson(s.file, e)
			if err != nil {
				return err
			}
			buf.Write(b)
			e.offset = at
			at += int64(e.size)
			next[d] = e
			if buf.Len() < 256<<10 {
				continue
			}
			if _, err := buf.WriteTo(w); err != nil {
				return err
			}
		}
		_, err := buf.WriteTo(w)
		return err
	})
	if err != nil {
		// The rename may have been done, and then the open file is no more the one that has the name: nothing is appended to
		// it. What is on disk is whole in any case.
		s.torn = s.torn || !s.named()
		return fmt.Errorf("learner: %w", err)
	}
	f, err := s.o.FS.OpenFile(s.path(lessonsFile), os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		s.torn = true
		return fmt.Errorf("learner: %w", err)
	}
	if s.file != nil {
		_ = s.retire(s.file) // it was read only
	}
	s.file, s.known, s.size = f, next, at
	s.torn = false
	return nil
}

// named reports whether the open file is the one that has the name.
func (s *Store) named() bool {
	if s.file == nil {
		return false
	}
	open, err := s.file.Stat()
	if err != nil {
		return false
	}
	now, err := s.o.FS.Stat(s.path(lessonsFile))
	return err == nil && store.SameFile(open, now)
}

func (s *Store) byOffset() []Digest {
	order := make([]Digest, 0, len(s.known))
	for d := range s.known {
		order = append(order, d)
	}
	slices.SortFunc(order, func(a, b Digest) int { return cmp.Compare(s.known[a].offset, s.known[b].offset) })
	return order
}

// Configure changes the options. Where fewer lessons are to be remembered the others give way later, see Tend.
func (s *Store) Configure(o Options) {
	o = o.withDefaults()
	if o == *s.opt.Load() {
		return
	}
	s.spare() // before anybody can add with fewer
	s.opt.Store(&o)
	s.nudge()
	select {
	case s.altered <- struct{}{}:
	default:
	}
}

// Export writes all lessons, which Import of another store reads.
func (s *Store) Export(w io.Writer) error {
	all, err := s.lessons(context.Background())
	if err != nil {
		return err
	}
	e := NewExport(w)
	for i := range all {
		if err := e.Add(all[i]); err != nil {
			return err
		}
	}
	return e.Close()
}

// lessons reads all lessons, without the lock: who learns, forgets and asks does not wait for that.
func (s *Store) lessons(ctx context.Context) ([]Lesson, error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, fs.ErrClosed
	}
	entries := slices.AppendSeq(make([]entry, 0, len(s.known)), maps.Values(s.known))
	file := s.file
	s.held[file]++
	s.mu.Unlock()
	defer s.release(file)
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Compare(a.offset, b.offset) })
	all := make([]Lesson, 0, len(entries))
	for i, e := range entries {
		if i%1024 == 0 && ctx.Err() != nil {
			return nil, fmt.Errorf("learner: %w", ctx.Err())
		}
		_, l, err := readLesson(file, e)
		if err != nil {
			return nil, fmt.Errorf("learner: %s: %w", s.path(lessonsFile), err)
		}
		all = append(all, l)
	}
	return all, nil
}

// release ends the reading of a file.
func (s *Store) release(file store.File) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held[file]--; s.held[file] > 0 {
		return
	}
	delete(s.held, file)
	if s.closed || file != s.file {
		_ = file.Close()
	}
}

// retire closes a file that is not needed any more, at once or when it has been read.
func (s *Store) retire(file store.File) error {
	if s.held[file] > 0 {
		return nil
	}
	return file.Close()
}

// readLesson reads a lesson, and gives its record, too. The error is ErrDamaged where another thing stands in its place, or nothing.
func readLesson(file store.File, e entry) ([]byte, Lesson, error) {
	b := make([]byte, e.size)
	if n, err := file.ReadAt(b, e.offset); n < len(b) && !errors.Is(err, io.EOF) {
		return nil, Lesson{}, err
	}
	r, ok := parseRecord(b)
	if !ok || r.kind != kindLesson {
		return nil, Lesson{}, fmt.Errorf("%w, at %d", ErrDamaged, e.offset)
	}
	return b, r.lesson, nil
}

// Close ends the store. What was learned since the last fit counts after the next start.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	var err error
	if s.file != nil {
		err = s.retire(s.file)
	}
	return errors.Join(err, s.lock.Close())
}

func (s *Store) nudge() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}
