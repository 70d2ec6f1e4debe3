package spool

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/store/storetest"
	"github.com/postern-mail/postern/mail"
)

// damaged gives a store with two entries that share a file, the second with an original of its own and marks.
func damaged(t *testing.T) (*storetest.FS, *Store, *sample, *sample) {
	t.Helper()
	f := disk()
	s := openOn(t, f, Options{})
	s.large = smallLarge
	x, y := sampleOf("n-1", 200), sampleOf("n-2", smallLarge+1)
	putTogether(t, s, x, y)
	err := errors.Join(
		s.Mark("n-2", Mark{Group: 0, To: []int{0}, Tried: true, State: Delivered, Reply: mail.NewReply(250, 2, 0, 0, "thanks")}),
		s.Mark("n-2", Mark{Group: 0, To: []int{1}, Tried: true, Cause: "no route", Next: began.Add(time.Hour)}),
		s.Mark("n-2", Mark{Group: 1, To: []int{0}, State: Failed, Reply: mail.NewReply(550, 5, 1, 1, "no")}),
	)
	if err != nil {
		t.Fatal(err)
	}
	return f, s, x, y
}

// TestDamage turns every bit of every file over, and cuts every file off at every octet: what is read is as it was put, or
// ErrDamaged; of marks some may be missing, and none is another.
func TestDamage(t *testing.T) {
	f, s, x, y := damaged(t)
	whole := f.Files()
	marked, err := s.Load("n-2")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(whole[dir+"/n-1.msg"], whole[dir+"/n-2.msg"]) {
		t.Fatal("the entries share no file")
	}
	intact := map[string]int{}
	try := func(what, name string, data []byte) {
		t.Helper()
		path := dir + "/" + name
		f.Put(path, data)
		defer f.Put(path, whole[path])
		for _, x := range []*sample{x, y} {
			if err := readsRight(s, x, marked); err == nil {
				intact[x.entry.ID]++
			} else if !errors.Is(err, ErrDamaged) {
				t.Fatalf("%s: %s: %v", name, what, err)
			}
		}
	}
	every := 1
	if raced {
		every = 11
	}
	for _, name := range []string{"n-1.msg", "n-2.msg", "n-2.eml", "n-2.log"} {
		data := whole[dir+"/"+name]
		for i := range data {
			if name == "n-2.eml" && i%5 > 0 || i%every > 0 {
				continue // of much that is alike, some
			}
			flipped := bytes.Clone(data)
			flipped[i] ^= 1 << (i % 8)
			try(fmt.Sprintf("octet %d", i), name, flipped)
			if i%15 == 0 {
				try(fmt.Sprintf("cut off at %d", i), name, data[:i])
				try(fmt.Sprintf("nothing behind %d", i), name, append(bytes.Clone(data[:i]), make([]byte, len(data)-i)...))
			}
		}
		try("more behind it", name, append(bytes.Clone(data), "more"...))
		try("of another", name, bytes.ReplaceAll(data, []byte("n-2"), []byte("n-3")))
	}
	// A fault in one part of a file is none of the other.
	if n := len(whole[dir+"/n-1.msg"]); intact["n-1"] < n/every || intact["n-2"] < len(whole[dir+"/n-2.log"])/every {
		t.Errorf("read whole in spite of damage: %v", intact)
	}
}

// readsRight reads an entry; all that it gets must be what was put, and marks those of marked or none.
func readsRight(s *Store, x *sample, marked Entry) error {
	id := x.entry.ID
	if err := x.check(s); err != nil {
		return err
	}
	e, err := s.Load(id)
	if err != nil {
		return err
	}
	for i, g := range e.Groups {
		for j, r := range g.To {
			untouched := Recipient{Address: r.Address, Notify: r.Notify, Original: r.Original}
			if r != untouched && (id != "n-2" || r != marked.Groups[i].To[j]) {
				return fmt.Errorf("recipient %d of group %d is %v", j, i, r)
			}
		}
	}
	return nil
}

