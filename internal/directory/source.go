package directory

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postern-mail/postern/internal/store"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/upstream"
)

const (
	// retryFirst is how long after a read that failed the next one begins; twice as long each time, up to Settings.Refresh.
	retryFirst = 5 * time.Second
	// wordEvery is how often it is looked for an administrator's word about a list that was not taken.
	wordEvery = 2 * time.Second
	// refusedPause is how long after a refused login the next one comes at the earliest, unless the settings change or somebody asks for it:
	// directories lock an account after a few of them, often for all that it is good for, and count them for half an hour as a rule.
	refusedPause = time.Hour
)

var (
	// ErrNothing says that nothing is known of the mailboxes yet: there is no snapshot, and the directory was not read.
	ErrNothing = errors.New("directory: nothing was read yet, and there is no snapshot")
	// ErrStale says that the list is too old to say that there is no such mailbox.
	ErrStale = errors.New("directory: the list is too old to say that there is no such mailbox")
	// ErrNotSaved says that a list is in force, and could not be written to the disk.
	ErrNotSaved = errors.New("directory: the list is in force, and can't be saved")
)

// Hooks tell of what happens; each may be nil. They must not call the Source.
type Hooks struct {
	Report func(error) // of each change of Source.Err but from ErrNothing: nil when all is well again
	Taken  func(Taken) // of a list that was taken
}

// Taken tells of a list that was taken.
type Taken struct {
	Server    string // that it was read from; "" for one that was taken on an administrator's word
	Mailboxes int    // entries in force
	Skipped   int    // values that are no addresses
	Others    string // a reference to entries that another server has, which were not read; "" for none
	Took      time.Duration
}

// Source is a recipient source that knows what a directory said. It is safe for concurrent use; Lookup never waits.
type Source struct {
	name  string
	fs    store.FS
	path  string // of its files, without an ending
	hooks Hooks

	settings atomic.Pointer[Settings]
	inForce  atomic.Pointer[inForce]
	lastErr  atomic.Pointer[error]
	wake     chan struct{}

	mu      sync.Mutex // held by whoever reads; the rest is its own
	last    string     // the URL that the last read came from
	mark    mark       // of that
	full    time.Time  // when everything was read last
	failed  int        // reads in a row
	found   *upstream.Mailboxes
	foundAt time.Time // a list that was not taken, nil for none
	spent   time.Time // that of a word that was about another list, and could not be removed
}

// inForce is a list that answers.
type inForce struct {
	list *upstream.Mailboxes
	at   time.Time // when the directory last confirmed it
	own  bool      // it was read with the settings of now: what is new can be put beside it
}

// Open makes a source and reads its snapshot, if there is one, from the folder dir. It asks no server: Run does. What is wrong with
// the snapshot is in Err. The name is for metrics and the log.
func Open(name string, fsys store.FS, dir string, s Settings, hooks Hooks) *Source {
	d := &Source{
		name: name, fs: fsys, hooks: hooks, wake: make(chan struct{}, 1),
		path: filepath.Join(dir, "ldap-"+s.Digest()),
	}
	d.settings.Store(&s)
	err := ErrNothing
	switch l, at, loadErr := loadSnapshot(fsys, d.path+".list"); {
	case loadErr == nil:
		d.inForce.Store(&inForce{list: l, at: at, own: true})
		err = nil
	case !errors.Is(loadErr, fs.ErrNotExist):
		err = fmt.Errorf("directory: snapshot: %w", loadErr)
	}
	d.lastErr.Store(&err)
	if l, at, err := loadSnapshot(fsys, d.path+".found"); err == nil {
		d.found, d.foundAt = l, at
	}
	return d
}

// Source gives the name of the kind, for the metric of recipients.
func (*Source) Source() string { return "ldap" }

// Name gives the name that the source was given.
func (d *Source) Name() string { return d.name }

// Lookup implements upstream.Recipients. Its errors are ErrNothing and ErrStale.
func (d *Source) Lookup(_ context.Context, a mail.Address) (upstream.Known, error) {
	f := d.inForce.Load()
	switch {
	case f == nil:
		return upstream.NoSource, ErrNothing
	case f.list.Has(a):
		return upstream.Yes, nil
	case time.Since(f.at) > d.settings.Load().Stale:
		return upstream.NoSource, ErrStale
	}
	return upstream.No, nil
}

// State gives the entries in force, and when the directory last confirmed them; ok is false where nothing is in force.
func (d *Source) State() (entries int, at time.Time, ok bool) {
	f := d.inForce.Load()
	if f == nil {
		return 0, time.Time{}, false
	}
	return f.list.Len(), f.at, true
}

