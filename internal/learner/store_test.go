package learner

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/store/storetest"
)

const dir = "/state/learner"

func open(t testing.TB, fsys *storetest.FS, o Options) *Store {
	t.Helper()
	s, err := Open(dir, StoreOptions{Options: o, FS: fsys})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

var day1 = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// lesson makes the nth lesson, taught on the nth day.
func lesson(n int, spam bool, how How) Lesson {
	text := fmt.Sprintf("%d minutes of the meeting about the budget", n)
	if spam {
		text = fmt.Sprintf("%d cheap pills for you, buy now", n)
	}
	s := sampleOf(text)
	s.Digest = Digest{byte(n), byte(n >> 8), 1}
	return NewLesson(s, spam, how, day1.AddDate(0, 0, n))
}

func add(t testing.TB, s *Store, want Outcome, lessons ...Lesson) {
	t.Helper()
	got, err := s.Add(lessons)
	if err != nil || got != want {
		t.Fatalf("%+v, %v; not %+v", got, err, want)
	}
}

func has(s *Store, l Lesson) bool {
	all, err := s.lessons(context.Background())
	return err == nil && slices.ContainsFunc(all, func(x Lesson) bool {
		return x.Digest == l.Digest && x.Spam == l.Spam && x.How == l.How && x.When.Equal(l.When) && bytes.Equal(x.packed, l.packed)
	})
}

func TestNothingIsLearnedTwice(t *testing.T) {
	fsys := storetest.New()
	s := open(t, fsys, Options{})
	ham, spam := lesson(1, false, FromPeople), lesson(2, true, FromRules)
	add(t, s, Outcome{Learned: 2}, ham, spam)
	add(t, s, Outcome{Known: 3}, ham, spam, ham)
	ham.Spam, ham.How = true, FromRules
	add(t, s, Outcome{Kept: 1}, ham) // rules do not know better than people
	ham.How = FromPeople
	other := lesson(3, true, FromRules)
	add(t, s, Outcome{Learned: 1}, other)
	other.How = FromPeople
	add(t, s, Outcome{Known: 1}, other) // people say so, too
	other.Spam, other.How = false, FromRules
	add(t, s, Outcome{Kept: 1}, other)
	if o, err := s.Forget([]Digest{other.Digest}); err != nil || o.Forgotten != 1 {
		t.Errorf("%+v, %v", o, err)
	}
	spam.Spam = false
	add(t, s, Outcome{Corrected: 2, Known: 1}, ham, spam, spam)
	if c := s.Usage().Counts; c != (Counts{1, 1}) {
		t.Errorf("%+v", c)
	}
	if o, err := s.Forget([]Digest{ham.Digest, ham.Digest, {9}}); err != nil || o.Forgotten != 1 {
		t.Errorf("%+v, %v", o, err)
	}
	_ = s.Close()
	s = open(t, fsys, Options{})
	if c := s.Usage().Counts; c != (Counts{Ham: 1}) || !has(s, spam) || has(s, ham) {
		t.Errorf("after a restart: %+v", c)
	}
	add(t, s, Outcome{Learned: 1}, ham)
}

func TestSecondProcessIsKeptOut(t *testing.T) {
	fsys := storetest.New()
	open(t, fsys, Options{})
	if _, err := Open(dir, StoreOptions{FS: fsys}); !errors.Is(err, ErrInUse) {
		t.Errorf("%v", err)
	}
}

func TestNewerFormatsAreRefused(t *testing.T) {
	for name, at := range map[string]int{"form": len(magic), "features": len(magic) + 4} {
		t.Run(name, func(t *testing.T) {
			fsys := storetest.New()
			add(t, open(t, fsys, Options{}), Outcome{Learned: 1}, lesson(1, true, FromPeople))
			octets := slices.Clone(fsys.Files()[dir+"/"+lessonsFile])
			binary.LittleEndian.PutUint32(octets[at:], 3)
			other := storetest.New()
			other.Put(dir+"/"+lessonsFile, octets)
			if err := Readable(other, dir); !errors.Is(err, ErrVersion) || !strings.Contains(err.Error(), dir+"/"+lessonsFile) {
				t.Errorf("Readable: %v", err)
			}
			if _, err := Open(dir, StoreOptions{FS: other}); !errors.Is(err, ErrVersion) || !strings.Contains(err.Error(), dir+"/"+lessonsFile) {
				t.Errorf("Open: %v", err)
			}
			if !bytes.Equal(other.Files()[dir+"/"+lessonsFile], octets) {
				t.Error("it was changed")
			}
			if err := Import(bytes.NewReader(octets), func(Lesson) error { return nil }); !errors.Is(err, ErrVersion) {
				t.Errorf("Import: %v", err)
			}
		})
	}
}

// TestReadable: what Open would read, or make anew, is readable, be it open elsewhere.
func TestReadable(t *testing.T) {
	fsys := storetest.New()
	if err := Readable(fsys, dir); err != nil {
		t.Errorf("no store: %v", err)
	}
	add(t, open(t, fsys, Options{}), Outcome{Learned: 1}, lesson(1, true, FromPeople))
	if err := Readable(fsys, dir); err != nil {
		t.Errorf("an open store: %v", err)
	}
	octets := slices.Clone(fsys.Files()[dir+"/"+lessonsFile])
	for name, tt := range map[string]struct {
		octets []byte
		want   error
	}{"empty": {nil, nil}, "cut": {octets[:headSize-1], nil}, "another file": {[]byte("this is some other file, and longer than a head"), ErrFormat}} {
		other := storetest.New()
		other.Put(dir+"/"+lessonsFile, tt.octets)
		if err := Readable(other, dir); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := Open(dir, StoreOptions{FS: other}); !errors.Is(err, tt.want) {
			t.Errorf("%s: Open: %v", name, err)
		}
	}
}

// TestAnOlderStoreIsTakenOver: lessons of the version before are kept and learned from, in a file that it would refuse.
func TestAnOlderStoreIsTakenOver(t *testing.T) {
	fsys := storetest.New()
	s := open(t, fsys, Options{})
	for n := range 6 {
		add(t, s, Outcome{Learned: 1}, lesson(n, n%2 == 1, FromPeople))
	}
	if err := s.Fit(t.Context()); err != nil {
		t.Fatal(err)
	}
	old := storetest.New()
	for _, name := range []string{lessonsFile, weightsFile} {
		octets := slices.Clone(fsys.Files()[dir+"/"+name])
		binary.LittleEndian.PutUint32(octets[len(magic)+4:], 1)
		old.Put(dir+"/"+name, octets)
	}
	var export bytes.Buffer
	if err := s.Export(&export); err != nil {
		t.Fatal(err)
	}
	binary.LittleEndian.PutUint32(export.Bytes()[len(magic)+4:], 1)
	n := 0
	if err := Import(&export, func(Lesson) error { n++; return nil }); err != nil || n != 6 {
		t.Errorf("of an export: %d lessons, %v", n, err)
	}

	s = open(t, old, Options{})
	if c := s.Status().Counts; c != (Counts{3, 3}) {
		t.Errorf("%+v", c)
	}
	if s.weights.Load().w == nil {
		t.Error("the old weights do not serve")
	}
	if !s.Stale() {
		t.Error("it takes the old weights for its own")
	}
	if err := s.Fit(t.Context()); err != nil || s.Stale() {
		t.Errorf("fitted anew: %v, stale: %v", err, s.Stale())
	}
	for _, name := range []string{lessonsFile, weightsFile} {
		if v := binary.LittleEndian.Uint32(old.Files()[dir+"/"+name][len(magic)+4:]); v != featureVersion {
			t.Errorf("%s is of version %d", name, v)
		}
	}
	add(t, s, Outcome{Known: 1}, lesson(1, true, FromPeople))
	add(t, s, Outcome{Learned: 1}, lesson(7, true, FromPeople))
}

// work teaches lessons one by one until something fails, takes some back, and gives what was acknowledged.
func work(s *Store, from, to int) (have map[int]bool, err error) {
	have = map[int]bool{}
	for n := from; n < to; n++ {
		if _, err = s.Add([]Lesson{lesson(n, n%2 == 0, FromPeople)}); err != nil {
			return have, err
		}
		have[n] = true
		if n%5 == 4 {
			if _, err = s.Forget([]Digest{lesson(n-2, false, 0).Digest}); err != nil {
				delete(have, n-2) // it may be gone or not
				return have, err
			}
			have[n-2] = false
		}
	}
	if from == 0 {
		err = s.Fit(context.Background())
	}
	return have, err
}

// agree looks whether a store has what was acknowledged, and nothing that was taken back.
func agree(t *testing.T, s *Store, have map[int]bool) {
	t.Helper()
	for n, there := range have {
		if l := lesson(n, n%2 == 0, FromPeople); has(s, l) != there {
			t.Errorf("lesson %d: there: %v", n, !there)
		}
	}
}

func TestPowerMayGoAtAnyTime(t *testing.T) {
	whole := storetest.New()
	s := open(t, whole, Options{})
	if _, err := work(s, 0, 12); err != nil {
		t.Fatal(err)
	}
	for cut := 1; cut <= whole.Ops(); cut++ {
		for _, loss := range storetest.Losses() {
			fsys := storetest.New()
			fsys.CutAt(cut)
			have := map[int]bool{}
			if s, err := Open(dir, StoreOptions{FS: fsys}); err == nil {
				have, _ = work(s, 0, 12)
			}
			fsys.Reboot(loss, uint64(cut))
			s, err := Open(dir, StoreOptions{FS: fsys})
			if err != nil {
				t.Fatalf("cut %d, %v: %v\n%v", cut, loss, err, fsys.Log())
			}
			agree(t, s, have)
			more, err := work(s, 100, 105)
			if err != nil {
				t.Fatalf("cut %d, %v: %v", cut, loss, err)
			}
			_ = s.Close()
			s = open(t, fsys, Options{})
			agree(t, s, have)
			agree(t, s, more)
			_ = s.Close()
			if t.Failed() {
				t.Fatalf("cut %d, %v\n%v", cut, loss, fsys.Log())
			}
		}
	}
}

func TestDiskMayFailAtAnyTime(t *testing.T) {
	whole := storetest.New()
	if _, err := work(open(t, whole, Options{}), 0, 12); err != nil {
		t.Fatal(err)
	}
	for at := 1; at <= whole.Ops(); at++ {
		for _, short := range []bool{false, true} {
			fsys := storetest.New()
			fsys.FailAt(at, syscall.EIO, short)
			s, err := Open(dir, StoreOptions{FS: fsys})
			if err != nil {
				continue
			}
			have, _ := work(s, 0, 12)
			more, err := work(s, 100, 112) // it goes on when the disk does
			if err != nil {
				t.Fatalf("%d: %v\n%v", at, err, fsys.Log())
			}
			_ = s.Close()
			s = open(t, fsys, Options{})
			agree(t, s, have)
			agree(t, s, more)
			_ = s.Close()
			if t.Failed() {
				t.Fatalf("failed at %d, %v\n%v", at, short, fsys.Log())
			}
		}
	}
}

func TestFullDiskLosesNothing(t *testing.T) {
	fsys := storetest.New()
	s := open(t, fsys, Options{})
	fsys.Fill(1000)
	have, err := work(s, 0, 100)
	if !errors.Is(err, syscall.ENOSPC) || len(have) < 3 {
		t.Fatalf("%v after %d", err, len(have))
	}
	if _, err := s.Add([]Lesson{lesson(200, true, FromPeople)}); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("%v", err)
	}
	agree(t, s, have)
	fsys.Fill(-1)
	more, err := work(s, 100, 110)
	if err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
	s = open(t, fsys, Options{})
	agree(t, s, have)
	agree(t, s, more)
}

