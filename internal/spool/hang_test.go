package spool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postern-mail/postern/internal/store"
	"github.com/postern-mail/postern/internal/store/storetest"
	"github.com/postern-mail/postern/mail"
)

// hanging is a file system one of whose operations does not return before it is let go.
type hanging struct {
	*storetest.FS
	mu    sync.Mutex
	op    string
	until chan struct{}
}

// hang lets an operation hang from now on, until the func that it gives is called.
func (h *hanging) hang(op string) (letGo func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.op, h.until = op, make(chan struct{})
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.op = ""
		close(h.until)
	}
}

func (h *hanging) wait(op string) {
	h.mu.Lock()
	hangs, until := h.op == op, h.until
	h.mu.Unlock()
	if hangs {
		<-until
	}
}

func (h *hanging) OpenFile(name string, flag int, perm fs.FileMode) (store.File, error) {
	if flag&os.O_CREATE != 0 {
		h.wait("open")
	}
	f, err := h.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return hangingFile{f, h}, nil
}

func (h *hanging) Stat(name string) (fs.FileInfo, error) { h.wait("stat"); return h.FS.Stat(name) }
func (h *hanging) Rename(a, b string) error              { h.wait("rename"); return h.FS.Rename(a, b) }
func (h *hanging) Link(a, b string) error                { h.wait("link"); return h.FS.Link(a, b) }
func (h *hanging) SyncDir(name string) error             { h.wait("syncdir"); return h.FS.SyncDir(name) }
func (h *hanging) Free(name string) (int64, error)       { h.wait("free"); return h.FS.Free(name) }

type hangingFile struct {
	store.File
	h *hanging
}

func (f hangingFile) Write(p []byte) (int, error) { f.h.wait("write"); return f.File.Write(p) }
func (f hangingFile) TryLock() (bool, error)      { return store.TryLock(f.File) }

func (f hangingFile) Sync() error {
	f.h.wait("sync")
	time.Sleep(time.Millisecond) // so that some come together
	return f.File.Sync()
}

// TestHangingDisk: whichever operation hangs, those who put learn it when their time is over; what they put is nowhere to be
// seen, neither then nor when the disk is back, and can be put once more.
func TestHangingDisk(t *testing.T) {
	const patience, crowd = time.Minute, 10
	for _, op := range []string{"free", "stat", "open", "write", "sync", "link", "rename", "syncdir"} {
		t.Run(op, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &hanging{FS: disk()}
				s, err := Open(dir, Options{FS: h, MinFree: 1})
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				s.large = smallLarge
				before := sampleOf("before-1", 100)
				before.keep(t, s)
				letGo := h.hang(op)
				defer func() { letGo() }()
				begin := time.Now()
				var wg sync.WaitGroup
				var acked atomic.Int64
				for i := range 3 * crowd {
					x := sampleOf(fmt.Sprintf("n-%d", i), 100+i%4*smallLarge/3)
					wg.Go(func() {
						time.Sleep(time.Duration(i/crowd) * patience / 4)
						ctx, cancel := context.WithTimeout(t.Context(), patience)
						defer cancel()
						switch err := putWith(ctx, s, x); {
						case op == "link" && err == nil: // it came alone
							acked.Add(1)
						case !errors.Is(err, context.DeadlineExceeded):
							t.Errorf("%d: %v", i, err)
						}
					})
				}
				wg.Wait()
				if took := time.Since(begin); took != patience+patience/2 || acked.Load() > 1 {
					t.Errorf("it took %v, and %d are acknowledged", took, acked.Load())
				}
				lone := func(when string) {
					t.Helper()
					if ids, err := s.IDs(); err != nil || len(ids) != 1+int(acked.Load()) {
						t.Errorf("%s: ids %v, %v", when, ids, err)
					}
					if _, err := s.Load("n-29"); !errors.Is(err, ErrNotFound) {
						t.Errorf("%s: %v", when, err)
					}
				}
				lone("while it hangs")
				letGo()
				letGo = func() {}
				time.Sleep(2 * removalDelay)
				synctest.Wait()
				lone("when it is back")
				if s.left != 0 || s.reserved != 0 || len(s.hidden) != 0 || s.Usage().Entries != 1+int(acked.Load()) {
					t.Errorf("%d left, %d octets reserved, %d hidden, usage %+v", s.left, s.reserved, len(s.hidden), s.Usage())
				}
				files := 0
				for path := range h.Files() {
					if strings.HasPrefix(path, dir+"/n-") {
						files++
					}
				}
				if files > int(acked.Load()) {
					t.Errorf("%d files are left", files)
				}
				again := sampleOf("n-29", 100)
				again.keep(t, s)
				for _, x := range []*sample{before, again} {
					if err := x.check(s); err != nil {
						t.Error(err)
					}
				}
			})
		})
	}
}

// TestHangingDiskIsBounded: what hangs does not pile up, and ends when the disk is back.
func TestHangingDiskIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hanging{FS: disk()}
		s, err := Open(dir, Options{FS: h})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		letGo := h.hang("stat")
		var late, refused int
		for i := range mostLeft + 10 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			switch err := putWith(ctx, s, sampleOf(fmt.Sprintf("n-%d", i), 10)); {
			case errors.Is(err, context.DeadlineExceeded):
				late++
			case errors.Is(err, errHangs):
				refused++
			default:
				t.Error(err)
			}
			cancel()
		}
		if late != mostLeft || refused != 10 || s.Room(1) {
			t.Errorf("%d late, %d refused, room %v", late, refused, s.Room(1))
		}
		letGo()
		synctest.Wait()
		if !s.Room(1) {
			t.Error("no room when the disk is back")
		}
		sampleOf("n-0", 10).keep(t, s)
	})
}

// TestTakenBackInVain: an entry whose caller has left and which can't be removed stays hidden until the next Open, which finds it whole.
func TestTakenBackInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &hanging{FS: disk()}
		s, err := Open(dir, Options{FS: h})
		if err != nil {
			t.Fatal(err)
		}
		letGo := h.hang("syncdir")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		x := sampleOf("n-1", 10)
		if err := putWith(ctx, s, x); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		h.FailAt(2, errors.New("no"), false) // after the sync: the look at what is to be removed
		letGo()
		synctest.Wait()
		if ids, err := s.IDs(); err != nil || len(ids) != 0 {
			t.Errorf("%v, %v", ids, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if s, err = Open(dir, Options{FS: h}); err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if err := x.check(s); err != nil {
			t.Error(err)
		}
	})
}

// putWith puts a sample, from octets that are gone when it returns.
func putWith(ctx context.Context, s *Store, x *sample) error {
	b := mail.NewBlob(x.original)
	defer b.Release()
	messages, err := x.messages(b)
	if err != nil {
		return err
	}
	for _, m := range messages {
		defer m.Release()
	}
	return s.Put(ctx, x.entry, b, messages)
}

// panicking is a file system that panics.
type panicking struct{ *storetest.FS }

func (panicking) Stat(string) (fs.FileInfo, error) { panic("at the disco") }

// TestPanic: a panic is an error of the message that it was about.
func TestPanic(t *testing.T) {
	s, err := Open(dir, Options{FS: panicking{disk()}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for range 2 { // the id is free again
		if err := putWith(t.Context(), s, sampleOf("n-1", 10)); err == nil || !strings.Contains(err.Error(), "disco") {
			t.Error(err)
		}
	}
	if s.reserved != 0 || s.Usage().Entries != 0 {
		t.Errorf("%d octets reserved, usage %+v", s.reserved, s.Usage())
	}
}
