package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/store"
	"github.com/postern-mail/postern/mail"
)

// BenchmarkPut takes messages of 16 KB from 1, 20 and 100 sessions at a time on the disk of the temporary folder:
//
//	go test ./internal/spool -run - -bench Put -benchtime 3s
func BenchmarkPut(b *testing.B) {
	for _, sessions := range []int{1, 20, 100} {
		b.Run(fmt.Sprintf("%d sessions", sessions), func(b *testing.B) { benchmarkPut(b, sessions, store.OS) })
	}
}

// BenchmarkPutSlowDisk is BenchmarkPut for 20 sessions and a disk that does one sync at a time, and so many a second:
//
//	go test ./internal/spool -run - -bench PutSlowDisk -benchtime 3s
func BenchmarkPutSlowDisk(b *testing.B) {
	for _, syncs := range []int{250, 500} {
		b.Run(fmt.Sprintf("%d syncs a second", syncs), func(b *testing.B) {
			benchmarkPut(b, 20, &slowDisk{FS: store.OS, each: time.Second / time.Duration(syncs)})
		})
	}
}

// slowDisk is a file system whose syncs take their time, one after the other.
type slowDisk struct {
	store.FS
	each time.Duration
	mu   sync.Mutex
}

func (d *slowDisk) slow(sync func() error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	end := time.Now().Add(d.each)
	err := sync()
	time.Sleep(time.Until(end))
	return err
}

func (d *slowDisk) SyncDir(name string) error {
	return d.slow(func() error { return d.FS.SyncDir(name) })
}

func (d *slowDisk) OpenFile(name string, flag int, perm fs.FileMode) (store.File, error) {
	f, err := d.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &slowFile{File: f, disk: d}, nil
}

type slowFile struct {
	store.File
	disk *slowDisk
}

func (f *slowFile) Sync() error { return f.disk.slow(f.File.Sync) }

// TryLock implements what store.TryLock asks of a file that is none of the system's.
func (f *slowFile) TryLock() (bool, error) { return store.TryLock(f.File) }

func benchmarkPut(b *testing.B, sessions int, disk store.FS) {
	s, err := Open(b.TempDir(), Options{MinFree: 1 << 20, FS: disk})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	x := sampleOf("n", 16<<10)
	blob := mail.NewBlob(x.original)
	defer blob.Release()
	whole := mail.NewMessage(blob)
	defer whole.Release()
	m := whole.Prepend([]byte("Received: from here\r\n\tby there\r\n"))
	defer m.Release()
	e := x.entry
	e.Groups = e.Groups[:1]
	var left atomic.Int64
	left.Store(int64(b.N))
	b.ReportAllocs()
	b.ResetTimer()
	start := time.Now()
	var wg sync.WaitGroup
	for range sessions {
		wg.Go(func() {
			for e := e; left.Add(-1) >= 0; {
				e.ID = mail.NewID("bench")
				if err := s.Put(b.Context(), e, blob, []*mail.Message{m}); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "messages/s")
	b.StopTimer()
}

// BenchmarkCrowdedFolder opens a folder of 100 000 messages, lists it, and loads entries one by one:
//
//	go test ./internal/spool -run - -bench CrowdedFolder -benchtime 3x -timeout 30m
func BenchmarkCrowdedFolder(b *testing.B) {
	const many = 100_000
	dir := b.TempDir()
	s, err := Open(dir, Options{})
	if err != nil {
		b.Fatal(err)
	}
	fill(b, s, many)
	ids, err := s.IDs()
	if err = errors.Join(err, s.Close()); err != nil || len(ids) != many {
		b.Fatalf("%d entries, %v", len(ids), err)
	}
	b.Run("open", func(b *testing.B) {
		var most uint64
		for b.Loop() {
			runtime.GC()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			s, err := Open(dir, Options{})
			if err == nil {
				ids, err = s.IDs()
			}
			if err != nil {
				b.Fatal(err)
			}
			runtime.ReadMemStats(&after)
			most = max(most, after.HeapAlloc-min(before.HeapAlloc, after.HeapAlloc))
			s.Close()
		}
		b.ReportMetric(float64(most)/(1<<20), "MB-heap")
	})
	if s, err = Open(dir, Options{}); err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	b.Run("load", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if _, err := s.Load(ids[i%len(ids)]); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("message", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			m, err := s.Message(ids[i%len(ids)], 0)
			if err != nil {
				b.Fatal(err)
			}
			m.Release()
		}
	})
	b.Run("remove", func(b *testing.B) {
		for i := 0; b.Loop() && i < many; i++ {
			if err := s.Remove(ids[i]); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// fill puts so many messages of 4 KB.
func fill(b *testing.B, s *Store, many int64) {
	b.Helper()
	x := sampleOf("n", 4<<10)
	blob := mail.NewBlob(x.original)
	defer blob.Release()
	m := mail.NewMessage(blob)
	defer m.Release()
	e := x.entry
	e.Groups = e.Groups[:1]
	var left atomic.Int64
	left.Store(many)
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			for e := e; left.Add(-1) >= 0; {
				e.ID = mail.NewID("bench")
				if err := s.Put(b.Context(), e, blob, []*mail.Message{m}); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}
