package quarantine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/postern-mail/postern/internal/store/storetest"
	"github.com/postern-mail/postern/mail"
)

// TestReleasePowerCut cuts the power at every operation of a release, and then releases as often as it is
// let: however it went, there is one delivery at most, and if the entry is not in doubt, one in the end.
func TestReleasePowerCut(t *testing.T) {
	dry := disk()
	s := open(t, dry, Options{})
	if err := keep(s, "a"); err != nil {
		t.Fatal(err)
	}
	before := dry.Ops()
	nothing := func(Entry, *mail.Blob) error { return nil }
	if err := s.Release(context.Background(), "a", nothing); err != nil {
		t.Fatal(err)
	}
	ops, doubts := dry.Ops()-before, 0
	for cut := 1; cut <= ops+1; cut++ {
		for _, loss := range storetest.Losses() {
			for seed := range uint64(10) {
				if releaseCut(t, cut, loss, seed) {
					doubts++
				}
			}
		}
	}
	if doubts == 0 {
		t.Error("no cut left a doubt: the test did not cut where it matters")
	}
}

// releaseCut is one round of TestReleasePowerCut; it tells whether the cut left the entry in doubt.
func releaseCut(t *testing.T, cut int, loss storetest.Loss, seed uint64) (doubt bool) {
	f := disk()
	s := open(t, f, Options{})
	if err := keep(s, "a"); err != nil {
		t.Fatal(err)
	}
	deliveries := 0
	deliver := func(_ Entry, b *mail.Blob) error {
		deliveries++
		if got, ok := b.Bytes(); !ok || !bytes.Equal(got, content) {
			t.Errorf("delivered %q", got)
		}
		return nil
	}
	f.CutAt(cut)
	first := s.Release(context.Background(), "a", deliver)
	f.Reboot(loss, seed)
	s = open(t, f, Options{})
	if !holds(t, s, "a") {
		t.Fatalf("cut at %d: the entry is gone", cut)
	}
	second := s.Release(context.Background(), "a", deliver)
	switch {
	case second == nil, errors.Is(second, ErrReleased):
		if deliveries != 1 {
			t.Fatalf("cut at %d, loss %d: %d deliveries; %v; %v", cut, loss, deliveries, first, second)
		}
		return false
	case !errors.Is(second, ErrInDoubt), deliveries > 1, first == nil:
		t.Fatalf("cut at %d, loss %d: %v after %d deliveries; %v", cut, loss, second, deliveries, first)
	}
	if err := s.Settle("a", deliveries == 1); err != nil {
		t.Fatal(err)
	}
	had := deliveries
	if err := s.Release(context.Background(), "a", deliver); errors.Is(err, ErrReleased) != (had == 1) || deliveries != 1 {
		t.Fatalf("settled: %v, %d deliveries", err, deliveries)
	}
	return true
}

func TestReleaseFails(t *testing.T) {
	s := open(t, disk(), Options{})
	if err := keep(s, "a"); err != nil {
		t.Fatal(err)
	}
	down := errors.New("upstream is down")
	for range 3 {
		if err := s.Release(context.Background(), "a", func(Entry, *mail.Blob) error { return down }); !errors.Is(err, down) {
			t.Fatal(err)
		}
	}
	lost := fmt.Errorf("lost after the final dot: %w", ErrInDoubt)
	if err := s.Release(context.Background(), "a", func(Entry, *mail.Blob) error { return lost }); !errors.Is(err, ErrInDoubt) {
		t.Fatal(err)
	}
	e, err := s.Get("a")
	if err != nil || !e.InDoubt {
		t.Fatalf("%+v, %v", e, err)
	}
	if err := s.Release(context.Background(), "a", func(Entry, *mail.Blob) error { t.Error("delivered"); return nil }); !errors.Is(err, ErrInDoubt) {
		t.Fatal(err)
	}
	if err := s.Settle("a", false); err != nil {
		t.Fatal(err)
	}
	if err := s.ReleaseTo(context.Background(), "a", "c@example.org", func(Entry, *mail.Blob) error { return nil }); err != nil {
		t.Fatal(err)
	}
	e, err = s.Get("a")
	if err != nil || e.Released == nil || !e.Released.Equal(began) || e.ReleasedTo != "c@example.org" || e.InDoubt {
		t.Errorf("%+v, %v", e, err)
	}
	if err := s.Release(context.Background(), "a", func(Entry, *mail.Blob) error { t.Error("delivered"); return nil }); !errors.Is(err, ErrReleased) {
		t.Error(err)
	}
	if err := s.Release(context.Background(), "b", nil); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}

// TestReleasedTo: the record says to whom a message went, also where nobody else was named, and where the
// release was cut short.
func TestReleasedTo(t *testing.T) {
	deliver := func(Entry, *mail.Blob) error { return nil }
	lose := func(Entry, *mail.Blob) error { return ErrInDoubt }
	for name, c := range map[string]struct {
		to, want string
		deliver  func(Entry, *mail.Blob) error
	}{
		"own":          {"", "b@example.org, c@example.org", deliver},
		"named":        {"d@example.org, e@example.org", "d@example.org, e@example.org", deliver},
		"settledown":   {"", "b@example.org, c@example.org", lose},
		"settlednamed": {"d@example.org, e@example.org", "d@example.org, e@example.org", lose},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, disk(), Options{})
			b := mail.NewBlob(bytes.Clone(content))
			defer b.Release()
			e := entryOf("a")
			e.To = []string{"b@example.org", "c@example.org"}
			if _, err := s.Keep(t.Context(), e, b); err != nil {
				t.Fatal(err)
			}
			err := s.ReleaseTo(t.Context(), "a", c.to, c.deliver)
			if errors.Is(err, ErrInDoubt) {
				err = s.Settle("a", true)
			}
			if err != nil {
				t.Fatal(err)
			}
			if e, err := s.Get("a"); err != nil || e.ReleasedTo != c.want {
				t.Errorf("released to %q, %v; want %q", e.ReleasedTo, err, c.want)
			}
		})
	}
}

// TestReleaseTogether releases one entry from many goroutines, each with a store of its own over one real
// folder, as processes would.
func TestReleaseTogether(t *testing.T) {
	real := filepath.Join(t.TempDir(), "quarantine")
	first, err := Open(real, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := keep(first, "a"); err != nil {
		t.Fatal(err)
	}
	var delivered, released atomic.Int32
	var group sync.WaitGroup
	for range 20 {
		s, err := Open(real, Options{})
		if err != nil {
			t.Fatal(err)
		}
		group.Go(func() {
			err := s.Release(context.Background(), "a", func(Entry, *mail.Blob) error {
				delivered.Add(1)
				if err := s.Remove("a"); !errors.Is(err, ErrBusy) {
					t.Errorf("removed amid its release: %v", err)
				}
				return nil
			})
			switch {
			case err == nil:
				released.Add(1)
			case !errors.Is(err, ErrBusy) && !errors.Is(err, ErrReleased):
				t.Error(err)
			}
		})
	}
	group.Wait()
	if delivered.Load() != 1 || released.Load() != 1 {
		t.Errorf("%d deliveries, %d releases", delivered.Load(), released.Load())
	}
	if err := first.Remove("a"); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(real); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
