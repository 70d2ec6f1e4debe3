package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postern-mail/postern/internal/store/storetest"
)

// broken is a file system some files of which can be neither looked at nor removed.
type broken struct {
	*storetest.FS
	mu    sync.Mutex
	names map[string]bool
}

func (b *broken) fault(path string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.names[filepath.Base(path)] {
		return &fs.PathError{Op: "lstat", Path: path, Err: syscall.EUCLEAN}
	}
	return nil
}

func (b *broken) mend() { b.mu.Lock(); defer b.mu.Unlock(); b.names = nil }

func (b *broken) Remove(name string) error {
	if err := b.fault(name); err != nil {
		return err
	}
	return b.FS.Remove(name)
}

func (b *broken) ReadDir(name string) ([]fs.DirEntry, error) {
	all, err := b.FS.ReadDir(name)
	for i, d := range all {
		all[i] = brokenEntry{d, b}
	}
	return all, err
}

type brokenEntry struct {
	fs.DirEntry
	b *broken
}

func (e brokenEntry) Info() (fs.FileInfo, error) {
	if err := e.b.fault(e.Name()); err != nil {
		return nil, err
	}
	return e.DirEntry.Info()
}

// TestBrokenFiles: files that can't be looked at or removed are told and passed over, and what is said of an id by what could not be
// removed is not said of who gets it next.
func TestBrokenFiles(t *testing.T) {
	f := disk()
	s := openOn(t, f, Options{})
	x, y := sampleOf("n-1", 100), sampleOf("n-2", 100)
	x.keep(t, s)
	y.keep(t, s)
	if err := s.Mark("n-2", Mark{Group: 0, To: []int{0}, State: Delivered}); err != nil {
		t.Fatal(err)
	}
	s.Close()
	f.Put(dir+"/n-9.log", f.Files()[dir+"/n-2.log"])
	f.Put(dir+"/n-9.eml", []byte("old"))
	f.Put(dir+"/n-8.msg.tmp", []byte("old"))
	f.Put(dir+"/damaged/n-7.msg", []byte("bad"))
	f.Put(dir+"/damaged/n-6.msg", []byte("bad"))
	b := &broken{FS: f, names: map[string]bool{"n-1.msg": true, "n-9.log": true, "n-9.eml": true, "n-8.msg.tmp": true, "n-7.msg": true}}
	var told []error
	s, err := Open(dir, Options{FS: b, Fault: func(err error) { told = append(told, err) }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for name := range b.names {
		if all := errors.Join(told...); !errors.Is(all, syscall.EUCLEAN) || !strings.Contains(all.Error(), name) {
			t.Errorf("%s is not told: %v", name, all)
		}
	}
	if u := s.Usage(); len(told) != 5 || u.Entries != 2 || u.Damaged != 2 {
		t.Errorf("%d told, usage %+v", len(told), u)
	}
	if err := y.check(s); err != nil {
		t.Error(err)
	}
	z := sampleOf("n-9", largeOriginal+1)
	if err := putWith(t.Context(), s, z); !errors.Is(err, syscall.EUCLEAN) {
		t.Error(err)
	}
	b.mend()
	z.keep(t, s)
	if err := z.check(s); err != nil {
		t.Error(err)
	}
	if e, err := s.Load("n-9"); err != nil || e.Groups[0].To[0].State != Waiting {
		t.Errorf("%+v, %v", e.Groups, err)
	}
}

// TestManyBrokenFiles: not each of many is told.
func TestManyBrokenFiles(t *testing.T) {
	b := &broken{FS: disk(), names: map[string]bool{}}
	for i := range 100 {
		name := fmt.Sprintf("n-%d.log", i)
		b.names[name] = true
		b.Put(dir+"/"+name, nil)
	}
	var told []error
	s, err := Open(dir, Options{FS: b, Fault: func(err error) { told = append(told, err) }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if len(told) != mostFaults+1 || !strings.Contains(told[mostFaults].Error(), "90 files") {
		t.Errorf("%d are told: %v", len(told), errors.Join(told...))
	}
}

// TestRemovedInPart: marks that could not be removed with their entry are not those of the next one with its id.
func TestRemovedInPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &broken{FS: disk(), names: map[string]bool{}}
		s, err := Open(dir, Options{FS: b})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		x := sampleOf("n-1", 100)
		x.keep(t, s)
		if err := s.Mark("n-1", Mark{Group: 0, To: []int{0}, State: Delivered}); err != nil {
			t.Fatal(err)
		}
		b.names["n-1.log"] = true
		if err := s.Remove("n-1"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * removalDelay)
		synctest.Wait()
		if err := putWith(t.Context(), s, x); !errors.Is(err, syscall.EUCLEAN) {
			t.Error(err)
		}
		b.mend()
		x.keep(t, s)
		if e, err := s.Load("n-1"); err != nil || e.Groups[0].To[0].State != Waiting {
			t.Errorf("%+v, %v", e.Groups, err)
		}
	})
}

// TestFolderMadeBefore: a folder that was made by one who died before its name was synced is as good as one that Open makes.
func TestFolderMadeBefore(t *testing.T) {
	for _, made := range []string{"/state", "/state/spool"} {
		f := storetest.New()
		if err := f.MkdirAll(made, 0o700); err != nil {
			t.Fatal(err)
		}
		s := openOn(t, f, Options{})
		x := sampleOf("n-1", 100)
		x.keep(t, s)
		f.CutAt(1)
		s.Close()
		f.Reboot(storetest.All, 1)
		s = openOn(t, f, Options{})
		if err := x.check(s); err != nil {
			t.Errorf("%s was there: %v", made, err)
		}
		s.Close()
	}
}
