package learner

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/postern-mail/postern/internal/store"
	"github.com/postern-mail/postern/internal/store/storetest"
)

// churn corrects a few lessons again and again, so that the file is written anew, and gives what was acknowledged last of each;
// what failed may be or not. Where the disk has failed it fails again so many operations later, and ends with the lesson behind that: what
// is on disk then is what counts, and not what the next writing anew would make good.
func churn(s *Store, fsys *storetest.FS, at, again int) (have map[int]bool) {
	s.garbage = 300
	have = map[int]bool{}
	last := -1
	for n := range 30 {
		k, spam := n%4, n/4%2 == 0
		if _, err := s.Add([]Lesson{lesson(k, spam, FromPeople)}); err != nil {
			delete(have, k)
		} else {
			have[k] = spam
		}
		if failed := at > 0 && fsys.Ops() >= at; failed {
			fsys.FailAt(1+again, syscall.EIO, false)
			at, last = 0, n+1
		}
		if at == 0 && n == last { // the process is killed
			break
		}
	}
	return have
}

// TestDiskMayFailWhileGarbageGoes: what was acknowledged is there, wherever in the writing anew the disk fails, and fails again.
func TestDiskMayFailWhileGarbageGoes(t *testing.T) {
	whole := storetest.New()
	first := open(t, whole, Options{})
	churn(first, whole, 0, 0)
	if first.size > 15*int64(len(appendRecord(nil, &record{kind: kindLesson, lesson: lesson(1, true, FromPeople)}))) {
		t.Fatal("the file was not written anew")
	}
	for at := 1; at <= whole.Ops(); at++ {
		for again := range 7 {
			fsys := storetest.New()
			fsys.FailAt(at, syscall.EIO, again == 0)
			s, err := Open(dir, StoreOptions{FS: fsys})
			if err != nil {
				break
			}
			have := churn(s, fsys, at, again)
			fsys.FailFrom(1, 0, nil, false)
			_ = s.Close()
			s = open(t, fsys, Options{})
			for k, spam := range have {
				if e, ok := s.known[lesson(k, spam, FromPeople).Digest]; !ok || e.spam != spam {
					t.Errorf("lesson %d: %v, %v", k, ok, e.spam)
				}
			}
			_ = s.Close()
			if t.Failed() {
				t.Fatalf("failed at %d and %d later\n%v", at, again, fsys.Log())
			}
		}
	}
}

// TestShortReadIsNoLesson: where less of the file is there than was, nothing is written anew of what is not known.
func TestShortReadIsNoLesson(t *testing.T) {
	fsys := storetest.New()
	s := open(t, fsys, Options{})
	for n := range 20 {
		add(t, s, Outcome{Learned: 1}, lesson(n, n%2 == 0, FromPeople))
	}
	before := slices.Clone(fsys.Files()[dir+"/"+lessonsFile])
	s.file = &ending{s.file, int64(len(before) / 2)}
	if err := s.rewrite(); !errors.Is(err, ErrDamaged) {
		t.Errorf("written anew: %v", err)
	}
	if err := s.Fit(t.Context()); !errors.Is(err, ErrDamaged) {
		t.Errorf("learned from: %v", err)
	}
	if !bytes.Equal(fsys.Files()[dir+"/"+lessonsFile], before) {
		t.Error("it took the place of the file")
	}
}

// ending is a file that ends at an offset.
type ending struct {
	store.File
	end int64
}

func (e *ending) ReadAt(p []byte, off int64) (int, error) {
	return io.NewSectionReader(e.File, 0, e.end).ReadAt(p, off)
}

// TestFullDiskStopsNoStart: a store with a torn end opens where there is no room to write it anew, and learns again when there is.
func TestFullDiskStopsNoStart(t *testing.T) {
	fsys := storetest.New()
	s := open(t, fsys, Options{})
	for n := range 20 {
		add(t, s, Outcome{Learned: 1}, lesson(n, n%2 == 0, FromPeople))
	}
	_ = s.Close()
	octets := fsys.Files()[dir+"/"+lessonsFile]
	for name, spoiled := range map[string][]byte{
		"torn":       octets[:len(octets)-10],
		"older":      append(appendHeadOf(featureVersion-1), octets[headSize:]...),
		"a hole":     append(append(slices.Clone(octets[:headSize+20]), make([]byte, 20)...), octets[headSize+40:]...),
		"a cut head": octets[:5],
	} {
		other := storetest.New()
		other.Put(dir+"/"+lessonsFile, spoiled)
		other.Fill(0)
		s := open(t, other, Options{})
		want := map[string]int{"torn": 19, "older": 20, "a hole": 19}[name]
		if c := s.Usage().Counts; c.Ham+c.Spam != want {
			t.Errorf("%s: %+v", name, c)
		}
		more := lesson(100, true, FromPeople)
		if _, err := s.Add([]Lesson{more}); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%s: %v", name, err)
		}
		other.Fill(-1)
		add(t, s, Outcome{Learned: 1}, more)
		_ = s.Close()
		s = open(t, other, Options{})
		if c := s.Usage().Counts; c.Ham+c.Spam != want+1 || !has(s, more) {
			t.Errorf("%s: afterwards %+v", name, c)
		}
		_ = s.Close()
	}
}

