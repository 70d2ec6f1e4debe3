package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/postern-mail/postern/internal/store/storetest"
	"github.com/postern-mail/postern/mail"
)

const dir = "/state/spool"

var began = time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)

func disk() *storetest.FS {
	f := storetest.New()
	f.Now = func() time.Time { return began }
	f.Put("/state/x", nil)
	return f
}

func openOn(t *testing.T, f *storetest.FS, o Options) *Store {
	t.Helper()
	o.FS, o.Now = f, func() time.Time { return began }
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// sample is an entry with what each of its groups is to get.
type sample struct {
	entry    Entry
	original []byte
	groups   [][]byte
}

// sampleOf makes an entry of two groups: one gets the original with a field on top, the other something in its middle too.
func sampleOf(id string, size int) *sample {
	original := []byte("Subject: " + id + "\r\n\r\n")
	for i := 0; len(original) < size; i++ {
		original = fmt.Appendf(original, "line %d of %s\r\n", i, id)
	}
	top := "X-Top: " + id + "\r\n"
	middle := strings.Repeat("in the middle of "+id+"\r\n", 3)
	at := len(original) / 2
	return &sample{
		entry: Entry{
			ID: id, Time: began, From: "a+" + id + "@example.net", Size: int64(len(original)), Subject: "ü <&>",
			Groups: []Group{
				{Route: "one", Upstream: "u", To: []Recipient{{Address: "b@example.org"}, {Address: "c@example.org", Notify: "NEVER"}}, Size: int64(len(top) + len(original))},
				{Route: "two", Upstream: "v", To: []Recipient{{Address: "d@example.org"}}, Size: int64(len(top) + len(original) + len(middle))},
			},
		},
		original: original,
		groups: [][]byte{
			append([]byte(top), original...),
			bytes.Join([][]byte{[]byte(top), original[:at], []byte(middle), original[at:]}, nil),
		},
	}
}

// messages gives what the groups are to get, as edge would: over one blob.
func (x *sample) messages(b *mail.Blob) ([]*mail.Message, error) {
	top := x.groups[0][:len(x.groups[0])-len(x.original)]
	at := int64(len(x.original) / 2)
	middle := x.groups[1][len(top)+int(at) : len(x.groups[1])-(len(x.original)-int(at))]
	whole := mail.NewMessage(b)
	defer whole.Release()
	other := mail.NewBlob(middle)
	defer other.Release()
	two, err := mail.Compose(b, []mail.Run{
		{Data: top, N: int64(len(top))},
		{Blob: b, N: at},
		{Blob: other, N: int64(len(middle))},
		{Blob: b, Off: at, N: b.Size() - at},
	})
	if err != nil {
		return nil, err
	}
	return []*mail.Message{whole.Prepend(top), two}, nil
}

// put gives a sample to a store.
func (x *sample) put(s *Store, b *mail.Blob) error {
	messages, err := x.messages(b)
	if err != nil {
		return err
	}
	for _, m := range messages {
		defer m.Release()
	}
	return s.Put(context.Background(), x.entry, b, messages)
}

func (x *sample) keep(t *testing.T, s *Store) {
	t.Helper()
	b := mail.NewBlob(x.original)
	defer b.Release()
	if err := x.put(s, b); err != nil {
		t.Fatal(err)
	}
}

// putTogether puts samples into one file.
func putTogether(t *testing.T, s *Store, samples ...*sample) {
	t.Helper()
	var batch []*putting
	for _, x := range samples {
		b := mail.NewBlob(x.original)
		defer b.Release()
		messages, err := x.messages(b)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range messages {
			defer m.Release()
		}
		p, err := s.compile(t.Context(), x.entry, b, messages)
		if err == nil {
			err = p.sum()
		}
		if err == nil && p.layout.large {
			err = s.putOriginal(p)
			s.account(0, p.head.original)
		}
		if err != nil {
			t.Fatal(err)
		}
		batch = append(batch, p)
	}
	s.commit(batch)
	for _, p := range batch {
		if p.failure != nil {
			t.Fatal(p.failure)
		}
	}
}

var equalEntry = cmp.Options{cmpopts.EquateComparable(netip.AddrPort{}), cmpopts.EquateEmpty()}

// content reads what a group is to get.
func content(s *Store, id string, group int) ([]byte, error) {
	m, err := s.Message(id, group)
	if err != nil {
		return nil, err
	}
	defer m.Release()
	var b bytes.Buffer
	_, err = m.WriteTo(&b)
	return b.Bytes(), err
}

// check reads all of a sample back; the marks are the caller's to look at.
func (x *sample) check(s *Store) error {
	e, err := s.Load(x.entry.ID)
	if err != nil {
		return err
	}
	for i := range e.Groups {
		g := &e.Groups[i]
		g.Attempts, g.Next, g.Warned, g.Held = 0, time.Time{}, false, false
		for j := range g.To {
			g.To[j] = Recipient{Address: g.To[j].Address, Notify: g.To[j].Notify, Original: g.To[j].Original}
		}
	}
	if d := cmp.Diff(x.entry, e, equalEntry); d != "" {
		return fmt.Errorf("entry, -want +got: %s", d)
	}
	for i, want := range x.groups {
		got, err := content(s, x.entry.ID, i)
		if err != nil {
			return err
		}
		if !bytes.Equal(got, want) {
			return fmt.Errorf("group %d is %q", i, got)
		}
	}
	b, err := s.Original(x.entry.ID)
	if err != nil {
		return err
	}
	defer b.Release()
	got, err := io.ReadAll(b.Section(0, b.Size()))
	if err == nil && !bytes.Equal(got, x.original) {
		err = fmt.Errorf("the original is %q", got)
	}
	return err
}

func TestPutAndRead(t *testing.T) {
	for _, onDisk := range []bool{false, true} {
		for _, size := range []int{0, 100, largeOriginal, largeOriginal + 1, 2 << 20} {
			t.Run(fmt.Sprintf("disk %v, %d octets", onDisk, size), func(t *testing.T) {
				folder, o := dir, Options{FS: disk()}
				if onDisk {
					folder, o = t.TempDir()+"/spool", Options{}
				}
				s, err := Open(folder, o)
				if err != nil {
					t.Fatal(err)
				}
				x, y := sampleOf("n-1", size), sampleOf("n-2", size)
				x.keep(t, s)
				// As it comes from the network: in a file without a name, where it is large.
				in := mail.NewIngest(mail.IngestOptions{Dir: t.TempDir()})
				in.Write(y.original)
				b, _, err := in.Blob()
				if err != nil {
					t.Fatal(err)
				}
				if err := y.put(s, b); err != nil {
					t.Fatal(err)
				}
				b.Release()
				check := func() {
					t.Helper()
					for _, x := range []*sample{x, y} {
						if err := x.check(s); err != nil {
							t.Error(err)
						}
					}
					if ids, err := s.IDs(); err != nil || !cmp.Equal(ids, []string{"n-1", "n-2"}) {
						t.Errorf("ids %v, %v", ids, err)
					}
				}
				check()
				before := s.Usage()
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				if s, err = Open(folder, o); err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				check()
				if now := s.Usage(); now != before || now.Entries != 2 {
					t.Errorf("usage %v, before %v", now, before)
				}
				for _, x := range []*sample{x, y} {
					if err := s.Remove(x.entry.ID); err != nil {
						t.Error(err)
					}
				}
				if u := s.Usage(); u != (Usage{}) {
					t.Errorf("usage %v of nothing", u)
				}
			})
		}
	}
}

func TestMarks(t *testing.T) {
	f := disk()
	s := openOn(t, f, Options{})
	x := sampleOf("n-1", 100)
	x.keep(t, s)
	yes, no := true, false
	at := began.Add(time.Hour)
	busy, gone := mail.NewReply(450, 4, 2, 1, "later"), mail.NewReply(550, 5, 1, 1, "unknown")
	for _, m := range [][]Mark{
		{{Group: 0, To: []int{0, 1}, Tried: true, Time: began.Add(time.Minute), Reply: busy, Server: "s:25", Next: at}},
		{{Group: 1, Held: &yes}, {Group: 0, To: []int{1}, State: Failed, Reply: gone}},
		{{Group: 1, Held: &no, Warned: true}},
		{{Group: 0, To: []int{1}, State: Removed}}, // it has failed before
		{{Group: 1, To: []int{0}, Tried: true, Time: at, Cause: "no route"}},
	} {
		if err := s.Mark("n-1", m...); err != nil {
			t.Fatal(err)
		}
	}
	want := x.entry
	want.Groups = []Group{want.Groups[0], want.Groups[1]}
	g := &want.Groups[0]
	g.Attempts, g.Next = 1, at
	g.To = []Recipient{g.To[0], g.To[1]}
	g.To[0].Reply, g.To[0].Server, g.To[0].Last = busy, "s:25", began.Add(time.Minute)
	g.To[1].Reply, g.To[1].State, g.To[1].Last = gone, Failed, began.Add(time.Minute)
	g = &want.Groups[1]
	g.Warned = true // and no try counts: it has not ended
	g.To = []Recipient{g.To[0]}
	g.To[0].Cause, g.To[0].Last = "no route", at
	for range 2 {
		got, err := s.Load("n-1")
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got, equalEntry); d != "" {
			t.Errorf("-want +got: %s", d)
		}
		// A torn line changes nothing, and neither does one of nobody.
		log := f.Files()[dir+"/n-1.log"]
		f.Put(dir+"/n-1.log", append(log, log[:20]...))
		if err := s.Mark("n-1", Mark{Group: 7, Warned: true}); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		if _, err := s.Load("n-1"); err != nil {
			t.Fatal(err)
		}
	}
	if u := s.Usage(); u.TornMarks != 4 { // each once
		t.Errorf("%d lines were left out", u.TornMarks)
	}
	if err := s.Mark("n-2", Mark{}); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}

