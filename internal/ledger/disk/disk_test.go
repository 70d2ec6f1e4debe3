package disk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/internal/ledger"
	"github.com/postern-mail/postern/internal/peertest/leaks"
)

func TestMain(m *testing.M) { leaks.Main(m) }

func row(i int) ledger.Row {
	return ledger.Row{
		ID: uint32(i + 1), Table: "greylist/" + fmt.Sprint(i%3), Key: filter.DigestOf(fmt.Sprint(i)),
		First: int64(i) * 1e6, Last: -1, Count: 1 << 60, Expires: 1<<32 - 1, Updated: uint32(i),
	}
}

func rows(n int) (all []ledger.Row) {
	for i := range n {
		all = append(all, row(i))
	}
	return all
}

// filled makes a file with n rows, and closes it.
func filled(t *testing.T, path string, n int) {
	t.Helper()
	f := New(path)
	if err := errors.Join(f.Open(), f.Write(rows(n)), f.Close()); err != nil {
		t.Fatal(err)
	}
}

func loaded(f *File) (all []ledger.Row, err error) {
	err = f.Load(func(r ledger.Row) { all = append(all, r) })
	return all, err
}

func TestRowsComeBack(t *testing.T) {
	for _, name := range []string{"memory.db", "a b?c=d#e%20f&g'h.db", "ü.db", ":memory:"} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), name)
			f := New(path)
			if err := f.Open(); err != nil {
				t.Fatal(err)
			}
			if err := f.Write(rows(100)); err != nil {
				t.Fatal(err)
			}
			changed := row(5)
			changed.Count = 7
			if err := f.Write([]ledger.Row{{ID: 1, Gone: true}, {ID: 999, Gone: true}, changed}); err != nil {
				t.Fatal(err)
			}
			want := rows(100)[1:]
			want[4] = changed
			for range 2 {
				got, err := loaded(f)
				if err != nil || !slices.Equal(got, want) {
					t.Errorf("%d rows, %v", len(got), err)
				}
				if err := errors.Join(f.Close(), f.Open()); err != nil {
					t.Fatal(err)
				}
			}
			info, err := os.Stat(path)
			if err != nil || info.Mode() != 0o600 {
				t.Errorf("%v, %v", info, err)
			}
			if err := errors.Join(f.Close(), f.Close()); err != nil {
				t.Error(err)
			}
			if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*")); len(left) != 1 {
				t.Errorf("%q are left", left)
			}
		})
	}
}

func TestVersion(t *testing.T) {
	path := filepath.Join(t.TempDir(), "memory.db")
	f := New(path)
	if err := errors.Join(f.Open(), f.exec("PRAGMA user_version=2"), f.Close()); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Open(); !errors.Is(err, ledger.ErrVersion) || errors.Is(err, ledger.ErrDamaged) {
		t.Errorf("%v", err)
	}
	if after, err := os.ReadFile(path); err != nil || !slices.Equal(before, after) {
		t.Errorf("a newer file was changed, %v", err)
	}
}

// TestDamage: whatever is wrong with a file shows when it is opened, read or written, and a new one takes its place.
func TestDamage(t *testing.T) {
	overwrite := func(t *testing.T, path string, at int64, data []byte) {
		t.Helper()
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.WriteAt(data, at)
		if err = errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	garbage := []byte(strings.Repeat("\xde\xad\xbe\xef", 1024))
	for name, spoil := range map[string]func(t *testing.T, path string){
		"text": func(t *testing.T, path string) {
			overwrite(t, path, 0, []byte("this is no database, and never was one"))
		},
		"page":       func(t *testing.T, path string) { overwrite(t, path, 5*4096, garbage) },
		"zeros":      func(t *testing.T, path string) { overwrite(t, path, 4096, make([]byte, 40*4096)) },
		"first page": func(t *testing.T, path string) { overwrite(t, path, 100, garbage) },
		"cut off": func(t *testing.T, path string) {
			if err := os.Truncate(path, 10000); err != nil {
				t.Fatal(err)
			}
		},
		"another's": func(t *testing.T, path string) {
			f := New(path)
			if err := errors.Join(f.Open(), f.exec("PRAGMA application_id=0"), f.Close()); err != nil {
				t.Fatal(err)
			}
		},
		"no table": func(t *testing.T, path string) {
			f := New(path)
			if err := errors.Join(f.Open(), f.exec("ALTER TABLE records DROP COLUMN count"), f.Close()); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "memory.db")
			if err := os.WriteFile(path+damagedSuffix+"-wal", []byte("of an older damage"), 0o600); err != nil {
				t.Fatal(err)
			}
			filled(t, path, 3000)
			spoil(t, path)
			f := New(path)
			err := f.Open()
			if err == nil {
				_, err = loaded(f)
			}
			if err == nil {
				err = f.Write(rows(4000))
			}
			if !errors.Is(err, ledger.ErrDamaged) {
				t.Errorf("%v", err)
			}
			aside, err := f.SetAside()
			if err != nil {
				t.Fatal(err)
			}
			if info, err := os.Stat(aside); err != nil || info.Size() == 0 {
				t.Errorf("%v, %v", info, err)
			}
			if left, _ := filepath.Glob(path + "*"); len(left) != 1 {
				t.Errorf("%q are left", left)
			}
			if err := errors.Join(f.Open(), f.Write(rows(10)), f.Close()); err != nil {
				t.Errorf("a new one: %v", err)
			}
		})
	}
}