func TestDamageIsSetAside(t *testing.T) {
	fsys := storetest.New()
	s := open(t, fsys, Options{})
	if _, err := work(s, 0, 2); err != nil {
		t.Fatal(err)
	}
	first := s.size
	if _, err := s.Add([]Lesson{lesson(2, true, FromPeople), lesson(3, false, FromPeople)}); err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
	octets := slices.Clone(fsys.Files()[dir+"/"+lessonsFile])
	octets[first+40] ^= 1
	other := storetest.New()
	other.Put(dir+"/"+lessonsFile, octets)
	s = open(t, other, Options{})
	agree(t, s, map[int]bool{0: true, 1: true, 2: false, 3: true})
	if !bytes.Equal(other.Files()[dir+"/"+damagedFile], octets) {
		t.Error("it was not set aside")
	}
}

func TestGarbageGoes(t *testing.T) {
	fsys := storetest.New()
	s := open(t, fsys, Options{})
	big := Sample{Digest: Digest{7}}
	for f := range uint32(maxFeatures) {
		big.Features = append(big.Features, f*1000)
	}
	for n := range 600 {
		add(t, s, Outcome{Learned: max(1-n, 0), Corrected: min(n, 1)}, NewLesson(big, n%2 == 0, FromPeople, day1))
	}
	if size := len(fsys.Files()[dir+"/"+lessonsFile]); size > leastGarbage+100<<10 {
		t.Errorf("%d octets of one lesson", size)
	}
}