// TestRoomForReports: a report finds room where nothing else does, since it lets go what it is about; but not without end.
func TestRoomForReports(t *testing.T) {
	for name, full := range map[string]func(f *storetest.FS, s *Store){
		"size":     func(_ *storetest.FS, s *Store) { s.Bound(s.Usage().Octets, 0) },
		"min_free": func(f *storetest.FS, s *Store) { s.Bound(0, 10000); f.Fill(8000) },
	} {
		t.Run(name, func(t *testing.T) {
			f := disk()
			s := openOn(t, f, Options{})
			sampleOf("n-1", 20000).keep(t, s)
			full(f, s)
			put := func(x *sample) error {
				b := mail.NewBlob(x.original)
				defer b.Release()
				return x.put(s, b)
			}
			if err := put(sampleOf("n-2", 100)); !errors.Is(err, ErrFull) {
				t.Errorf("a message: %v", err)
			}
			report := sampleOf("n-3", 100)
			report.entry.Report = true
			if err := put(report); err != nil {
				t.Errorf("a report: %v", err)
			}
			report = sampleOf("n-4", 5000)
			report.entry.Report = true
			if err := put(report); !errors.Is(err, ErrFull) {
				t.Errorf("many reports: %v", err)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	f := disk()
	s := openOn(t, f, Options{Size: 5000})
	x := sampleOf("n-1", 100)
	x.keep(t, s)
	b := mail.NewBlob(x.original)
	defer b.Release()
	if err := x.put(s, b); !errors.Is(err, ErrExists) {
		t.Error(err)
	}
	before := f.Files()
	full := func(what string, x *sample) {
		t.Helper()
		b := mail.NewBlob(x.original)
		defer b.Release()
		if err := x.put(s, b); !errors.Is(err, ErrFull) {
			t.Errorf("%s: %v", what, err)
		}
		if d := cmp.Diff(before, f.Files()); d != "" {
			t.Errorf("%s: -before +after: %s", what, d)
		}
	}
	full("bound", sampleOf("n-2", 5000))
	s.Bound(0, 10000)
	f.Fill(10100)
	full("room that must stay free", sampleOf("n-2", 100))
	s.Bound(0, 0)
	for n := int64(0); n < 1200; n += 7 {
		f.Fill(n)
		full("disk", sampleOf("n-2", 1000))
	}
	f.Fill(-1)
	for _, id := range []string{"", "../x", "a.b", "-", "a/b", strings.Repeat("x", 101), "a\x00", "a_b"} {
		x := sampleOf(id, 10)
		b := mail.NewBlob(x.original)
		if err := x.put(s, b); !errors.Is(err, ErrID) {
			t.Errorf("%q: %v", id, err)
		}
		b.Release()
		if _, err := s.Load(id); !errors.Is(err, ErrID) {
			t.Errorf("%q: %v", id, err)
		}
	}
	if _, err := Open(dir, Options{FS: f}); !errors.Is(err, ErrOwned) {
		t.Error(err)
	}
	if _, err := s.Load("n-9"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if err := s.Remove("n-9"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	m := mail.NewMessage(b)
	defer m.Release()
	if err := s.Put(ctx, sampleOf("n-3", 0).entry, b, []*mail.Message{m, m}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if d := cmp.Diff(before, f.Files()); d != "" {
		t.Errorf("-before +after: %s", d)
	}
}

func TestVersions(t *testing.T) {
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

func TestIDOrder(t *testing.T) {
	ids := []string{
		"zeta-00000000000000000a", "alpha-00000000000000000b-r1", "alpha-00000000000000000c",
		"beta-00000000000000000d-1", "beta-00000000000000000d-2", "other",
	}
	got := []string{ids[3], ids[5], ids[1], ids[4], ids[0], ids[2]}
	sortByAge(got)
	if d := cmp.Diff(ids, got); d != "" {
		t.Errorf("-want +got: %s", d)
	}
}

func TestSetAside(t *testing.T) {
	f := disk()
	s := openOn(t, f, Options{})
	x, y := sampleOf("n-1", largeOriginal+1), sampleOf("n-2", 10)
	x.keep(t, s)
	y.keep(t, s)
	before := s.Usage()
	if err := s.SetAside("n-1", errors.New("bad luck")); err != nil {
		t.Fatal(err)
	}
	if err := y.check(s); err != nil {
		t.Error(err)
	}
	if _, err := s.Load("n-1"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	files := f.Files()
	if !bytes.Equal(files[dir+"/damaged/n-1.eml"], x.original) || !bytes.Contains(files[dir+"/damaged/n-1.txt"], []byte("bad luck")) {
		t.Error("files are missing")
	}
	if u := s.Usage(); u.Entries != 1 || u.Damaged != 1 || u.Octets < before.Octets {
		t.Errorf("usage %v, before %v", u, before)
	}
	s.Close()
	s = openOn(t, f, Options{})
	if u := s.Usage(); u.Entries != 1 || u.Damaged != 1 || u.Octets < before.Octets {
		t.Errorf("usage %v, before %v", u, before)
	}
}

// TestHas: whether an entry is there can be seen without owning the spool, and no id leads out of it.
func TestHas(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"mx-1.msg", "mx-2.log"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for id, want := range map[string]bool{"mx-1": true, "mx-2": false, "mx-3": false} {
		if has, err := Has(dir, id); has != want || err != nil {
			t.Errorf("%s: %t, %v", id, has, err)
		}
	}
	if _, err := Has(filepath.Join(dir, "sub"), "../mx-1"); !errors.Is(err, ErrID) {
		t.Errorf("%v", err)
	}
	if has, err := Has(filepath.Join(dir, "none"), "mx-1"); has || err != nil {
		t.Errorf("no spool: %t, %v", has, err)
	}
}
