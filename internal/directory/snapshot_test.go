package directory

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postern-mail/postern/internal/store"
	"github.com/postern-mail/postern/upstream"
)

func mailboxes(entries ...string) *upstream.Mailboxes {
	l := upstream.NewMailboxes(0)
	for _, e := range entries {
		l.Add(e)
	}
	return l
}

// sealed puts the right sum below a text.
func sealed(text string) string {
	sum := sha256.Sum256([]byte(text))
	return text + "sha256 " + hex.EncodeToString(sum[:]) + "\n"
}

func TestSnapshot(t *testing.T) {
	at := time.Date(2026, 11, 26, 10, 0, 0, 0, time.UTC)
	var b bytes.Buffer
	if err := writeSnapshot(&b, mailboxes("bob@example.org", "@example.net", "a b@c.test"), at); err != nil {
		t.Fatal(err)
	}
	want := sealed("postern recipients 1\nread 2026-11-26T10:00:00Z\nentries 3\n@example.net\na b@c.test\nbob@example.org\n")
	if b.String() != want {
		t.Errorf("%s", b.String())
	}
	l, read, err := parseSnapshot(b.Bytes())
	if err != nil || !read.Equal(at) || !l.Equal(mailboxes("bob@example.org", "@example.net", "a b@c.test")) {
		t.Errorf("%v, %v", read, err)
	}
	for what, c := range map[string]struct{ text, fault string }{
		"empty":         {"", "not a snapshot"},
		"other":         {"postern quarantine 1\n", "not a snapshot"},
		"newer":         {sealed("postern recipients 2\nwhatever\n"), "newer version"},
		"cut":           {want[:len(want)-1], "sum"},
		"changed":       {strings.Replace(want, "bob", "bop", 1), "sum"},
		"longer":        {want + "x\n", "sum"},
		"no time":       {sealed("postern recipients 1\nentries 1\na@b.test\n"), "no time"},
		"no entries":    {sealed("postern recipients 1\nread 2026-11-26T10:00:00Z\nentries 0\n"), "no entries"},
		"many promised": {sealed("postern recipients 1\nread 2026-11-26T10:00:00Z\nentries 99999999999\na@b.test\n"), "no entries"},
		"one missing":   {sealed("postern recipients 1\nread 2026-11-26T10:00:00Z\nentries 2\na@b.test\n"), "missing"},
		"one twice":     {sealed("postern recipients 1\nread 2026-11-26T10:00:00Z\nentries 2\na@b.test\na@b.test\n"), "twice"},
	} {
		if l, _, err := parseSnapshot([]byte(c.text)); l != nil || err == nil || !strings.Contains(err.Error(), c.fault) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// FuzzSnapshot: no octets break the reader, and what it takes is written as it was.
func FuzzSnapshot(f *testing.F) {
	f.Add([]byte("postern recipients 1\nread 2026-11-26T10:00:00Z\nentries 1\na@b.test\n"), true)
	f.Add([]byte("postern recipients 1\nread 2026-11-26T10:00:00Z\nentries 2\n@b.test\nsha256 x\n"), true)
	f.Add([]byte("postern recipients 2\n"), false)
	f.Fuzz(func(t *testing.T, data []byte, seal bool) {
		if seal {
			data = []byte(sealed(string(data)))
		}
		l, at, err := parseSnapshot(data)
		if err != nil {
			return
		}
		var b bytes.Buffer
		if err := writeSnapshot(&b, l, at); err != nil {
			t.Fatal(err)
		}
		again, _, err := parseSnapshot(b.Bytes())
		if err != nil || !again.Equal(l) {
			t.Errorf("%v\n%q\n%q", err, data, b.String())
		}
	})
}

// TestDamagedSnapshot: one that can't be used is told of, answers nothing, and is replaced by what the directory says.
func TestDamagedSnapshot(t *testing.T) {
	dir, s := t.TempDir(), settings("127.0.0.1:1")
	path := filepath.Join(dir, "ldap-"+s.Digest()+".list")
	if err := os.WriteFile(path, []byte("postern recipients 1\nread"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := Open("test", store.OS, dir, s, Hooks{})
	if err := d.Err(); err == nil || !strings.Contains(err.Error(), "damaged") || !strings.Contains(err.Error(), path) {
		t.Errorf("%v", err)
	}
	if _, _, ok := d.State(); ok {
		t.Error("something is in force")
	}
	if err := d.save(mailboxes("a@b.test"), time.Now()); err != nil {
		t.Fatal(err)
	}
	if d := Open("test", store.OS, dir, s, Hooks{}); d.Err() != nil || known(t, d, "a@b.test") != upstream.Yes {
		t.Errorf("afterwards: %v", d.Err())
	}
}

// full is a file system on which nothing can be written.
type full struct{ store.FS }

func (full) OpenFile(name string, flag int, perm os.FileMode) (store.File, error) {
	if flag != os.O_RDONLY {
		return nil, errors.New("no space left")
	}
	return store.OS.OpenFile(name, flag, perm)
}

// TestNotSaved: a list that can't be written is in force all the same.
func TestNotSaved(t *testing.T) {
	d := Open("test", full{store.OS}, t.TempDir(), settings("x"), Hooks{})
	r := &reading{found: mailboxes("a@b.test")}
	err := d.replace(nil, r, mark{}, "ldap://x", time.Now())
	if !errors.Is(err, ErrNotSaved) || known(t, d, "a@b.test") != upstream.Yes {
		t.Errorf("%v", err)
	}
}

// TestStale: a list of long ago vouches for mailboxes, and does not say of others that they do not exist.
func TestStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := Open("test", store.OS, t.TempDir(), settings("x"), Hooks{})
		d.inForce.Store(&inForce{list: mailboxes("a@b.test"), at: time.Now()})
		time.Sleep(24 * time.Hour)
		if known(t, d, "a@b.test") != upstream.Yes || known(t, d, "b@b.test") != upstream.No {
			t.Error("a day old")
		}
		time.Sleep(time.Second)
		if known(t, d, "a@b.test") != upstream.Yes {
			t.Error("known before, and not any more")
		}
		if _, err := d.Lookup(t.Context(), parse(t, "b@b.test")); !errors.Is(err, ErrStale) {
			t.Errorf("unknown: %v", err)
		}
	})
}

// TestPauses: reads that fail come again soon, then later, and never later than the others.
func TestPauses(t *testing.T) {
	s := settings("127.0.0.1:1")
	s.Refresh = 30 * time.Second
	d := Open("test", store.OS, t.TempDir(), s, Hooks{})
	for i, want := range []time.Duration{5, 10, 20, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30, 30} {
		want *= time.Second
		if got := d.Read(t.Context(), true); got > want || got < want*9/10 {
			t.Errorf("pause %d is %v, not %v or a tenth less", i, got, want)
		}
	}
}

// TestFollow: a source whose question changed answers with the list of before until it has its own, which is compared with that one, after a
// start too. Other servers that are asked the same have the same list.
func TestFollow(t *testing.T) {
	dir := t.TempDir()
	old := Open("test", store.OS, dir, settings("x"), Hooks{})
	old.inForce.Store(&inForce{list: mailboxes("a@b.test", "b@b.test", "c@b.test"), at: time.Now(), own: true})
	s := settings("x")
	s.Filter = "(mail=*)"
	d := Open("test", store.OS, dir, s, Hooks{})
	d.Follow(old)
	if known(t, d, "a@b.test") != upstream.Yes {
		t.Error("the list of before does not answer")
	}
	r := &reading{found: mailboxes("a@b.test")}
	for what, d := range map[string]*Source{"followed": d, "after a start": Open("test", store.OS, dir, s, Hooks{})} {
		if err := d.judge(d.inForce.Load(), r); !errors.Is(err, errShrunk) {
			t.Errorf("%s, a list of a third: %v", what, err)
		}
	}
	if err := d.replace(d.inForce.Load(), r, mark{}, "ldap://x", time.Now()); err != nil {
		t.Error(err)
	}
	if known(t, d, "b@b.test") != upstream.No {
		t.Error("the list of its own does not answer")
	}
	more := s
	more.URLs = append([]string{"ldap://y"}, s.URLs...)
	if d := Open("test", store.OS, dir, more, Hooks{}); d.Err() != nil || known(t, d, "a@b.test") != upstream.Yes {
		t.Errorf("another server: %v", d.Err())
	}
	apart := s
	apart.Apart = true
	if d := Open("test", store.OS, dir, apart, Hooks{}); !errors.Is(d.Err(), ErrNothing) {
		t.Errorf("another directory: %v", d.Err())
	}
}

// TestWord: what somebody says of one list holds for no later one, whatever the clocks were and whether his file can be removed.
func TestWord(t *testing.T) {
	for what, fsys := range map[string]store.FS{"removed": store.OS, "stays": keeping{store.OS}} {
		t.Run(what, func(t *testing.T) {
			d := Open("test", fsys, t.TempDir(), settings("x"), Hooks{})
			d.inForce.Store(&inForce{list: mailboxes("a@b.test", "b@b.test", "c@b.test"), at: time.Now(), own: true})
			one, two := mailboxes("a@b.test"), mailboxes("b@b.test")
			touch := func(at time.Time) {
				t.Helper()
				if err := errors.Join(os.WriteFile(d.word(), nil, 0o600), os.Chtimes(d.word(), at, at)); err != nil {
					t.Fatal(err)
				}
			}
			ahead := time.Now().Add(time.Hour) // as the clock was for a while
			d.doubted(one, time.Now())
			touch(ahead)
			if d.doubted(two, time.Now()); d.vouched() {
				t.Error("a word about another list counts")
			}
			touch(ahead.Add(time.Minute))
			if d.takeOnWord(); known(t, d, "b@b.test") != upstream.Yes || known(t, d, "a@b.test") != upstream.No {
				t.Error("a word does not count")
			}
			if d.doubted(one, time.Now()); d.doubted(one, time.Now()) {
				t.Error("a word counts twice")
			}
			touch(time.Now().Add(time.Minute))
			if !d.doubted(one, time.Now()) {
				t.Error("the next word does not count")
			}
		})
	}
}

// keeping is a file system on which no word can be removed.
type keeping struct{ store.FS }

func (k keeping) Remove(name string) error {
	if strings.HasSuffix(name, upstream.TakeSuffix) {
		return os.ErrPermission
	}
	return k.FS.Remove(name)
}

// BenchmarkLoad reads a snapshot of 100 000 addresses, as a start does, and tells its size, on disk and in memory.
func BenchmarkLoad(b *testing.B) {
	const n = 100_000
	l := upstream.NewMailboxes(n)
	for i := range n {
		l.Add(fmt.Sprintf("firstname.lastname%d@example.org", i))
	}
	var text bytes.Buffer
	if err := writeSnapshot(&text, l, time.Now()); err != nil {
		b.Fatal(err)
	}
	var before, after runtime.MemStats
	for b.Loop() {
		l = nil
		runtime.GC()
		runtime.ReadMemStats(&before)
		var err error
		if l, _, err = parseSnapshot(text.Bytes()); err != nil {
			b.Fatal(err)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(text.Len()), "octets")
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc), "octets-in-memory")
	runtime.KeepAlive(l)
}
