package spool

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/peertest"
	"github.com/postern-mail/postern/internal/store/storetest"
)

// TestPowerCutCrowd does the same to many who come at once, at operations by chance.
func TestPowerCutCrowd(t *testing.T) {
	rounds := 80
	if peertest.Every() {
		rounds = 1000
	}
	shared := 0
	for round := range rounds {
		rnd := rand.New(rand.NewPCG(uint64(round), 7))
		f := disk()
		err := bubble(t, func() error {
			s, err := Open(dir, Options{FS: f})
			if err != nil {
				return err
			}
			s.large = smallLarge
			f.CutAt(1 + rnd.IntN(250))
			const crowd = 8
			lives := make([][]*life, crowd)
			var wg sync.WaitGroup
			for g := range crowd {
				seed := rnd.Uint64()
				wg.Go(func() { lives[g] = member(s, g, rand.New(rand.NewPCG(seed, 1)), false) })
			}
			wg.Wait()
			s.Close()
			shared += sharedFiles(f)
			f.Reboot(storetest.Losses()[round%len(storetest.Losses())], uint64(round))
			if s, err = Open(dir, Options{FS: f}); err != nil {
				return err
			}
			defer s.Close()
			if err := verify(s, f, slices.Concat(lives...)); err != nil {
				return err
			}
			return clean(s, f)
		})
		if err != nil {
			t.Fatalf("round %d: %v\n%s", round, err, strings.Join(f.Log(), "\n"))
		}
	}
	if shared == 0 {
		t.Error("no two messages shared a file")
	}
}

// member is one of a crowd: it puts, marks and removes entries of its own until something fails, or all of them where it persists.
func member(s *Store, g int, rnd *rand.Rand, persists bool) (lives []*life) {
	for n := range 6 {
		size := rnd.IntN(smallLarge)
		if rnd.IntN(8) == 0 {
			size = smallLarge + 1
		}
		l := newLife(fmt.Sprintf("g%d-%d", g, n), size)
		lives = append(lives, l)
		if l.put(s) != nil {
			if persists {
				continue
			}
			return lives
		}
		for range rnd.IntN(4) {
			states := []State{Waiting, Delivered, Failed}
			to := rnd.IntN(2)
			if _, done := l.said[[2]int{0, to}]; done {
				continue
			}
			if l.mark(s, 0, to, states[rnd.IntN(3)]) != nil && !persists {
				return lives
			}
		}
		if rnd.IntN(3) == 0 {
			if l.remove(s) != nil && !persists {
				return lives
			}
		}
		if rnd.IntN(3) == 0 {
			time.Sleep(removalDelay)
		}
	}
	return lives
}

// TestFaultsCrowd lets operations fail, one or several from one on, while many come at once, and then the power.
func TestFaultsCrowd(t *testing.T) {
	rounds := 25
	if peertest.Every() {
		rounds = 500
	}
	failed := 0
	for round := range rounds {
		rnd := rand.New(rand.NewPCG(uint64(round), 9))
		f := disk()
		err := bubble(t, func() error {
			s, err := Open(dir, Options{FS: f})
			if err != nil {
				return err
			}
			defer func(s *Store) { s.Close() }(s)
			s.large = smallLarge
			fault := []error{syscall.EIO, syscall.ENOSPC}[rnd.IntN(2)]
			times := []int{1, 2, 5, 30}[rnd.IntN(4)]
			f.FailFrom(1+rnd.IntN(250), times, fault, rnd.IntN(2) == 0)
			const crowd = 8
			lives := make([][]*life, crowd)
			var wg sync.WaitGroup
			for g := range crowd {
				seed := rnd.Uint64()
				wg.Go(func() { lives[g] = member(s, g, rand.New(rand.NewPCG(seed, 1)), true) })
			}
			wg.Wait()
			f.FailFrom(1, 0, nil, false)
			all := slices.Concat(lives...)
			ids, err := s.IDs()
			if err != nil {
				return err
			}
			for _, l := range all {
				if l.failed {
					failed++
				}
				if l.failed && times == 1 && slices.Contains(ids, l.entry.ID) {
					return fmt.Errorf("%s is there, and was not acknowledged", l.entry.ID)
				}
			}
			if err := verify(s, f, all); err != nil {
				return fmt.Errorf("before the power cut: %w", err)
			}
			f.CutAt(1)
			s.Close()
			f.Reboot(storetest.Losses()[round%len(storetest.Losses())], uint64(round))
			if s, err = Open(dir, Options{FS: f}); err != nil {
				return err
			}
			defer s.Close()
			if err := verify(s, f, all); err != nil {
				return err
			}
			return clean(s, f)
		})
		if err != nil {
			t.Fatalf("round %d: %v\n%s", round, err, strings.Join(f.Log(), "\n"))
		}
	}
	if failed < rounds {
		t.Errorf("only %d messages were refused in %d rounds", failed, rounds)
	}
}

// sharedFiles counts messages beyond the first of a file.
func sharedFiles(f *storetest.FS) (n int) {
	for path, data := range f.Files() {
		if strings.HasSuffix(path, messageSuffix) {
			if length, err := indexLength(data); err == nil {
				if x, err := parseIndex(data[:length]); err == nil {
					n += len(x.parts) - 1
				}
			}
		}
	}
	return n
}
