package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/internal/peertest/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

// fakeFile is a File that fails as it is told to.
type fakeFile struct {
	mu       sync.Mutex
	rows     map[uint32]Row
	isOpen   bool
	openErr  error
	loadErr  error // after half of the rows
	writeErr error
	writes   int
	aside    int
}

func newFake() *fakeFile { return &fakeFile{rows: map[uint32]Row{}} }

func (f *fakeFile) Name() string { return "fake" }

func (f *fakeFile) Open() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.isOpen = f.openErr == nil
	return f.openErr
}

func (f *fakeFile) Load(each func(Row)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	ids := slices.Sorted(maps.Keys(f.rows))
	if f.loadErr != nil {
		ids = ids[:len(ids)/2]
	}
	for _, id := range ids {
		each(f.rows[id])
	}
	return f.loadErr
}

func (f *fakeFile) Write(rows []Row) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.writes++
	if !f.isOpen {
		panic("write to a file that is not open")
	}
	if f.writeErr != nil {
		return f.writeErr
	}
	for _, r := range rows {
		if r.Gone {
			delete(f.rows, r.ID)
		} else {
			f.rows[r.ID] = r
		}
	}
	return nil
}

func (f *fakeFile) SetAside() (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.aside++
	f.rows, f.loadErr, f.writeErr, f.openErr, f.isOpen = map[uint32]Row{}, nil, nil, nil, false
	return "fake.damaged", nil
}

func (f *fakeFile) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.isOpen = false
	return nil
}

// set changes how the file behaves.
func (f *fakeFile) set(change func(*fakeFile)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

// records gives what is in the file of a table: counts by key.
func (f *fakeFile) records(t *testing.T, table string) map[filter.Digest]int64 {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	all := map[filter.Digest]int64{}
	for _, r := range f.rows {
		if r.Table != table {
			continue
		}
		if _, twice := all[r.Key]; twice {
			t.Errorf("%x is in the file twice", r.Key)
		}
		all[r.Key] = r.Count
	}
	return all
}

func key(i int) filter.Digest { return filter.DigestOf(fmt.Sprint(i)) }

// count is a change that adds one.
func count(keep time.Duration) func(filter.Record, bool) filter.Record {
	return func(r filter.Record, known bool) filter.Record {
		now := time.Now()
		if !known {
			r.First = now
		}
		r.Last, r.Expires = now, now.Add(keep)
		r.Count++
		return r
	}
}

func mustOpen(t *testing.T, f File, log *bytes.Buffer) *Ledger {
	t.Helper()
	o := Options{File: f}
	if log != nil {
		o.Log = slog.New(slog.NewTextHandler(log, nil))
	}
	l, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tab := New().Table("x", filter.TableOptions{})
		if _, ok := tab.Get(key(1)); ok {
			t.Error("an empty table knows a key")
		}
		began := time.Now()
		if r, err := tab.Update(key(1), count(time.Hour)); err != nil || r.Count != 1 || !r.First.Equal(began) {
			t.Errorf("%+v, %v", r, err)
		}
		time.Sleep(time.Minute)
		if r, err := tab.Update(key(1), count(time.Hour)); err != nil || r.Count != 2 || !r.First.Equal(began) || !r.Last.Equal(began.Add(time.Minute)) {
			t.Errorf("%+v, %v", r, err)
		}
		time.Sleep(time.Hour - time.Second)
		if r, ok := tab.Get(key(1)); !ok || r.Count != 2 {
			t.Errorf("%+v before its end", r)
		}
		time.Sleep(time.Second)
		if r, ok := tab.Get(key(1)); ok {
			t.Errorf("%+v after its end", r)
		}
		if r, _ := tab.Update(key(1), count(time.Hour)); r.Count != 1 {
			t.Errorf("%+v goes on after its end", r)
		}
		if _, err := tab.Update(key(1), func(filter.Record, bool) filter.Record { return filter.Record{} }); err != nil {
			t.Error(err)
		}
		if r, ok := tab.Get(key(1)); ok {
			t.Errorf("%+v was removed", r)
		}
		if r := (filter.Record{Expires: time.Now().Add(time.Millisecond)}); true {
			got, _ := tab.Update(key(2), func(filter.Record, bool) filter.Record { return r })
			if !got.First.IsZero() || !got.Last.IsZero() || got.Expires.Before(r.Expires) {
				t.Errorf("%+v", got)
			}
		}
	})
}

