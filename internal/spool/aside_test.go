package spool

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"github.com/postern-mail/postern/internal/store"
	"github.com/postern-mail/postern/internal/store/storetest"
)

// TestSetAsideOnceMore: an entry that was repaired by copying its files back, and is set aside again, does not take the place of what lies
// there, and is not lost.
func TestSetAsideOnceMore(t *testing.T) {
	for name, wrap := range map[string]func(*storetest.FS) store.FS{
		"links":    func(f *storetest.FS) store.FS { return f },
		"no links": func(f *storetest.FS) store.FS { return oneName{f} },
		"EPERM":    func(f *storetest.FS) store.FS { return forbidden{f} },
	} {
		t.Run(name, func(t *testing.T) {
			f := disk()
			s, err := Open(dir, Options{FS: wrap(f)})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			x := sampleOf("n-1", largeOriginal+1)
			want := map[string][]byte{}
			for round := range 3 {
				if round == 0 {
					x.keep(t, s)
				} else { // an operator has put it back, changed
					for _, suffix := range []string{".msg", ".eml", ".log"} {
						f.Put(dir+"/n-1"+suffix, fmt.Appendf(nil, "%s of round %d", suffix, round))
					}
				}
				if err := s.Mark("n-1", Mark{Group: 0, To: []int{0}, State: Delivered}); err != nil {
					t.Fatal(err)
				}
				files := f.Files()
				place := "n-1"
				if round > 0 {
					place = fmt.Sprintf("n-1.%d", round)
				}
				for _, suffix := range []string{".msg", ".eml", ".log"} {
					want[dir+"/damaged/"+place+suffix] = files[dir+"/n-1"+suffix]
				}
				if err := s.SetAside("n-1", fmt.Errorf("round %d", round)); err != nil {
					t.Fatal(err)
				}
				if err := s.SetAside("n-1", nil); !errors.Is(err, ErrNotFound) {
					t.Error(err)
				}
				files = f.Files()
				for path, content := range want {
					if content == nil || !bytes.Equal(files[path], content) {
						t.Errorf("round %d: %s has %d octets of %d", round, path, len(files[path]), len(content))
					}
				}
				if text := files[dir+"/damaged/"+place+".txt"]; !strings.Contains(string(text), fmt.Sprintf("round %d", round)) {
					t.Errorf("%q", text)
				}
				for path := range files {
					if strings.HasPrefix(path, dir+"/n-1") {
						t.Errorf("%s is left", path)
					}
				}
				if u := s.Usage(); u.Damaged != round+1 {
					t.Errorf("usage %+v", u)
				}
			}
		})
	}
}

// TestSetAsideInterrupted lets each operation fail, and the power go: what was to be set aside is then in one of the two places, whole.
func TestSetAsideInterrupted(t *testing.T) {
	for n := 1; ; n++ {
		done := false
		for _, loss := range storetest.Losses() {
			f := disk()
			s := openOn(t, f, Options{})
			x := sampleOf("n-1", largeOriginal+1)
			x.keep(t, s)
			if err := s.Mark("n-1", Mark{Group: 0, To: []int{0}, State: Delivered}); err != nil {
				t.Fatal(err)
			}
			before := f.Files()
			f.FailFrom(n, 1, syscall.EIO, false)
			begin := f.Ops()
			err := s.SetAside("n-1", errors.New("why"))
			done = f.Ops()-begin < n
			f.FailFrom(1, 0, nil, false)
			if (err != nil) == done {
				t.Fatalf("operation %d fails: %v", n, err)
			}
			if n%2 == 0 && err != nil { // once more
				if err := s.SetAside("n-1", errors.New("why")); err != nil && !errors.Is(err, ErrNotFound) {
					t.Fatalf("operation %d failed: %v", n, err)
				}
			}
			if u := s.Usage(); u.Entries+u.Damaged != 1 {
				t.Fatalf("operation %d fails: usage %+v", n, u)
			}
			f.CutAt(1)
			s.Close()
			f.Reboot(loss, uint64(n))
			s = openOn(t, f, Options{})
			after := f.Files()
			for _, suffix := range []string{".msg", ".eml", ".log"} {
				want := before[dir+"/n-1"+suffix]
				if !bytes.Equal(after[dir+"/damaged/n-1"+suffix], want) && !bytes.Equal(after[dir+"/n-1"+suffix], want) {
					t.Fatalf("operation %d fails, loss %d: %s is lost\n%s", n, loss, suffix, strings.Join(f.Log(), "\n"))
				}
			}
			s.Close()
		}
		if done {
			return
		}
	}
}

// forbidden is a file system that answers EPERM where it has no links, as some do.
type forbidden struct{ *storetest.FS }

func (forbidden) Link(string, string) error {
	return &fs.PathError{Op: "link", Err: syscall.EPERM}
}