func appendHeadOf(features uint32) []byte {
	return binary.LittleEndian.AppendUint32(appendHead(nil)[:headSize-4], features)
}

// sizeOf gives how many octets the record of a lesson has.
func sizeOf(l Lesson) int64 {
	return int64(len(appendRecord(nil, &record{kind: kindLesson, lesson: l})))
}

// TestLittleRoomIsEnough: where a disk ran full while a lesson was written, nothing of it stays, and the next is learned as soon as there
// is room for it alone. A copy of all lessons is not begun where there is no room for it.
func TestLittleRoomIsEnough(t *testing.T) {
	for room := range sizeOf(lesson(100, true, FromPeople)) {
		fsys := storetest.New()
		s := open(t, fsys, Options{})
		for n := range 20 {
			add(t, s, Outcome{Learned: 1}, lesson(n, n%2 == 0, FromPeople))
		}
		before := slices.Clone(fsys.Files()[dir+"/"+lessonsFile])
		fsys.Fill(room)
		if _, err := s.Add([]Lesson{lesson(100, true, FromPeople)}); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("room for %d octets: %v", room, err)
		}
		if now := fsys.Files()[dir+"/"+lessonsFile]; !bytes.Equal(now, before) || s.Usage().Durable {
			t.Fatalf("room for %d octets: %d are there of %d", room, len(now), len(before))
		}
		fsys.Fill(sizeOf(lesson(101, true, FromPeople)))
		add(t, s, Outcome{Learned: 1}, lesson(101, true, FromPeople))
		if !s.Usage().Durable {
			t.Error("it says that it can't write")
		}
		_ = s.Close()
		s = open(t, fsys, Options{})
		if c := s.Usage().Counts; c != (Counts{10, 11}) || has(s, lesson(100, true, FromPeople)) || !has(s, lesson(101, true, FromPeople)) {
			t.Fatalf("room for %d octets: %+v", room, c)
		}
		_ = s.Close()
		for _, line := range fsys.Log()[20:] {
			if strings.Contains(line, lessonsFile+".new") && strings.Contains(line, " write ") {
				t.Fatalf("it was written anew\n%v", fsys.Log())
			}
		}
	}
}

// TestNoRoomForACopy: where the file can't be written anew for want of room, lessons are appended to it all the same, and that is tried
// again only when there is as much more garbage.
func TestNoRoomForACopy(t *testing.T) {
	fsys := storetest.New()
	var log strings.Builder
	s, err := Open(dir, StoreOptions{FS: fsys, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.garbage = 2000
	big := max(sizeOf(lesson(1, true, FromPeople)), sizeOf(lesson(1, false, FromPeople)))
	n := 0
	for ; s.size < s.live+s.live+s.garbage-big; n++ {
		add(t, s, Outcome{Learned: 1 - min(n, 1), Corrected: min(n, 1)}, lesson(1, n%2 == 0, FromPeople))
	}
	from := n
	for ; n < from+20; n++ {
		fsys.Fill(big) // enough for a lesson, and not for two
		add(t, s, Outcome{Corrected: 1}, lesson(1, n%2 == 0, FromPeople))
	}
	tries, most := strings.Count(log.String(), "can't be written anew"), int(20*big/s.garbage)+1
	if tries < 1 || tries > most {
		t.Errorf("tried %d times, at most %d were to be", tries, most)
	}
	fsys.Fill(-1)
	for range 2 + s.garbage/big {
		add(t, s, Outcome{Corrected: 1}, lesson(1, n%2 == 0, FromPeople))
		n++
	}
	if s.size > 2*s.live+s.garbage || s.endured != 0 {
		t.Errorf("%d octets, of %d that count", s.size, s.live)
	}
}