// TestBounds: the oldest gives way, and where it is too young the new one is not taken.
func TestBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most = 10_000
		l := New()
		tab := l.Table("x", filter.TableOptions{Most: most})
		_, _ = tab.Update(key(0), count(time.Hour))
		for i := range 4 * most {
			if _, err := tab.Update(key(i+1), count(time.Hour)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
			_, _ = tab.Update(key(0), count(time.Hour)) // never the oldest
		}
		u := l.Usage().Tables[0]
		if u.Records < most || u.Records > most+shards || u.Evicted != 4*most+1-u.Records {
			t.Errorf("%+v", u)
		}
		if r, ok := tab.Get(key(0)); !ok || r.Count != 4*most+1 {
			t.Errorf("what was in use gave way: %+v", r)
		}
		for i := range most / 4 { // the parts are not of one size: of the older ones some are gone
			if _, ok := tab.Get(key(4*most - i)); !ok {
				t.Errorf("record %d from the end gave way", i)
			}
		}
		l.Table("x", filter.TableOptions{Most: 1000})
		if u := l.Usage().Tables[0]; u.Records > 1000+shards {
			t.Errorf("after a lower bound: %+v", u)
		}

		tab = l.Table("y", filter.TableOptions{Most: most, Fresh: time.Minute})
		var refused int
		for i := range 2 * most {
			if _, err := tab.Update(key(i), count(time.Hour)); errors.Is(err, filter.ErrTableFull) {
				refused++
			}
		}
		if refused < most-shards || refused > most {
			t.Errorf("%d of %d were refused", refused, 2*most)
		}
		if _, err := tab.Update(key(0), count(time.Hour)); err != nil {
			t.Errorf("a record that is there: %v", err)
		}
		time.Sleep(time.Minute)
		if _, err := tab.Update(key(-1), count(time.Hour)); err != nil {
			t.Errorf("when the old ones are no longer fresh: %v", err)
		}
	})
}

