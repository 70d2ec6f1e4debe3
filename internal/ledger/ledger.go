// Package ledger is the gateway's memory of small facts (filter.State): tables that are looked up and changed in
// memory, bounded, swept, and written to a file behind everybody's back. It does not know what the facts mean, nor how
// the file is made.
//
// All records are in memory. The file is there to find them again after a restart, and for nothing else: no look-up and
// no change waits for it, and when it is damaged, locked, or its disk is full, the memory goes on without it and tries
// again. What was changed is noted by slot, so that a record that changes a hundred times between two rounds of writing
// is written once.
package ledger

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/postern-mail/postern/filter"
)

// Errors of a File that make a difference.
var (
	ErrVersion = errors.New("ledger: written by a newer version of Postern")
	ErrDamaged = errors.New("ledger: damaged")
)

var errClosed = errors.New("ledger: closed")

// Row is a record as a File has it. Times are in microseconds since 1970, 0 for none; Expires and Updated in seconds.
type Row struct {
	ID                 uint32 // of the row in the file, from 1
	Gone               bool   // the row is to be removed: nothing but ID counts
	Table              string
	Key                filter.Digest
	First, Last, Count int64
	Expires, Updated   uint32
}

// File is where a ledger keeps its records. One goroutine at a time calls it.
type File interface {
	// Open opens the file, which is made where there is none. It is called again after a failure, and after Close.
	// An error that wraps ErrVersion or ErrDamaged says so.
	Open() error
	// Load gives every row, in the order of their IDs.
	Load(each func(Row)) error
	// Write writes rows over those with the same IDs: all of them or none.
	Write(rows []Row) error
	// SetAside closes a damaged file and gives it another name, which is returned.
	SetAside() (name string, err error)
	// Close closes the file.
	Close() error
	// Name tells people which file it is.
	Name() string
}

// Options say what a ledger is made of.
type Options struct {
	File File         // nil: it forgets all when it ends
	Log  *slog.Logger // nil: none
}

// Ledger implements filter.State. It is safe for concurrent use.
type Ledger struct {
	file File
	log  *slog.Logger
	seed maphash.Seed

	mu     sync.Mutex
	tables map[string]*table

	// The writer's. Whoever holds the token of writing may use them.
	writing  chan struct{}
	closed   bool // for good
	open     bool // the file is open, and what is in it is known
	loaded   bool // it has been read once: what is not in memory has been removed
	nextID   uint32
	freeIDs  []uint32 // of rows that were removed
	gone     []uint32 // rows that are to be removed
	failing  error
	pause    time.Duration // until the next try
	retry    time.Time
	lazyDue  time.Time
	told     map[string]time.Time // by table: when it was said last that it is full
	lastSeen map[string]int64     // by table: what had given way or was refused then

	durable                   atomic.Bool
	written, failed, setAside atomic.Int64

	stop  context.CancelFunc
	ended sync.WaitGroup
}

var _ filter.State = (*Ledger)(nil)

// How often things are done.
const (
	writeEvery = 2 * time.Second
	lazyEvery  = 30 * time.Second
	sweepEvery = time.Minute
	tellEvery  = time.Hour // that a table is full
	firstPause = 5 * time.Second
	maxPause   = 5 * time.Minute
	closeTime  = 10 * time.Second // for what is left to write at the end
)

// batch is the number of rows that are written in one piece.
const batch = 5000

// New makes a ledger without a file, which needs no Close.
func New() *Ledger { return newLedger(Options{}) }

func newLedger(o Options) *Ledger {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	l := &Ledger{
		file: o.File, log: o.Log, seed: maphash.MakeSeed(), tables: map[string]*table{}, writing: make(chan struct{}, 1),
		nextID: 1, told: map[string]time.Time{}, lastSeen: map[string]int64{},
	}
	l.writing <- struct{}{}
	return l
}

// Open makes a ledger and reads its file. The one error there is wraps ErrVersion: a file that can't be used for any
// other reason is told in the log, and the ledger begins without it.
func Open(o Options) (*Ledger, error) {
	l := newLedger(o)
	if o.File == nil {
		return l, nil
	}
	if err := l.attach(); errors.Is(err, ErrVersion) {
		return nil, fmt.Errorf("%s: %w", o.File.Name(), err)
	} else if err != nil {
		l.fail(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	l.stop = stop
	l.ended.Go(func() { l.run(ctx) })
	return l, nil
}

// Table implements filter.State.
func (l *Ledger) Table(name string, o filter.TableOptions) filter.Table {
	t := l.table(name)
	t.configure(o)
	return t
}

func (l *Ledger) table(name string) *table {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.tables[name]
	if t == nil {
		t = newTable(name, l.seed, l.file != nil)
		l.tables[name] = t
	}
	return t
}

// all lists the tables by name.
func (l *Ledger) all() []*table {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]*table, 0, len(l.tables))
	for _, t := range l.tables {
		all = append(all, t)
	}
	slices.SortFunc(all, func(a, b *table) int { return strings.Compare(a.name, b.name) })
	return all
}

// Usage is what a ledger holds and did.
type Usage struct {
	Durable  bool  // there is a file, and what is in memory is in it but for the last moments
	Written  int64 // rows that were written or removed
	Failed   int64 // writes that failed
	SetAside int64 // damaged files
	Tables   []TableUsage
}

// TableUsage is what a table holds and did.
type TableUsage struct {
	Name         string
	Records      int64
	Hits, Misses int64 // look-ups, changes among them, of a key that was known or not
	Evicted      int64 // records that gave way to newer ones
	Refused      int64 // records that were not taken, since the table is full of fresh ones
	Expired      int64 // records that were removed since their time was over
}

// Usage tells what the ledger holds.
func (l *Ledger) Usage() Usage {
	u := Usage{Durable: l.durable.Load(), Written: l.written.Load(), Failed: l.failed.Load(), SetAside: l.setAside.Load()}
	for _, t := range l.all() {
		u.Tables = append(u.Tables, t.usage())
	}
	return u
}

// Flush implements filter.State.
func (l *Ledger) Flush(ctx context.Context) error {
	if l.file == nil {
		return nil
	}
	select {
	case <-l.writing:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { l.writing <- struct{}{} }()
	if l.closed {
		return errClosed
	}
	return l.round(ctx, true)
}

// Close writes what is left, for ten seconds at most, and closes the file. After that the memory works on, without it.
func (l *Ledger) Close() error {
	if l.file == nil {
		return nil
	}
	l.stop()
	l.ended.Wait()
	<-l.writing
	defer func() { l.writing <- struct{}{} }()
	if l.closed {
		return nil
	}
	l.closed = true
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	err := l.round(ctx, true)
	l.durable.Store(false)
	if l.open {
		l.open = false
		err = errors.Join(err, l.file.Close())
	}
	return err
}