func TestExportsAreWhole(t *testing.T) {
	s := open(t, storetest.New(), Options{})
	add(t, s, Outcome{Learned: 3}, lesson(1, true, FromPeople), lesson(2, false, FromRules), lesson(3, true, FromQuarantine))
	var out bytes.Buffer
	if err := s.Export(&out); err != nil {
		t.Fatal(err)
	}
	for n := range out.Len() {
		err := Import(bytes.NewReader(out.Bytes()[:n]), func(Lesson) error { return nil })
		if !errors.Is(err, ErrCut) {
			t.Fatalf("of %d octets of %d: %v", n, out.Len(), err)
		}
	}
	other := open(t, storetest.New(), Options{})
	var all []Lesson
	if err := Import(&out, func(l Lesson) error { all = append(all, l); return nil }); err != nil {
		t.Fatal(err)
	}
	add(t, other, Outcome{Learned: 3}, all...)
	if !has(other, lesson(1, true, FromPeople)) || !has(other, lesson(2, false, FromRules)) || !has(other, lesson(3, true, FromQuarantine)) {
		t.Error("not what was exported")
	}
}

func TestScoresOutliveTheProcess(t *testing.T) {
	fsys := storetest.New()
	s := open(t, fsys, Options{Least: 40})
	for n := range 80 {
		add(t, s, Outcome{Learned: 1}, lesson(n, n%2 == 0, FromPeople))
	}
	spam := sampleOf("cheap pills for you")
	if s.Ready() || s.Score(spam) != 0 {
		t.Error("it speaks before it has learned")
	}
	if err := s.Fit(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := s.Score(spam)
	if !s.Ready() || want <= 0 {
		t.Errorf("%v, %.2f", s.Ready(), want)
	}
	_ = s.Close()
	s = open(t, fsys, Options{Least: 40})
	if got := s.Score(spam); got != want || !s.Ready() || len(s.changed) != 0 {
		t.Errorf("%.2f, not %.2f", got, want)
	}
	snap, err := ReadSnapshot(fsys, dir, Options{Least: 40})
	if err != nil || snap.Score(spam) != want || !snap.Ready() {
		t.Errorf("the snapshot: %v", err)
	}
	if _, err := ReadSnapshot(storetest.New(), dir, Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no snapshot: %v", err)
	}
}

// TestPausesTeachNothing: lessons of long ago count as they did, and one new lesson does not outweigh them.
func TestPausesTeachNothing(t *testing.T) {
	now := time.Now()
	var all []Lesson
	for n := range 100 {
		l := lesson(n, n%2 == 0, FromPeople)
		l.When = now.Add(-100 * 365 * 24 * time.Hour)
		all = append(all, l)
	}
	for name, lessons := range map[string][]Lesson{"a pause": all, "one lesson after it": append(all[:len(all):len(all)], func() Lesson {
		l := lesson(1000, true, FromPeople)
		l.When = now
		return l
	}())} {
		w := newTraining(lessons, now, 24*time.Hour)
		for i, x := range w.share {
			if !(x > 0 && x <= mostShare) {
				t.Errorf("%s: lesson %d counts %v", name, i, x)
			}
		}
		if fitted := fit(t.Context(), lessons, now, 24*time.Hour); fitted.slope != fitted.slope || fitted.bias != fitted.bias || fitted.shift != fitted.shift {
			t.Errorf("%s: %v %v", name, fitted.slope, fitted.bias)
		}
	}
}

// TestFitIsBrokenOff by its context, and what was learned before stays.
func TestFitIsBrokenOff(t *testing.T) {
	s := open(t, storetest.New(), Options{Least: 20})
	for n := range 60 {
		add(t, s, Outcome{Learned: 1}, lesson(n, n%2 == 0, FromPeople))
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := s.Fit(ctx); !errors.Is(err, context.Canceled) || s.Ready() || !s.Stale() {
		t.Errorf("%v, ready: %v", err, s.Ready())
	}
	if err := s.Fit(t.Context()); err != nil || !s.Ready() || s.Stale() {
		t.Errorf("%v, ready: %v", err, s.Ready())
	}
}

// TestLostBlockTakesNothingElse: where the disk has lost a block of the file, what stands behind it is still known.
func TestLostBlockTakesNothingElse(t *testing.T) {
	fsys := storetest.New()
	s := open(t, fsys, Options{})
	for n := range 400 {
		add(t, s, Outcome{Learned: 1}, lesson(n, n%2 == 0, FromPeople))
	}
	_ = s.Close()
	whole := fsys.Files()[dir+"/"+lessonsFile]
	zeros := func(b []byte) { clear(b) }
	for name, c := range map[string]struct {
		spoil func(b []byte)
		end   int
	}{
		"zeros":               {zeros, len(whole)},
		"others":              {func(b []byte) { copy(b, bytes.Repeat([]byte("others' octets "), len(b))) }, len(whole)},
		"zeros, a record cut": {zeros, len(whole) - 10},
	} {
		octets := slices.Clone(whole[:c.end])
		c.spoil(octets[4096:8192])
		other := storetest.New()
		other.Put(dir+"/"+lessonsFile, octets)
		s := open(t, other, Options{})
		lost := 0
		for n := range 400 {
			if !has(s, lesson(n, n%2 == 0, FromPeople)) {
				lost++
			}
		}
		if most := 4096*400/len(whole) + 2; lost == 0 || lost > most {
			t.Errorf("%s: %d lessons are lost, not at most %d", name, lost, most)
		}
		if !bytes.Equal(other.Files()[dir+"/"+damagedFile], octets) {
			t.Errorf("%s: it was not set aside", name)
		}
		_ = s.Close()
	}
}

// TestUnreadableIsNoEnd: behind a damaged record the disk can't be read: nobody knows what stands there, and it is no end.
func TestUnreadableIsNoEnd(t *testing.T) {
	fsys := storetest.New()
	s := open(t, fsys, Options{})
	for n := range 20 {
		add(t, s, Outcome{Learned: 1}, lesson(n, n%2 == 0, FromPeople))
	}
	_ = s.Close()
	octets := fsys.Files()[dir+"/"+lessonsFile]
	octets[len(octets)/2] ^= 1
	_, _, err := scanRecords(unreadable{bytes.NewReader(octets), int64(len(octets)/2 + 40)}, func(record, int64, int64) {})
	if !errors.Is(err, syscall.EIO) {
		t.Errorf("got %v", err)
	}
}

// unreadable is a file that can't be read from an offset on.
type unreadable struct {
	io.ReaderAt
	from int64
}

func (u unreadable) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) <= u.from {
		return u.ReaderAt.ReadAt(p, off)
	}
	n, _ := u.ReaderAt.ReadAt(p[:max(u.from-off, 0)], off)
	return n, syscall.EIO
}