// TestDamagedMarksAreLeftOut: a damaged line costs no other.
func TestDamagedMarksAreLeftOut(t *testing.T) {
	f, s, _, _ := damaged(t)
	log := dir + "/n-2.log"
	lines := strings.SplitAfter(string(f.Files()[log]), "\n")
	lines[0] = strings.Replace(lines[0], "delivered", "Delivered", 1)
	f.Put(log, []byte(strings.Join(lines, "")))
	e, err := s.Load("n-2")
	if err != nil {
		t.Fatal(err)
	}
	if e.Groups[0].To[0].State != Waiting || e.Groups[0].Attempts != 1 || e.Groups[1].To[0].State != Failed || s.Usage().TornMarks != 1 {
		t.Errorf("%+v, usage %+v", e.Groups, s.Usage())
	}
}

// TestNewerVersions: what a newer Postern wrote is told from what is damaged.
func TestNewerVersions(t *testing.T) {
	f, s, x, _ := damaged(t)
	path := dir + "/n-1.msg"
	data := f.Files()[path]
	length, err := indexLength(data)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name     string
		from, to int64
	}{{"index", 0, length}, {"head", length, length + headSize}} {
		t.Run(c.name, func(t *testing.T) {
			newer := bytes.Clone(data)
			block := newer[c.from:c.to]
			block[11]++
			seal(block)
			f.Put(path, newer)
			if _, err := s.Load("n-1"); !errors.Is(err, ErrVersion) || errors.Is(err, ErrDamaged) {
				t.Error(err)
			}
			block[11] -= 2
			seal(block)
			f.Put(path, newer)
			if _, err := s.Load("n-1"); !errors.Is(err, ErrDamaged) {
				t.Error(err)
			}
		})
	}
	f.Put(path, data)
	if err := x.check(s); err != nil {
		t.Fatal(err)
	}
	f.Put(dir+"/n-1.log", sealLine(`2 {"more":1}`))
	if _, err := s.Load("n-1"); !errors.Is(err, ErrVersion) {
		t.Error(err)
	}
}

// TestMissingOriginal: what is gone is told, and is no fault of another entry.
func TestMissingOriginal(t *testing.T) {
	f, s, x, _ := damaged(t)
	if err := f.Remove(dir + "/n-2.eml"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Message("n-2", 0); !errors.Is(err, ErrDamaged) {
		t.Error(err)
	}
	if _, err := s.Original("n-2"); !errors.Is(err, ErrDamaged) {
		t.Error(err)
	}
	if _, err := s.Load("n-2"); err != nil {
		t.Error(err)
	}
	if err := x.check(s); err != nil {
		t.Error(err)
	}
	if _, err := s.Message("n-1", 2); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}

// TestSharedFile: entries of one file go one by one, and their octets with the last.
func TestSharedFile(t *testing.T) {
	f := disk()
	s := openOn(t, f, Options{})
	var all []*sample
	for i := range 5 {
		all = append(all, sampleOf(fmt.Sprintf("n-%d", i), 100*i))
	}
	putTogether(t, s, all...)
	want := s.Usage()
	if want.Entries != 5 || want.Octets != int64(len(f.Files()[dir+"/n-0.msg"])) {
		t.Errorf("usage %+v", want)
	}
	for i, x := range all {
		for _, x := range all[i:] {
			if err := x.check(s); err != nil {
				t.Error(err)
			}
		}
		if err := s.Remove(x.entry.ID); err != nil {
			t.Fatal(err)
		}
		want.Entries--
		if i == len(all)-1 {
			want.Octets = 0
		}
		if got := s.Usage(); got != want {
			t.Errorf("usage %+v, want %+v", got, want)
		}
		s.Close()
		s = openOn(t, f, Options{})
		if got := s.Usage(); got != want {
			t.Errorf("opened anew, usage %+v, want %+v", got, want)
		}
	}
}
