package learner

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/peertest"
	"github.com/postern-mail/postern/internal/store"
)

// victim is the environment variable that makes of the test's program one that is to be killed: the folder to learn in.
const victim = "POSTERN_LEARNER_VICTIM"

func TestMain(m *testing.M) {
	if folder := os.Getenv(victim); folder != "" {
		study(folder)
		return
	}
	os.Exit(m.Run())
}

// deed is the nth thing that is done to a store that is going to be killed: a lesson, or one that is taken back.
func deed(n int) (l Lesson, forget bool) {
	const messages = 60
	k := n % messages
	return lesson(k, (n/messages+k)%2 == 0, FromPeople), n%7 == 6
}

func do(s *Store, n int) error {
	l, forget := deed(n)
	var err error
	if forget {
		_, err = s.Forget([]Digest{l.Digest})
	} else {
		_, err = s.Add([]Lesson{l})
	}
	return err
}

// study learns, forgets, writes its file anew and fits, all the time, until it is killed, and says how far it is.
func study(folder string) {
	s, err := Open(folder, StoreOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	s.garbage = 3000
	go func() {
		for s.Fit(context.Background()) == nil {
		}
	}()
	for n := 0; ; n++ {
		if err := do(s, n); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(n)
	}
}

// TestKill ends a process that learns and fits at instants by chance: what it has acknowledged is there, nothing is damaged, and a fit
// makes of it what it makes of the same lessons elsewhere.
func TestKill(t *testing.T) {
	rounds := 12
	if testing.Short() {
		rounds = 3
	}
	deeds := 0
	for range rounds {
		folder := t.TempDir()
		last := -1
		peertest.Kill(t, victim, folder, 600, func(line string) {
			n, err := strconv.Atoi(line)
			if err != nil || n != last+1 {
				t.Error(line)
			}
			last++
		})
		deeds += last + 1
		s, err := Open(folder, StoreOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if s.damaged > 0 || s.torn {
			t.Errorf("damaged: %d, torn: %v", s.damaged, s.torn)
		}
		names, err := os.ReadDir(folder)
		if err != nil || len(names) > 3 {
			t.Errorf("left: %v, %v", names, err)
		}
		if w, err := readWeights(store.OS, s.path(weightsFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the weights: %v", err)
		} else if err == nil && w.lessons.Ham+w.lessons.Spam > 60 {
			t.Errorf("the weights are of %+v", w.lessons)
		}
		// The deed behind the last one may be done or not.
		want := map[Digest]bool{}
		for n := range last + 1 {
			if l, forget := deed(n); forget {
				delete(want, l.Digest)
			} else {
				want[l.Digest] = l.Spam
			}
		}
		open, _ := deed(last + 1)
		for k := range 60 {
			d := lesson(k, false, FromPeople).Digest
			e, is := s.known[d]
			spam, was := want[d]
			if d != open.Digest && (is != was || is && e.spam != spam) {
				t.Errorf("after %d: lesson %d is there: %v, as spam: %v; it was to be %v, %v", last, k, is, e.spam, was, spam)
			}
		}
		if err := do(s, last+1); err != nil {
			t.Error(err)
		}
		fitsAlike(t, s)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d deeds were acknowledged", deeds)
}

// fitsAlike checks that a store learns from its file what it would from the same lessons in another.
func fitsAlike(t *testing.T, s *Store) {
	t.Helper()
	if err := s.Fit(context.Background()); err != nil {
		t.Fatal(err)
	}
	all, err := s.lessons(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	w := fit(context.Background(), all, time.Now(), s.opt.Load().HalfLife)
	for _, text := range []string{"cheap pills for you", "minutes of the meeting"} {
		if x := sampleOf(text); s.Score(x) != w.score(x.Features) {
			t.Errorf("%s: %v, and %v of the same lessons", text, s.Score(x), w.score(x.Features))
		}
	}
}