// TestRowsWithoutSense are passed over.
func TestRowsWithoutSense(t *testing.T) {
	f := New(filepath.Join(t.TempDir(), "memory.db"))
	if err := errors.Join(f.Open(), f.Write(rows(5)),
		f.exec("UPDATE records SET key='short' WHERE id=1", "UPDATE records SET expires=-1 WHERE id=2", "UPDATE records SET tab=99 WHERE id=3",
			"UPDATE records SET count='many' WHERE id=4", "INSERT INTO records SELECT 1<<40, tab, key, first, last, count, expires, updated FROM records WHERE id=5"),
	); err != nil {
		t.Fatal(err)
	}
	if got, err := loaded(f); err != nil || len(got) != 1 || got[0] != row(4) {
		t.Errorf("%v, %v", got, err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestOutOfReach: what is no damage is not taken for one.
func TestOutOfReach(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "memory.db")
	holder := New(path)
	if err := errors.Join(holder.Open(), holder.Write(rows(1))); err != nil {
		t.Fatal(err)
	}
	f := New(path)
	began := time.Now()
	if err := f.Open(); err == nil || errors.Is(err, ledger.ErrDamaged) || time.Since(began) > 20*time.Second {
		t.Errorf("locked: %v after %s", err, time.Since(began))
	}
	if err := holder.Write(rows(2)); err != nil {
		t.Errorf("the holder: %v", err)
	}
	if err := errors.Join(holder.Close(), f.Open(), f.Close()); err != nil {
		t.Errorf("after the holder has gone: %v", err)
	}
	for name, path := range map[string]string{"a folder": dir, "no folder": filepath.Join(dir, "no", "memory.db")} {
		if err := New(path).Open(); err == nil || errors.Is(err, ledger.ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestFullDisk: rows that have no room are not there, all the others are, and there is room again.
func TestFullDisk(t *testing.T) {
	f := New(filepath.Join(t.TempDir(), "memory.db"))
	if err := errors.Join(f.Open(), f.Write(rows(1000)), f.exec("PRAGMA max_page_count=40")); err != nil {
		t.Fatal(err)
	}
	if err := f.Write(rows(5000)); err == nil || errors.Is(err, ledger.ErrDamaged) {
		t.Errorf("%v", err)
	}
	if got, err := loaded(f); err != nil || len(got) != 1000 {
		t.Errorf("%d rows, %v", len(got), err)
	}
	if err := errors.Join(f.exec("PRAGMA max_page_count=4000"), f.Write(rows(5000)), f.Close()); err != nil {
		t.Error(err)
	}
}

// TestPowerCut copies the files as they are amid the writing, and opens the copies: each has the rows of some commit.
func TestPowerCut(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "memory.db")
	f := New(path)
	if err := errors.Join(f.Open(), f.exec("PRAGMA wal_autocheckpoint=40")); err != nil { // so that some copies fall amid one
		t.Fatal(err)
	}
	most := 0
	for n := range 40 {
		all := rows(500)
		for i := range all {
			all[i].Count = int64(n)
		}
		if err := f.Write(all); err != nil {
			t.Fatal(err)
		}
		if n%3 != 0 {
			continue
		}
		copied := filepath.Join(dir, fmt.Sprint("copy", n))
		for _, suffix := range []string{"-wal", ""} { // what comes last is newest
			data, err := os.ReadFile(path + suffix)
			if err != nil {
				t.Fatal(err)
			}
			if suffix == "-wal" && n%2 == 0 {
				data = data[:len(data)*3/4] // and its end did not reach the disk
			}
			if err := os.WriteFile(copied+suffix, data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		c := New(copied)
		if err := c.Open(); err != nil {
			t.Errorf("copy %d: %v", n, err)
			continue
		}
		got, err := loaded(c)
		if err != nil {
			t.Errorf("copy %d: %v", n, err)
		}
		most = max(most, len(got))
		for _, r := range got {
			if r.Count != got[0].Count {
				t.Errorf("copy %d has rows of two commits", n)
				break
			}
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	if most != 500 {
		t.Errorf("at most %d rows", most)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestLedger puts both together, over two restarts.
func TestLedger(t *testing.T) {
	path := filepath.Join(t.TempDir(), "memory.db")
	const n = 6_000
	for life := range 3 {
		l, err := ledger.Open(ledger.Options{File: New(path)})
		if err != nil {
			t.Fatal(err)
		}
		tab := l.Table("x", filter.TableOptions{})
		for i := range n {
			r, err := tab.Update(filter.DigestOf(fmt.Sprint(i)), func(r filter.Record, _ bool) filter.Record {
				r.Count++
				r.Expires = time.Now().Add(time.Hour)
				return r
			})
			if err != nil || r.Count != int64(life+1) {
				t.Fatalf("life %d: %+v, %v", life, r, err)
			}
		}
		if err := l.Flush(t.Context()); err != nil {
			t.Error(err)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
}

func BenchmarkWrite(b *testing.B) {
	f := New(filepath.Join(b.TempDir(), "memory.db"))
	if err := f.Open(); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		all := rows(5000)
		for j := range all {
			all[j].ID += uint32(i%100) * 5000
		}
		if err := f.Write(all); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/5000, "ns/row")
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkLoad opens a ledger of a million records.
func BenchmarkLoad(b *testing.B) {
	path := filepath.Join(b.TempDir(), "memory.db")
	f := New(path)
	if err := errors.Join(f.Open(), f.Write(rows(1_000_000)), f.Close()); err != nil {
		b.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		l, err := ledger.Open(ledger.Options{File: f})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if n := l.Usage().Tables[0].Records; n < 300_000 {
			b.Fatalf("%d records", n)
		}
		if err := l.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(info.Size())/1e6, "file-MB")
}
