package spool

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/peertest"
	"github.com/postern-mail/postern/mail"
)

// victim is the environment variable that makes of the test's program one that is to be killed: the folder to fill.
const victim = "POSTERN_SPOOL_VICTIM"

func TestMain(m *testing.M) {
	if folder := os.Getenv(victim); folder != "" {
		work(folder)
		return
	}
	os.Exit(m.Run())
}

// work puts, marks and removes until it is killed, and says a line about each thing when it is acknowledged.
func work(folder string) {
	s, err := Open(folder, Options{})
	if err != nil {
		fmt.Println("error", err)
		return
	}
	var mu sync.Mutex
	say := func(what, id string) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Println(what, id)
	}
	for g := range 8 {
		go func() {
			for n := 0; ; n++ {
				x := sampleOf(mail.NewID("v"), 1000*g)
				if g == 7 {
					x = sampleOf(x.entry.ID, largeOriginal+1)
				}
				in := mail.NewIngest(mail.IngestOptions{Dir: folder})
				in.Write(x.original)
				b, _, err := in.Blob()
				if err == nil {
					err = x.put(s, b)
					b.Release()
				}
				if err == nil {
					say("put", x.entry.ID)
					err = s.Mark(x.entry.ID, Mark{To: []int{1}, State: Delivered})
				}
				if err == nil {
					say("marked", x.entry.ID)
				}
				if err == nil && n%3 > 0 {
					say("removing", x.entry.ID)
					err = s.Remove(x.entry.ID)
				}
				if err != nil {
					say("error", err.Error())
					return
				}
			}
		}()
	}
	time.Sleep(time.Minute)
}

// TestKill ends a process that uses the spool at instants by chance: what it has acknowledged is there.
func TestKill(t *testing.T) {
	rounds := 12
	if testing.Short() {
		rounds = 3
	}
	puts := 0
	for range rounds {
		folder := t.TempDir()
		put, marked, removing := map[string]bool{}, map[string]bool{}, map[string]bool{}
		peertest.Kill(t, victim, folder, 300, func(line string) {
			what, id, _ := strings.Cut(line, " ")
			switch what {
			case "put":
				put[id] = true
			case "marked":
				marked[id] = true
			case "removing":
				removing[id] = true
			default:
				t.Error(line)
			}
		})
		puts += len(put)
		s, err := Open(folder, Options{})
		if err != nil {
			t.Fatal(err)
		}
		ids, err := s.IDs()
		if err != nil {
			t.Fatal(err)
		}
		for id := range put {
			if !removing[id] && !slices.Contains(ids, id) {
				t.Errorf("%s is lost", id)
			}
		}
		for _, id := range ids {
			e, err := s.Load(id)
			if err != nil {
				t.Fatal(err)
			}
			x := sampleOf(id, int(e.Size))
			if e.Size != int64(len(x.original)) {
				x = sampleOf(id, int(e.Size)-20) // it ends with a line
			}
			if got, err := content(s, id, 0); err != nil || string(got) != string(x.groups[0]) {
				t.Errorf("%s has %d octets of %d, %v", id, len(got), len(x.groups[0]), err)
			}
			if marked[id] && e.Groups[0].To[1].State != Delivered {
				t.Errorf("%s: its mark is lost", id)
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d messages were acknowledged", puts)
}
