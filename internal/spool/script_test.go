package spool

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/store/storetest"
)

// script does one thing after the other, and goes on after errors.
func script(f *storetest.FS) (lives []*life, s *Store, err error) {
	if s, err = Open(dir, Options{FS: f, Now: func() time.Time { return began }}); err != nil {
		return nil, nil, err
	}
	s.large = smallLarge
	a, b, c, d := newLife("a-1", 100), newLife("b-1", 900), newLife("c-1", smallLarge+1), newLife("d-1", 10)
	lives = []*life{a, b, c, d}
	var errs []error
	do := func(err error) {
		errs = append(errs, err)
	}
	do(a.put(s))
	do(b.put(s))
	do(b.mark(s, 0, 1, Waiting))
	do(c.put(s))
	do(c.mark(s, 0, 0, Delivered))
	do(c.mark(s, 1, 0, Waiting))
	do(a.remove(s))
	time.Sleep(2 * removalDelay)
	do(d.put(s))
	a.gone = errs[len(errs)-2] == nil && d.acked // the power was there all the time
	do(b.mark(s, 0, 1, Failed))
	do(b.mark(s, 1, 0, Delivered))
	do(c.mark(s, 1, 0, Kept))
	do(c.mark(s, 0, 1, Delivered))
	do(c.remove(s))
	do(d.mark(s, 0, 0, Waiting))
	return lives, s, errors.Join(errs...)
}

// TestPowerCut cuts the power at every operation of a script, in every way that a disk may lose what was not synced.
func TestPowerCut(t *testing.T) {
	total := 0
	err := bubble(t, func() error {
		dry := disk()
		_, s, err := script(dry)
		if err == nil {
			err = s.Close()
		}
		total = dry.Ops()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	cases := 0
	for cut := 1; cut <= total+1; cut++ {
		for _, loss := range storetest.Losses() {
			seeds := uint64(1)
			if loss == storetest.Some {
				seeds = 12
				if raced {
					seeds = 2
				}
			}
			for seed := range seeds {
				cases++
				f := disk()
				err := bubble(t, func() error {
					f.CutAt(cut)
					lives, s, _ := script(f)
					if s != nil {
						s.Close()
					}
					f.Reboot(loss, seed)
					s, err := Open(dir, Options{FS: f})
					if err != nil {
						return err
					}
					defer s.Close()
					if err := verify(s, f, lives); err != nil {
						return err
					}
					return clean(s, f)
				})
				if err != nil {
					t.Fatalf("cut at %d of %d, loss %d, seed %d: %v\n%s", cut, total, loss, seed, err, strings.Join(f.Log(), "\n"))
				}
			}
		}
	}
	t.Logf("%d cuts at %d operations", cases, total)
}

// TestFaults lets every operation fail by itself: what was acknowledged is there, what was not is not, and all that comes
// later goes well; and it is there after a power cut too.
func TestFaults(t *testing.T) {
	total := 0
	err := bubble(t, func() error {
		dry := disk()
		_, s, err := script(dry)
		total = dry.Ops()
		return errors.Join(err, s.Close())
	})
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= total; n++ {
		cuts, faults := 6, []int{1, 2, 5}
		if raced {
			cuts, faults = 1+n%2, faults[n%3:][:1]
		}
		for after := range cuts {
			if err := bubble(t, func() error { return faultAndCut(n, after) }); err != nil {
				t.Fatalf("operation %d of %d fails, and the power %d later: %v", n, total, after+1, err)
			}
		}
		for i, fault := range []error{syscall.EIO, syscall.EIO, syscall.ENOSPC} {
			for _, times := range faults {
				if err := bubble(t, func() error { return withFault(n, times, fault, i > 0) }); err != nil {
					t.Fatalf("operation %d of %d fails with %v, %d times: %v", n, total, fault, times, err)
				}
			}
		}
	}
}

// faultAndCut cuts the power while what has failed is undone.
func faultAndCut(n, after int) error {
	f := disk()
	f.FailAt(n, syscall.EIO, true)
	f.CutAt(n + after + 1)
	lives, s, _ := script(f)
	if s != nil {
		s.Close()
	}
	f.Reboot(storetest.Some, rand.Uint64())
	s, err := Open(dir, Options{FS: f})
	if err != nil {
		return err
	}
	defer s.Close()
	if err := verify(s, f, lives); err != nil {
		return fmt.Errorf("%w\n%s", err, strings.Join(f.Log(), "\n"))
	}
	return clean(s, f)
}

func withFault(n, times int, fault error, short bool) (err error) {
	f := disk()
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w\n%s", err, strings.Join(f.Log(), "\n"))
		}
	}()
	f.FailFrom(n, times, fault, short)
	lives, s, err := script(f)
	f.FailFrom(1, 0, nil, false)
	if s == nil {
		if !errors.Is(err, fault) {
			return fmt.Errorf("opens with %w", err)
		}
		return nil
	}
	defer s.Close()
	if err != nil && !errors.Is(err, fault) && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrExists) {
		return err
	}
	if errors.Is(err, syscall.ENOSPC) && lives[0].failed && !errors.Is(err, ErrFull) {
		return fmt.Errorf("a full disk is %w", err)
	}
	ids, err := s.IDs()
	for _, l := range lives {
		if err == nil && l.failed && times == 1 && slices.Contains(ids, l.entry.ID) {
			err = fmt.Errorf("%s is there, and was not acknowledged", l.entry.ID)
		}
	}
	if err != nil {
		return err
	}
	if times == 1 {
		if err := verify(s, f, lives); err != nil {
			return err
		}
	}
	if n%2 == 0 {
		late := newLife("z-1", 50)
		lives = append(lives, late)
		if err := errors.Join(late.put(s), late.mark(s, 0, 0, Delivered)); err != nil {
			return fmt.Errorf("later: %w", err)
		}
	}
	loss := storetest.Losses()[rand.IntN(len(storetest.Losses()))]
	f.CutAt(1)
	s.Close()
	f.Reboot(loss, rand.Uint64())
	if s, err = Open(dir, Options{FS: f}); err != nil {
		return err
	}
	defer s.Close()
	if err := verify(s, f, lives); err != nil {
		return fmt.Errorf("after a power cut, loss %d: %w", loss, err)
	}
	return clean(s, f)
}
