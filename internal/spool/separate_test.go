package spool

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postern-mail/postern/internal/store/storetest"
)

// together puts so many messages of 16 KB into one file.
func together(t *testing.T, s *Store, name string, many int) (all []*sample) {
	t.Helper()
	for i := range many {
		all = append(all, sampleOf(fmt.Sprintf("%s-%d", name, i), 16<<10))
	}
	putTogether(t, s, all...)
	return all
}

// TestStuckAmongBusy: messages that stay, each among many that go, do not fill the spool with the octets of those.
func TestStuckAmongBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const crowd, rounds = 50, 20
		f := disk()
		s, err := Open(dir, Options{FS: f, Size: 5 * crowd * (17 << 10)})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { s.Close() }()
		var stuck []*sample
		for round := range rounds {
			all := together(t, s, fmt.Sprintf("r%d", round), crowd)
			for _, x := range all[1:] {
				if err := s.Remove(x.entry.ID); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Mark(all[0].entry.ID, Mark{Group: 0, To: []int{0}, State: Delivered}); err != nil {
				t.Fatal(err)
			}
			stuck = append(stuck, all[0])
			next := sampleOf(fmt.Sprintf("next-%d", round), 10)
			if err := putWith(t.Context(), s, next); err != nil {
				t.Fatalf("round %d: %v, usage %+v", round, err, s.Usage())
			}
			stuck = append(stuck, next)
			time.Sleep(2 * time.Minute)
			synctest.Wait()
		}
		check := func() {
			t.Helper()
			for _, x := range stuck {
				if err := x.check(s); err != nil {
					t.Error(err)
				}
			}
			if e, err := s.Load("r0-0"); err != nil || e.Groups[0].To[0].State != Delivered {
				t.Errorf("%+v, %v", e.Groups, err)
			}
		}
		check()
		before := s.Usage()
		before.Limit = 0 // it is opened without
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if s, err = Open(dir, Options{FS: f}); err != nil {
			t.Fatal(err)
		}
		check()
		if now := s.Usage(); now != before {
			t.Errorf("usage %+v, before %+v", now, before)
		}
		if err := clean(s, f); err != nil {
			t.Error(err)
		}
	})
}

// TestSeparatePowerCut lets each operation fail, or the power: the entry is whole, and so are those who share its file.
func TestSeparatePowerCut(t *testing.T) {
	const crowd = 20
	for n, last := 1, false; !last; n++ {
		for i, loss := range append(storetest.Losses(), storetest.Some, storetest.Some) {
			for _, power := range []bool{false, true} {
				f := disk()
				s := openOn(t, f, Options{})
				all := together(t, s, "n", crowd)
				for _, x := range all[2:] {
					if err := s.Remove(x.entry.ID); err != nil {
						t.Fatal(err)
					}
				}
				begin := f.Ops()
				if power {
					f.CutAt(n)
				} else {
					f.FailAt(n, syscall.EIO, i%2 == 0)
				}
				done, err := s.separate("n-0")
				if last = f.Ops()-begin < n; last != (err == nil) || done != last {
					t.Fatalf("operation %d fails: %v, %v", n, done, err)
				}
				if !power {
					f.FailFrom(1, 0, nil, false)
					for _, x := range all[:2] {
						if err := x.check(s); err != nil {
							t.Fatalf("operation %d fails: %v", n, err)
						}
					}
					f.CutAt(1)
				}
				s.Close()
				f.Reboot(loss, uint64(n))
				s = openOn(t, f, Options{})
				for _, x := range all[:2] {
					if err := x.check(s); err != nil {
						t.Fatalf("operation %d fails, power %v, loss %d: %v\n%s", n, power, loss, err, strings.Join(f.Log()[begin:], "\n"))
					}
				}
				s.Close()
			}
		}
	}
}

// TestSeparateWhatItIsWorth: what is small, or is whole, or damaged, stays as it is.
func TestSeparateWhatItIsWorth(t *testing.T) {
	f := disk()
	s := openOn(t, f, Options{})
	all := together(t, s, "n", 20)
	sampleOf("alone-1", 200<<10).keep(t, s)
	small := []*sample{sampleOf("s-1", 10), sampleOf("s-2", 10000)}
	putTogether(t, s, small...)
	if err := s.Remove("s-2"); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"n-0", "alone-1", "s-1", "none-1"} {
		if done, err := s.separate(id); done || err != nil {
			t.Errorf("%s: %v, %v", id, done, err)
		}
	}
	for _, x := range all[1:] {
		if err := s.Remove(x.entry.ID); err != nil {
			t.Fatal(err)
		}
	}
	data := f.Files()[dir+"/n-0.msg"]
	data[len(data)/20] ^= 1
	f.Put(dir+"/n-0.msg", data)
	if done, err := s.separate("n-0"); done || !errors.Is(err, ErrDamaged) {
		t.Errorf("%v, %v", done, err)
	}
	if _, there := f.Files()[dir+"/n-0.msg.tmp"]; there {
		t.Error("something is left")
	}
}
