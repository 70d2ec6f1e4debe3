package spool

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/postern-mail/postern/internal/store/storetest"
	"github.com/postern-mail/postern/mail"
)

// oneName is a file system on which a file has one name only.
type oneName struct{ *storetest.FS }

func (oneName) Link(string, string) error { return errors.ErrUnsupported }

// TestWithoutLinks: where files can't have two names each message has its own.
func TestWithoutLinks(t *testing.T) {
	f := disk()
	s, err := Open(dir, Options{FS: oneName{f}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	samples := []*sample{sampleOf("n-1", 10), sampleOf("n-2", 20), sampleOf("n-3", 30)}
	putTogether(t, s, samples...)
	if !s.alone.Load() {
		t.Error("the next ones try again to share a file")
	}
	samples = append(samples, sampleOf("n-4", 40))
	samples[3].keep(t, s)
	for _, x := range samples {
		if err := x.check(s); err != nil {
			t.Error(err)
		}
	}
	if n := sharedFiles(f); n != 0 || s.Usage().Entries != 4 {
		t.Errorf("%d share a file; usage %+v", n, s.Usage())
	}
	for path := range f.Files() {
		if strings.HasSuffix(path, tmpSuffix) {
			t.Errorf("%s is left", path)
		}
	}
}

// TestUnreadableNeighbour: content that can't be read fails its own message and none of those that come with it.
func TestUnreadableNeighbour(t *testing.T) {
	s := openOn(t, disk(), Options{})
	samples := []*sample{sampleOf("n-1", 10), sampleOf("n-2", 20), sampleOf("n-3", 30)}
	batch := batchOf(t, s, samples...)
	gone := mail.NewBlob(samples[1].original)
	gone.Release()
	batch[1].layout.original = gone
	s.commit(batch)
	for i, p := range batch {
		if (p.failure != nil) != (i == 1) {
			t.Errorf("%d: %v", i, p.failure)
		}
	}
	for _, i := range []int{0, 2} {
		if err := samples[i].check(s); err != nil {
			t.Error(err)
		}
	}
	if ids, err := s.IDs(); err != nil || len(ids) != 2 || s.Usage().Entries != 2 {
		t.Errorf("%v, %v, usage %+v", ids, err, s.Usage())
	}
}

// TestLargeInsertion: what does not fit into memory is read from the file, also when the entry is gone.
func TestLargeInsertion(t *testing.T) {
	for name, o := range map[string]Options{"memory": {FS: disk()}, "disk": {}} {
		t.Run(name, func(t *testing.T) {
			folder := dir
			if o.FS == nil {
				folder = t.TempDir()
			}
			s, err := Open(folder, o)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			for _, size := range []int{1000, largeOriginal + 1} {
				id := fmt.Sprintf("n-%d", size)
				original := mail.NewBlob(sampleOf(id, size).original)
				inserted := []byte(strings.Repeat("inserted\r\n", memory/8))
				m, err := mail.Compose(original, []mail.Run{
					{Blob: original, N: 500}, {Data: inserted, N: int64(len(inserted))}, {Blob: original, Off: 500, N: original.Size() - 500},
				})
				if err != nil {
					t.Fatal(err)
				}
				e := Entry{ID: id, Groups: []Group{{To: []Recipient{{Address: "a@example.org"}}}}}
				if err := s.Put(t.Context(), e, original, []*mail.Message{m}); err != nil {
					t.Fatal(err)
				}
				got, err := s.Message(id, 0)
				if err != nil {
					t.Fatal(err)
				}
				if err := s.Remove(id); err != nil {
					t.Fatal(err)
				}
				var want, have strings.Builder
				if _, err := m.WriteTo(&want); err != nil {
					t.Fatal(err)
				}
				if _, err := got.WriteTo(&have); err != nil || have.String() != want.String() {
					t.Errorf("%d octets of %d, %v", have.Len(), want.Len(), err)
				}
				got.Release()
				m.Release()
				original.Release()
			}
		})
	}
}

// TestManyAtOnce uses a store on the disk from many sides.
func TestManyAtOnce(t *testing.T) {
	s, err := Open(t.TempDir(), Options{MinFree: 1})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			for n := range 8 {
				x := sampleOf(fmt.Sprintf("g%d-%d", g, n), 2000*n)
				if n == 7 {
					x = sampleOf(x.entry.ID, largeOriginal+1)
				}
				b := mail.NewBlob(x.original)
				err := x.put(s, b)
				b.Release()
				if err == nil {
					err = s.Mark(x.entry.ID, Mark{Group: 0, To: []int{0}, State: Delivered})
				}
				if err == nil {
					err = x.check(s)
				}
				if err == nil && n%2 == 0 {
					err = s.Remove(x.entry.ID)
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	ids, err := s.IDs()
	if u := s.Usage(); err != nil || len(ids) != 64 || u.Entries != 64 {
		t.Errorf("%d ids, %v, usage %+v", len(ids), err, u)
	}
	for _, id := range ids {
		if err := s.Remove(id); err != nil {
			t.Error(err)
		}
	}
	if u := s.Usage(); u != (Usage{}) {
		t.Errorf("usage %+v of nothing", u)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	x := sampleOf("late-1", 10)
	b := mail.NewBlob(x.original)
	defer b.Release()
	if err := x.put(s, b); !errors.Is(err, errClosed) {
		t.Error(err)
	}
}

// batchOf makes what is given to commit of samples.
func batchOf(t *testing.T, s *Store, samples ...*sample) (batch []*putting) {
	t.Helper()
	for _, x := range samples {
		b := mail.NewBlob(x.original)
		t.Cleanup(b.Release)
		messages, err := x.messages(b)
		if err != nil {
			t.Fatal(err)
		}
		p, err := s.compile(t.Context(), x.entry, b, messages)
		if err == nil {
			err = p.sum()
		}
		if err != nil {
			t.Fatal(err)
		}
		batch = append(batch, p)
		for _, m := range messages {
			t.Cleanup(m.Release)
		}
	}
	return batch
}

// TestFailingBatch lets each operation of a batch fail, once and from there on: all of it fails, at once and not one by one, and nothing
// of it is there, neither then nor after a power cut, unless what was to take it back has failed as well: then it is there whole.
func TestFailingBatch(t *testing.T) {
	const many = 16
	samples := make([]*sample, many)
	for i := range samples {
		samples[i] = sampleOf(fmt.Sprintf("n-%d", i), 10*i)
	}
	for _, fault := range []error{syscall.EIO, syscall.ENOSPC, syscall.EROFS} {
		for _, times := range []int{1, 2, 1000} {
			for n, last := 1, false; !last; n++ {
				loss := storetest.Losses()[n%len(storetest.Losses())]
				f := disk()
				s := openOn(t, f, Options{})
				batch := batchOf(t, s, samples...)
				begin := f.Ops()
				f.FailFrom(n, times, fault, n%2 == 0)
				s.commit(batch)
				ops := f.Ops() - begin
				last = ops < n
				f.FailFrom(1, 0, nil, false)
				lingers := 0
				for i, p := range batch {
					if last && p.failure != nil || !last && !errors.Is(p.failure, fault) {
						t.Fatalf("operation %d fails %d times with %v: %d: %v", n, times, fault, i, p.failure)
					}
					if p.lingers {
						lingers++
					}
				}
				if ops > 2*many+10 {
					t.Fatalf("operation %d fails %d times with %v: %d operations", n, times, fault, ops)
				}
				want := 0
				if last {
					want = many
				}
				if ids, err := s.IDs(); err != nil || len(ids) != want && lingers == 0 || lingers > 0 && times == 1 {
					t.Fatalf("operation %d fails %d times with %v: %d entries of %d, %d linger, %v", n, times, fault, len(ids), want, lingers, err)
				}
				f.CutAt(1)
				s.Close()
				f.Reboot(loss, uint64(n))
				s = openOn(t, f, Options{})
				ids, err := s.IDs()
				if err != nil || len(ids) != want && lingers == 0 {
					t.Fatalf("operation %d fails %d times with %v, and then the power: %d entries of %d, %v\n%s", n, times, fault, len(ids), want, err, strings.Join(f.Log(), "\n"))
				}
				for _, x := range samples {
					if err := x.check(s); err != nil && !errors.Is(err, ErrNotFound) {
						t.Fatalf("operation %d fails %d times with %v, and then the power: %v", n, times, fault, err)
					}
				}
				s.Close()
			}
		}
	}
}