func TestChangeThatPanics(t *testing.T) {
	tab := New().Table("x", filter.TableOptions{})
	func() {
		defer func() { _ = recover() }()
		_, _ = tab.Update(key(1), func(filter.Record, bool) filter.Record { panic("x") })
	}()
	if r, err := tab.Update(key(1), count(time.Hour)); err != nil || r.Count != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestRestart: what was written is there again, and so is the order in which it gives way.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		l := mustOpen(t, f, nil)
		tab := l.Table("x", filter.TableOptions{})
		lazy := l.Table("lazy", filter.TableOptions{Lazy: true})
		for i := range 3000 {
			_, _ = tab.Update(key(i), count(time.Hour))
		}
		_, _ = tab.Update(key(0), count(time.Minute))
		time.Sleep(3 * time.Second)
		synctest.Wait()
		_, _ = lazy.Update(key(1), count(time.Hour))
		if n := len(f.records(t, "x")); n != 3000 {
			t.Errorf("%d records in the file after a round", n)
		}
		writes := f.writes
		for range 10 {
			_, _ = tab.Update(key(7), count(time.Hour))
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if f.writes != writes+1 || f.records(t, "x")[key(7)] != 11 || len(f.records(t, "lazy")) != 0 {
			t.Errorf("%d writes for one record, %d counted, %d counters", f.writes-writes, f.records(t, "x")[key(7)], len(f.records(t, "lazy")))
		}
		time.Sleep(lazyEvery)
		synctest.Wait()
		if len(f.records(t, "lazy")) != 1 {
			t.Error("counters are not written")
		}
		_, _ = lazy.Update(key(1), count(time.Hour))
		for i := 8; i < 100; i++ { // the newest
			_, _ = tab.Update(key(i), count(time.Hour))
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if f.records(t, "lazy")[key(1)] != 2 {
			t.Error("the last changes were not written at the end")
		}

		time.Sleep(time.Minute)
		l = mustOpen(t, f, nil)
		tab = l.Table("x", filter.TableOptions{Most: 2000}) // of which a part has 31: more of the newest than ever are in one
		if u := l.Usage(); u.Tables[1].Records > 2000+shards || !u.Durable {
			t.Errorf("%+v", u)
		}
		for i := 8; i < 100; i++ {
			if r, ok := tab.Get(key(i)); !ok || r.Count != 2 {
				t.Errorf("one of the newest is not there: %+v, %v", r, ok)
			}
		}
		if _, ok := tab.Get(key(0)); ok {
			t.Error("what has expired is there")
		}
		if r, ok := l.Table("lazy", filter.TableOptions{}).Get(key(1)); !ok || r.Count != 2 {
			t.Errorf("%+v", r)
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if n := int64(len(f.records(t, "x"))); n != l.Usage().Tables[1].Records {
			t.Errorf("%d records in the file, %d in memory", n, l.Usage().Tables[1].Records)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestRowsAreUsedAgain: the file has no more rows than there were records at once.
func TestRowsAreUsedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, most := newFake(), uint32(0)
		for range 6 {
			l := mustOpen(t, f, nil)
			tab := l.Table("x", filter.TableOptions{})
			for range 20 {
				for i := range 100 {
					_, _ = tab.Update(filter.DigestOf(fmt.Sprint(i), time.Now().String()), count(3*time.Minute))
				}
				time.Sleep(time.Minute + time.Second)
				synctest.Wait()
				most = max(most, slices.Max(slices.Collect(maps.Keys(f.rows))))
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Minute) // in which most of them expire
		}
		if most > 600 {
			t.Errorf("row %d for some 400 records", most)
		}
	})
}

// TestFileOutOfReach: the memory works without its file, says so once, and the file gets all when it is back.
func TestFileOutOfReach(t *testing.T) {
	for _, c := range []struct {
		name         string
		break_, mend func(*fakeFile)
	}{
		{"locked", func(f *fakeFile) { f.openErr = errors.New("locked") }, func(f *fakeFile) { f.openErr = nil }},
		{"full", func(f *fakeFile) { f.writeErr = errors.New("full") }, func(f *fakeFile) { f.writeErr = nil }},
		{"can't be read", func(f *fakeFile) { f.loadErr = errors.New("i/o") }, func(f *fakeFile) { f.loadErr = nil }},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, log := newFake(), &bytes.Buffer{}
				l := mustOpen(t, f, nil)
				tab := l.Table("x", filter.TableOptions{})
				for i := range 10 {
					_, _ = tab.Update(key(i), count(24*time.Hour))
				}
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}

				f.set(c.break_)
				l = mustOpen(t, f, log)
				tab = l.Table("x", filter.TableOptions{})
				for i := 5; i < 20; i++ {
					_, _ = tab.Update(key(i), count(24*time.Hour))
				}
				if _, ok := tab.Get(key(15)); !ok {
					t.Error("not remembered")
				}
				time.Sleep(time.Hour)
				synctest.Wait()
				if u := l.Usage(); u.Durable || c.name == "full" && u.Failed == 0 {
					t.Errorf("%+v", u)
				}
				if err := l.Flush(t.Context()); err == nil {
					t.Error("Flush says that it is written")
				}
				if n := strings.Count(log.String(), "can't be used"); n != 1 {
					t.Errorf("told %d times:\n%s", n, log)
				}
				want := 19
				_, _ = tab.Update(key(12), func(filter.Record, bool) filter.Record { return filter.Record{} })
				if c.name == "full" { // it has been read, so that what is removed is known to be
					_, _ = tab.Update(key(3), func(filter.Record, bool) filter.Record { return filter.Record{} })
					want--
				}
				f.set(c.mend)
				time.Sleep(maxPause + 2*writeEvery)
				synctest.Wait()
				got := f.records(t, "x")
				if len(got) != want || !l.Usage().Durable || !strings.Contains(log.String(), "in use again") {
					t.Errorf("%d records when it is back, %+v\n%s", len(got), l.Usage(), log)
				}
				if _, ok := tab.Get(key(2)); !ok {
					t.Error("what was in the file is not known")
				}
				for i := range 20 {
					if r, _ := tab.Get(key(i)); r.Count != got[key(i)] {
						t.Errorf("record %d: %d in the file, %d in memory", i, got[key(i)], r.Count)
					}
				}
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

// TestDamage: a damaged file is set aside, whenever that shows, and what is known goes into the new one.
func TestDamage(t *testing.T) {
	damaged := fmt.Errorf("checksum: %w", ErrDamaged)
	for _, c := range []struct {
		name   string
		break_ func(*fakeFile)
		kept   int
	}{
		{"at the start", func(f *fakeFile) { f.openErr = damaged }, 0},
		{"amid the rows", func(f *fakeFile) { f.loadErr = damaged }, 50},
		{"at a write", func(f *fakeFile) { f.writeErr = damaged }, 100},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, log := newFake(), &bytes.Buffer{}
				l := mustOpen(t, f, nil)
				for i := range 100 {
					_, _ = l.Table("x", filter.TableOptions{}).Update(key(i), count(time.Hour))
				}
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
				f.set(c.break_)
				l = mustOpen(t, f, log)
				_, _ = l.Table("x", filter.TableOptions{}).Update(key(1000), count(time.Hour))
				if err := l.Flush(t.Context()); err != nil {
					t.Error(err)
				}
				u := l.Usage()
				if got := f.records(t, "x"); len(got) != c.kept+1 || !u.Durable || u.SetAside != 1 || f.aside != 1 {
					t.Errorf("%d records, %+v", len(got), u)
				}
				if !strings.Contains(log.String(), "level=ERROR") || !strings.Contains(log.String(), "renamed=fake.damaged") {
					t.Errorf("the log says %s", log)
				}
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

func TestNewerVersion(t *testing.T) {
	f := newFake()
	f.openErr = fmt.Errorf("x: %w", ErrVersion)
	if _, err := Open(Options{File: f}); !errors.Is(err, ErrVersion) {
		t.Errorf("%v", err)
	}
}

// TestFullTableIsTold in the log, and not with every record.
func TestFullTableIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &bytes.Buffer{}
		l := mustOpen(t, newFake(), log)
		tab := l.Table("x", filter.TableOptions{Most: 10})
		for i := range 90 * 60 {
			_, _ = tab.Update(key(i), count(time.Hour))
			time.Sleep(time.Second)
		}
		synctest.Wait()
		if n := strings.Count(log.String(), "is full"); n != 2 {
			t.Errorf("told %d times in 90 minutes", n)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestFlushWaitsNoLongerThanItsContext(t *testing.T) {
	l := mustOpen(t, newFake(), nil)
	<-l.writing
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Flush(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	l.writing <- struct{}{}
	if err := errors.Join(l.Close(), l.Close()); err != nil {
		t.Fatal(err)
	}
	if err := l.Flush(t.Context()); err == nil {
		t.Error("what is closed says that it has written")
	}
}

// TestTogether has many change few records while the file fails now and then, and expects that nothing is lost.
func TestTogether(t *testing.T) {
	f := newFake()
	l := mustOpen(t, f, nil)
	tab := l.Table("x", filter.TableOptions{})
	var group sync.WaitGroup
	for g := range 8 {
		group.Go(func() {
			for i := range 2000 {
				_, _ = tab.Update(key(i%100), count(time.Hour))
				_, _ = tab.Update(filter.DigestOf("own", fmt.Sprint(g, i)), count(time.Hour))
				if i%2 == 0 {
					_, _ = tab.Update(filter.DigestOf("own", fmt.Sprint(g, i)), func(filter.Record, bool) filter.Record { return filter.Record{} })
				}
				tab.Get(key(i))
			}
		})
	}
	group.Go(func() {
		for i := range 200 {
			f.set(func(f *fakeFile) {
				if f.writeErr = nil; i%5 == 0 {
					f.writeErr = errors.New("full")
				}
			})
			_ = l.Flush(context.Background())
			l.sweep()
			l.Usage()
		}
	})
	group.Wait()
	f.set(func(f *fakeFile) { f.writeErr = nil })
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	got := f.records(t, "x")
	if len(got) != 100+8*1000 {
		t.Errorf("%d records", len(got))
	}
	for i := range 100 {
		if got[key(i)] != 160 {
			t.Errorf("record %d has %d", i, got[key(i)])
		}
	}
}