// Err says why what the directory says now is not in force, nil if it is, or if that was not found out yet.
func (d *Source) Err() error { return *d.lastErr.Load() }

// Follow lets d answer with the list of another source until it has one of its own, which is compared with that one, after a start too.
func (d *Source) Follow(before *Source) {
	f := before.inForce.Load()
	if f == nil || !d.inForce.CompareAndSwap(nil, &inForce{list: f.list, at: f.at}) {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.save(f.list, f.at); err != nil {
		d.setErr(err)
	}
}

// Configure changes how the directory is reached and how often. What is asked for must be the same (Digest).
func (d *Source) Configure(s Settings) {
	if !d.settings.Load().Equal(&s) {
		d.settings.Store(&s)
		d.Wake()
	}
}

// Wake lets everything be read now.
func (d *Source) Wake() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// Run reads the directory, at once and then from time to time, until ctx is done.
func (d *Source) Run(ctx context.Context) {
	for all := true; ctx.Err() == nil; {
		pause := d.Read(ctx, all)
		all = d.rest(ctx, pause)
	}
}

// rest waits for the pause to pass, looks meanwhile for a word about a list that was not taken, and says whether everything
// is to be read then.
func (d *Source) rest(ctx context.Context, pause time.Duration) (all bool) {
	end := time.NewTimer(pause)
	defer end.Stop()
	look := time.NewTicker(wordEvery)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-end.C:
			return false
		case <-look.C:
			d.takeOnWord()
		case <-d.wake:
			return true
		}
	}
}

// Read reads the directory: all of it, or what changed since the last read where that is enough. It gives the time until the
// next one.
func (d *Source) Read(ctx context.Context, all bool) (pause time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.settings.Load()
	err := d.guarded(ctx, s, all)
	if ctx.Err() != nil {
		return 0
	}
	d.setErr(err)
	pause = s.Refresh
	switch {
	case errors.Is(err, errLogin):
		d.failed, pause = 0, max(pause, refusedPause)
	case err == nil, errors.Is(err, ErrNotSaved), errors.Is(err, errShrunk):
		d.failed = 0
	default:
		if d.failed++; d.failed < 16 {
			pause = min(pause, retryFirst<<(d.failed-1))
		}
	}
	return pause - time.Duration(rand.Int64N(int64(pause/10)+1)) // several gateways need not come together
}

func (d *Source) setErr(err error) {
	before := d.Err()
	d.lastErr.Store(&err)
	changed := (err == nil) != (before == nil) || err != nil && err.Error() != before.Error()
	if err == nil && errors.Is(before, ErrNothing) {
		changed = false // the first list, of which Taken tells
	}
	if d.hooks.Report != nil && changed {
		d.hooks.Report(err)
	}
}

// guarded is read, whatever the library makes of what a server sends: there is nobody here who would catch a panic.
func (d *Source) guarded(ctx context.Context, s *Settings, all bool) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("directory: reading it panicked: %v", v)
		}
	}()
	return d.read(ctx, s, all)
}

