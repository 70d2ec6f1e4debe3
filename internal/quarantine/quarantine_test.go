package quarantine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postern-mail/postern/internal/store/storetest"
	"github.com/postern-mail/postern/mail"
)

const dir = "/state/quarantine"

var began = time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)

// clock is a time that tests set.
type clock struct{ atomic.Int64 }

func newClock() *clock { c := &clock{}; c.Store(began.UnixNano()); return c }

func (c *clock) now() time.Time          { return time.Unix(0, c.Load()).UTC() }
func (c *clock) advance(d time.Duration) { c.Add(int64(d)) }

func disk() *storetest.FS {
	f := storetest.New()
	f.Now = func() time.Time { return began }
	f.Put("/state/x", nil)
	return f
}

func open(t *testing.T, f *storetest.FS, o Options) *Store {
	t.Helper()
	o.FS = f
	if o.Now == nil {
		o.Now = func() time.Time { return began }
	}
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var content = []byte("Subject: held\r\n\r\n" + strings.Repeat("text\r\n", 50))

func entryOf(id string) Entry {
	return Entry{
		ID: id, Kind: Held, Client: "192.0.2.1", From: id + "@example.net", To: []string{"b@example.org"}, Subject: "held",
		Because: "attachments: executable", Score: 3.5, Findings: []Finding{{Filter: "attachments", Symbol: "EXECUTABLE", Score: 3.5}},
	}
}

func keep(s *Store, id string) error {
	b := mail.NewBlob(bytes.Clone(content))
	defer b.Release()
	held, err := s.Keep(context.Background(), entryOf(id), b)
	if err == nil && held != id {
		err = fmt.Errorf("held as %s", held)
	}
	return err
}

// holds checks that the entry is there, whole.
func holds(t *testing.T, s *Store, id string) bool {
	t.Helper()
	all, err := s.List()
	if err != nil {
		t.Fatalf("List: %v", err)
	}
	for _, e := range all {
		if e.ID != id {
			continue
		}
		r, err := s.Content(id)
		if err != nil {
			t.Fatalf("Content: %v", err)
		}
		got, err := io.ReadAll(r)
		if err = errors.Join(err, r.Close()); err != nil || !bytes.Equal(got, content) {
			t.Fatalf("content: %v, %q", err, got)
		}
		if e.Size != int64(len(content)) || len(e.SHA256) != 64 || strings.HasPrefix(e.SHA256, "0000") {
			t.Fatalf("record: %+v", e)
		}
		return true
	}
	if _, err := s.Get(id); !errors.Is(err, ErrNotFound) {
		t.Fatalf("not listed, and Get gives %v", err)
	}
	return false
}

func TestKeepAndFind(t *testing.T) {
	s := open(t, disk(), Options{Keep: time.Hour, Size: 1 << 20})
	if err := keep(s, "mx1-0002"); err != nil {
		t.Fatal(err)
	}
	if err := keep(s, "mx1-0001"); err != nil {
		t.Fatal(err)
	}
	if err := keep(s, "mx1-0001"); !errors.Is(err, ErrExists) {
		t.Errorf("the same id again: %v", err)
	}
	if !holds(t, s, "mx1-0001") || !holds(t, s, "mx1-0002") {
		t.Error("not held")
	}
	all, err := s.List()
	if err != nil || len(all) != 2 || all[0].ID != "mx1-0001" {
		t.Errorf("%v, %v", all, err)
	}
	want := entryOf("mx1-0001")
	want.Version, want.Time, want.Size, want.SHA256 = 1, began, int64(len(content)), all[0].SHA256
	if diff := cmp.Diff(want, all[0]); diff != "" {
		t.Error(diff)
	}
	u := s.Usage()
	if u.Messages != 2 || u.Kept != 2 || u.Octets <= 2*int64(len(content)) {
		t.Errorf("%+v", u)
	}
	if again := open(t, s.o.FS.(*storetest.FS), Options{}).Usage(); again.Octets != u.Octets || again.Messages != 2 {
		t.Errorf("counted anew %+v, was %+v", again, u)
	}
	if err := s.Remove("mx1-0001"); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove("mx1-0001"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if holds(t, s, "mx1-0001") {
		t.Error("removed, and still there")
	}
	if u := s.Usage(); u.Messages != 1 || u.Removed != 1 {
		t.Errorf("%+v", u)
	}
}

func TestIDs(t *testing.T) {
	s := open(t, disk(), Options{})
	for _, id := range []string{"", ".", "..", "../x", "a/b", "a\\b", "-a", "a.b", "a\x00", "ä", "version", strings.Repeat("a", 101), "a b", "a\n"} {
		b := mail.NewBlob(bytes.Clone(content))
		deliver := func(Entry, *mail.Blob) error { t.Errorf("%q was delivered", id); return nil }
		_, err := s.Get(id)
		_, err2 := s.Content(id)
		_, err3 := s.Keep(context.Background(), Entry{ID: id}, b)
		for i, err := range []error{
			err, err2, err3, s.Remove(id), s.Settle(id, true),
			s.Release(context.Background(), id, deliver),
		} {
			if !errors.Is(err, ErrID) {
				t.Errorf("%q, call %d: %v", id, i, err)
			}
		}
		b.Release()
	}
	if err := keep(s, mail.NewID("mx1.example.org")); err != nil {
		t.Error(err)
	}
}

// TestKeepPowerCut cuts the power at every operation of Keep, in every way to lose: an entry is whole or
// absent, and whole once Keep has returned nil; the one of before is always there.
func TestKeepPowerCut(t *testing.T) {
	dry := disk()
	s := open(t, dry, Options{})
	before := dry.Ops()
	if err := keep(s, "new"); err != nil {
		t.Fatal(err)
	}
	ops := dry.Ops() - before
	for cut := 1; cut <= ops+1; cut++ {
		for _, loss := range storetest.Losses() {
			for seed := range uint64(10) {
				f := disk()
				s := open(t, f, Options{})
				if err := keep(s, "old"); err != nil {
					t.Fatal(err)
				}
				f.CutAt(cut)
				err := keep(s, "new")
				if (err == nil) != (cut > ops) {
					t.Fatalf("cut at %d of %d: %v", cut, ops, err)
				}
				f.Reboot(loss, seed)
				s = open(t, f, Options{Keep: 1000 * time.Hour})
				if !holds(t, s, "old") {
					t.Fatalf("cut at %d, loss %d: the old entry is gone", cut, loss)
				}
				if !holds(t, s, "new") && err == nil {
					t.Fatalf("cut at %d, loss %d: acknowledged and gone\n%s", cut, loss, strings.Join(f.Log(), "\n"))
				}
				had := holds(t, s, "new")
				if _, err := s.Sweep(began.Add(2 * leftoverAge)); err != nil {
					t.Fatal(err)
				}
				if holds(t, s, "new") != had || !holds(t, s, "old") {
					t.Fatalf("cut at %d, loss %d: swept away", cut, loss)
				}
				want := 3 // version, and the old entry's
				if had {
					want = 5
				}
				left := f.Files()
				delete(left, "/state/x")
				if len(left) != want {
					t.Fatalf("cut at %d, loss %d: left behind: %q", cut, loss, left)
				}
			}
		}
	}
}

// TestKeepFaults lets each operation of Keep fail by itself, then cuts the power: after an error the entry
// may be there or not, never in part.
func TestKeepFaults(t *testing.T) {
	dry := disk()
	s := open(t, dry, Options{})
	before := dry.Ops()
	if err := keep(s, "new"); err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= dry.Ops()-before; n++ {
		for _, loss := range storetest.Losses() {
			for seed := range uint64(10) {
				f := disk()
				s := open(t, f, Options{Size: 1 << 20})
				f.FailAt(n, syscall.EIO, seed%2 == 0)
				err := keep(s, "new")
				if !errors.Is(err, syscall.EIO) {
					t.Fatalf("operation %d: %v", n, err)
				}
				if u := s.Usage(); u.Messages != 0 || u.Octets != 0 || s.reserved != 0 {
					t.Fatalf("operation %d: %+v, reserved %d", n, u, s.reserved)
				}
				holds(t, s, "new")
				f.Reboot(loss, seed)
				holds(t, open(t, f, Options{}), "new")
			}
		}
	}
}

func TestOpenPowerCut(t *testing.T) {
	dry := disk()
	open(t, dry, Options{})
	for cut := 1; cut <= dry.Ops(); cut++ {
		for _, loss := range storetest.Losses() {
			for seed := range uint64(10) {
				f := disk()
				f.CutAt(cut)
				_, _ = Open(dir, Options{FS: f, Now: func() time.Time { return began }})
				f.Reboot(loss, seed)
				s, err := Open(dir, Options{FS: f, Now: func() time.Time { return began.Add(time.Second) }})
				if err != nil {
					t.Fatalf("cut at %d, loss %d: %v", cut, loss, err)
				}
				if err := keep(s, "a"); err != nil {
					t.Fatal(err)
				}
				f.Reboot(storetest.All, 0)
				if !holds(t, open(t, f, Options{}), "a") {
					t.Fatalf("cut at %d, loss %d: acknowledged and gone", cut, loss)
				}
			}
		}
	}
}

func TestFullAndExpired(t *testing.T) {
	c := newClock()
	f := disk()
	f.Now = c.now
	s := open(t, f, Options{Keep: time.Hour, Now: c.now, Size: 4096})
	n := 0
	var err error
	for ; n < 100; n++ {
		if err = keep(s, fmt.Sprintf("a%02d", n)); err != nil {
			break
		}
	}
	if !errors.Is(err, ErrFull) || n < 2 || n > 10 {
		t.Fatalf("after %d: %v", n, err)
	}
	if u := s.Usage(); u.Messages != n || u.Octets > 4096 || u.Full != 1 {
		t.Errorf("%+v", u)
	}
	c.advance(2 * time.Hour)
	if err := keep(s, "late"); err != nil {
		t.Fatalf("what has expired makes no room: %v", err)
	}
	if !holds(t, s, "late") || holds(t, s, "a00") {
		t.Error("the wrong one went")
	}
	if u := s.Usage(); u.Messages != 1 || u.Expired != int64(n) {
		t.Errorf("%+v", u)
	}
	c.advance(time.Hour)
	if n, err := s.Sweep(c.now()); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}

func TestDiskFull(t *testing.T) {
	f := disk()
	s := open(t, f, Options{})
	for room := int64(0); room < 900; room += 7 {
		f.Fill(room)
		err := keep(s, "a")
		if err == nil {
			break
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
		if left := f.Files(); len(left) != 2 {
			t.Fatalf("left behind: %q", left)
		}
	}
}

// TestDamaged: what can't be read is told, and hides nothing else.
func TestDamaged(t *testing.T) {
	f := disk()
	s := open(t, f, Options{Keep: time.Hour})
	for _, id := range []string{"good", "changed"} {
		if err := keep(s, id); err != nil {
			t.Fatal(err)
		}
	}
	f.Put(dir+"/bad.json", []byte("{"))
	f.Put(dir+"/bad.eml", content)
	f.Put(dir+"/alone.json", []byte(`{"version":1,"id":"alone","time":"2026-05-04T03:02:01Z"}`))
	f.Put(dir+"/newer.json", []byte(`{"version":2,"id":"newer"}`))
	f.Put(dir+"/newer.eml", content)
	f.Put(dir+"/other.json", []byte(`{"version":1,"id":"else"}`))
	f.Put(dir+"/other.eml", content)
	f.Put(dir+"/changed.eml", bytes.ToUpper(content))
	f.Put(dir+"/README", []byte("not ours"))
	f.Put(dir+"/.x.json", []byte("not ours"))
	all, err := s.List()
	if len(all) != 2 || !errors.Is(err, ErrDamaged) || !errors.Is(err, ErrVersion) {
		t.Errorf("%v, %v", all, err)
	}
	for _, name := range []string{"bad", "alone", "newer", "other"} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%s is not told of: %v", name, err)
		}
	}
	deliver := func(Entry, *mail.Blob) error { t.Error("delivered"); return nil }
	if err := s.Release(context.Background(), "changed", deliver); !errors.Is(err, ErrDamaged) {
		t.Error(err)
	}
	if err := s.Release(context.Background(), "newer", deliver); !errors.Is(err, ErrVersion) {
		t.Error(err)
	}
	if _, err := s.Sweep(began.Add(2 * time.Hour)); err != nil {
		t.Fatal(err)
	}
	left := f.Files()
	for _, name := range []string{"newer.json", "newer.eml", "README", ".x.json"} {
		if _, ok := left[dir+"/"+name]; !ok {
			t.Errorf("%s was swept away", name)
		}
	}
	if _, ok := left[dir+"/bad.json"]; ok {
		t.Error("a damaged record never goes")
	}
}

func TestNewerFolder(t *testing.T) {
	f := disk()
	f.Put(dir+"/version", []byte("2\n"))
	if _, err := Open(dir, Options{FS: f}); !errors.Is(err, ErrVersion) {
		t.Error(err)
	}
	f.Put(dir+"/version", []byte("x"))
	if _, err := Open(dir, Options{FS: f}); !errors.Is(err, ErrDamaged) {
		t.Error(err)
	}
}

func TestKeepCancelled(t *testing.T) {
	s := open(t, disk(), Options{})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	b := mail.NewBlob(bytes.Clone(content))
	defer b.Release()
	if _, err := s.Keep(ctx, entryOf("a"), b); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	b2 := mail.NewBlob(bytes.Clone(content))
	b2.Release()
	if _, err := s.Keep(context.Background(), entryOf("a"), b2); err == nil {
		t.Error("kept what is no longer there")
	}
	if holds(t, s, "a") {
		t.Error("kept")
	}
}

func TestKeepTogether(t *testing.T) {
	s, err := Open(filepath.Join(t.TempDir(), "q"), Options{Size: 40 * 1000})
	if err != nil {
		t.Fatal(err)
	}
	var kept, full atomic.Int64
	var group sync.WaitGroup
	for i := range 100 {
		group.Go(func() {
			switch err := keep(s, fmt.Sprintf("a%03d", i)); {
			case err == nil:
				kept.Add(1)
			case errors.Is(err, ErrFull):
				full.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	group.Wait()
	all, err := s.List()
	if err != nil || int64(len(all)) != kept.Load() || full.Load() == 0 {
		t.Errorf("%d kept, %d listed, %d full, %v", kept.Load(), len(all), full.Load(), err)
	}
	before := s.Usage()
	if _, err := s.look(); err != nil {
		t.Fatal(err)
	}
	if after := s.Usage(); before.Octets > 40*1000 || after.Messages != before.Messages || after.Octets != before.Octets {
		t.Errorf("counted %+v, are %+v", before, after)
	}
}

// TestLargeRecord keeps a message whose record would be larger than what is read again: it leaves out what made it
// so, and says that.
func TestLargeRecord(t *testing.T) {
	s := open(t, disk(), Options{})
	e := entryOf("mx-large")
	e.Parts = json.RawMessage(`"` + strings.Repeat("x", maxRecord) + `"`)
	for range 5000 {
		e.Findings = append(e.Findings, Finding{Filter: "attachments", Symbol: "NAME_HIDDEN", Detail: strings.Repeat("<", 1000)})
	}
	b := mail.NewBlob(bytes.Clone(content))
	defer b.Release()
	if _, err := s.Keep(t.Context(), e, b); err != nil {
		t.Fatal(err)
	}
	got, err := s.Get("mx-large")
	if err != nil || !got.Trimmed || len(got.Parts) > 0 || len(got.Findings) != 100 || got.Because != e.Because {
		t.Errorf("%v: trimmed %v, %d octets of parts, %d findings", err, got.Trimmed, len(got.Parts), len(got.Findings))
	}
}