// read takes up what the directory says; d.mu is held.
func (d *Source) read(ctx context.Context, s *Settings, all bool) error {
	began := time.Now()
	f := d.inForce.Load()
	if !all && f != nil && f.own && d.found == nil && !d.mark.none() && time.Since(d.full) < s.Full && slices.Contains(s.URLs, d.last) {
		limited, cancel := context.WithTimeout(ctx, readFor)
		r, m, err := readChanged(limited, s, d.last, d.mark)
		cancel()
		if err == nil {
			d.mark = m
			return d.add(f, r, began)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !elsewhere(err) { // to log in once more would be one more refused login
			return fmt.Errorf("directory: %s: %w", hostOf(d.last), err)
		}
	}
	return d.readAny(ctx, s, f, began)
}

// readAny reads everything from the first server that has a list which can be taken.
func (d *Source) readAny(ctx context.Context, s *Settings, f *inForce, began time.Time) error {
	room := 0
	if f != nil {
		room = f.list.Len()
	}
	var failures []error
	var doubted *reading // the first that lacks too much
	var from string
	for _, url := range s.URLs {
		limited, cancel := context.WithTimeout(ctx, readFor)
		r, m, err := readAll(limited, s, url, room)
		cancel()
		if err == nil {
			if err = d.judge(f, r); err == nil {
				return d.replace(f, r, m, url, began)
			}
			if doubted == nil && r.found.Len() > 0 {
				doubted, from = r, url
			}
		}
		failures = append(failures, fmt.Errorf("%s: %w", hostOf(url), err))
		if ctx.Err() != nil || !elsewhere(err) {
			break
		}
	}
	if doubted != nil && d.doubted(doubted.found, began) {
		return d.replace(f, doubted, mark{}, from, began)
	}
	return fmt.Errorf("directory: %w", errors.Join(failures...))
}

// add puts what is new beside what is in force.
func (d *Source) add(f *inForce, r *reading, began time.Time) error {
	list := f.list
	var fresh []string
	for e := range r.found.All() {
		if !list.Contains(e) {
			fresh = append(fresh, e)
		}
	}
	if len(fresh) > 0 {
		list = upstream.NewMailboxes(f.list.Len() + len(fresh))
		for e := range f.list.All() {
			list.Add(e)
		}
		for _, e := range fresh {
			list.Add(e)
		}
	}
	d.inForce.Store(&inForce{list: list, at: began, own: true})
	if len(fresh) == 0 {
		return nil
	}
	d.tell(Taken{Server: hostOf(d.last), Mailboxes: list.Len(), Skipped: r.skipped, Others: r.others, Took: time.Since(began)})
	return d.save(list, began)
}

// errShrunk says that a list is not taken since it lacks too much of the one in force, or has nothing at all.
var errShrunk = errors.New("not taken")

// judge gives an error where a whole list looks like a part of it.
func (d *Source) judge(f *inForce, r *reading) error {
	switch {
	case r.found.Len() == 0:
		return fmt.Errorf("%w: no address in it", errShrunk)
	case f != nil && upstream.Shrunk(f.list.Len(), r.found.Len()):
		return fmt.Errorf("%w: %d entries, %d are in force: over 20 %% fewer; if that is right: touch %s",
			errShrunk, r.found.Len(), f.list.Len(), d.word())
	}
	return nil
}

// replace puts a whole list in the place of the one in force.
func (d *Source) replace(f *inForce, r *reading, m mark, url string, began time.Time) error {
	d.last, d.mark, d.full = url, m, began
	d.forget()
	d.inForce.Store(&inForce{list: r.found, at: began, own: true})
	if f == nil || !f.own || f.list.Len() != r.found.Len() {
		d.tell(Taken{Server: hostOf(url), Mailboxes: r.found.Len(), Skipped: r.skipped, Others: r.others, Took: time.Since(began)})
	}
	return d.save(r.found, began)
}

func (d *Source) tell(t Taken) {
	if d.hooks.Taken != nil {
		d.hooks.Taken(t)
	}
}

func (d *Source) save(l *upstream.Mailboxes, at time.Time) error {
	err := d.fs.MkdirAll(filepath.Dir(d.path), 0o700)
	if err == nil {
		err = saveSnapshot(d.fs, d.path+".list", l, at)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotSaved, err)
	}
	return nil
}

// word is the file with which an administrator says that the list which was not taken is right.
func (d *Source) word() string { return d.path + ".found" + upstream.TakeSuffix }

// doubted keeps a list that is not taken, for whoever wants to see what it has, and says whether an administrator has
// said of it that it is right. His word holds for this list: one of other entries is written anew, and is younger than the word.
func (d *Source) doubted(l *upstream.Mailboxes, at time.Time) (take bool) {
	if d.found != nil && d.found.Equal(l) {
		return d.vouched()
	}
	d.spend()
	d.found, d.foundAt = l, at
	if err := d.fs.MkdirAll(filepath.Dir(d.path), 0o700); err == nil {
		_ = saveSnapshot(d.fs, d.path+".found", l, at) // without it nobody can say that it is right, and the old one serves
	}
	return false
}

func (d *Source) vouched() bool {
	list, err := d.fs.Stat(d.path + ".found")
	if err != nil {
		return false
	}
	word, err := d.fs.Stat(d.word())
	return err == nil && !word.ModTime().Before(list.ModTime()) && !word.ModTime().Equal(d.spent)
}

// spend drops the word that there is: it was about one list, whatever the clocks say.
func (d *Source) spend() {
	word, err := d.fs.Stat(d.word())
	if err == nil && d.fs.Remove(d.word()) != nil {
		d.spent = word.ModTime()
	}
}

// forget drops the list that was not taken, with the word about it.
func (d *Source) forget() {
	if d.found != nil {
		d.found = nil
		_ = d.fs.Remove(d.path + ".found")
		d.spend()
	}
}

// takeOnWord takes the list that was not taken, if an administrator has said since that it is right.
func (d *Source) takeOnWord() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.found == nil || !d.vouched() {
		return
	}
	l, at := d.found, d.foundAt
	d.forget()
	d.inForce.Store(&inForce{list: l, at: at, own: true})
	d.mark, d.full = mark{}, time.Time{}
	d.tell(Taken{Mailboxes: l.Len()})
	d.setErr(d.save(l, at))
}
