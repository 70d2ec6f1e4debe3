package tell_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/archive/tell"
	"github.com/postern-mail/postern/internal/archive/tell/telltest"
)

func TestSign(t *testing.T) {
	found := &telltest.Found{}
	teller := tell.New(archive.NewBudget(archive.Limits{}, 1), found)
	for i := range 100 {
		if err := teller.Sign(archive.Unreadable, "file %d", i/2); err != nil {
			t.Fatal(err)
		}
	}
	if err := teller.Problem("file", nil); err != nil {
		t.Fatal(err)
	}
	if err := teller.Sign(archive.Encrypted, "file"); err != nil {
		t.Fatal(err)
	}
	if found.Kinds(archive.Unreadable) != 8 || found.Kinds(archive.Encrypted) != 1 {
		t.Error(found)
	}
}

func TestSigns(t *testing.T) {
	var s tell.Signs
	for i := range 100 {
		s.Add(archive.Unreadable, "topic", fmt.Sprint(i))
	}
	if len(s.All()) != 3 {
		t.Errorf("%d signs of one topic", len(s.All()))
	}
	for _, kind := range []archive.Kind{archive.Unreadable, archive.Script, archive.Program} {
		for i := range 100 {
			s.Add(kind, fmt.Sprint(i), fmt.Sprint("of topic ", i))
			s.Add(kind, "again", "of topic 0")
		}
	}
	if len(s.All()) != 20 {
		t.Errorf("%d signs", len(s.All()))
	}
	s.Add(archive.Bomb, "", strings.Repeat("ä", 10000))
	found := &telltest.Found{}
	if err := s.Give(found); err != nil || len(found.Signs) != 21 || found.Signs[20].Kind != archive.Bomb || len(found.Signs[20].Why) > 1003 {
		t.Errorf("%v, %v", found.Signs, err)
	}
	if err := s.Give(found); err != nil || len(found.Signs) != 21 {
		t.Errorf("given twice: %v", err)
	}
	s.Add(archive.Encrypted, "", "")
	if err := s.Give(failing{}); !errors.Is(err, errEnough) {
		t.Errorf("got %v", err)
	}
}

var errEnough = errors.New("enough")

type failing struct{}

func (failing) File(*archive.Entry) error { return errEnough }
func (failing) Sign(archive.Sign) error   { return errEnough }

func TestEntry(t *testing.T) {
	found := &telltest.Found{}
	teller := tell.New(archive.NewBudget(archive.Limits{Octets: 3, Files: 3}, 1), found)
	for i, c := range []struct {
		content io.Reader
		more    bool
	}{{nil, true}, {strings.NewReader("ab"), true}, {strings.NewReader("cd"), false}, {strings.NewReader(""), false}} {
		more, err := teller.Entry(context.Background(), &archive.Entry{}, c.content)
		if more != c.more || err != nil {
			t.Errorf("%d: %v, %v", i, more, err)
		}
	}
	if len(found.Entries) != 3 || len(found.Signs) != 1 || found.Signs[0].Kind != archive.Bomb {
		t.Error(found)
	}
	teller = tell.New(archive.NewBudget(archive.Limits{}, 1), failing{})
	if more, err := teller.Entry(context.Background(), &archive.Entry{}, strings.NewReader("")); more || err != errEnough {
		t.Error(more, err)
	}
}

type odd struct{ how string }

func (o odd) Read(p []byte) (int, error) {
	switch o.how {
	case "panics":
		panic("odd")
	case "lies":
		return len(p) + 1, nil
	}
	return 0, nil
}

func TestContained(t *testing.T) {
	for _, how := range []string{"panics", "lies", "stands still"} {
		found := &telltest.Found{}
		teller := tell.New(archive.NewBudget(archive.Limits{}, 1), found)
		problem, err := teller.Content(context.Background(), &archive.Entry{Names: []string{"a"}}, io.MultiReader(strings.NewReader("abc"), odd{how}))
		if err != nil || problem == nil {
			t.Errorf("%s: %v, %v", how, problem, err)
		}
		if string(found.Content("a")) != "abc" || found.Kinds(archive.Unreadable) != 1 {
			t.Errorf("%s: %s", how, found)
		}
	}
}

func TestNames(t *testing.T) {
	for _, c := range []struct {
		raw  string
		want []string
	}{
		{"", nil},
		{"a", []string{"a"}},
		{"ü", []string{"ü"}},
		{"\x81", []string{"ü", "\uFFFD"}}, // in Windows-1252 it is nothing
		{"\xfc", []string{"ü", "ⁿ"}},
	} {
		if diff := cmp.Diff(c.want, tell.Names([]byte(c.raw))); diff != "" {
			t.Errorf("%q (-want +got):\n%s", c.raw, diff)
		}
	}
	if got := tell.Add([]string{"a"}, "a", "", "b\xff", "b\xff"); !cmp.Equal(got, []string{"a", "b\uFFFD"}) {
		t.Errorf("%q", got)
	}
	if got := tell.AddRaw(tell.AddRaw([]string{"a"}, []byte(" a.exe\x00junk")), []byte(" \x00x")); !cmp.Equal(got, []string{"a", "a.exe"}) {
		t.Errorf("%q", got)
	}
	if got := tell.UTF16(binary.LittleEndian, []byte("a\x00\xac\x20b")); got != "a€" {
		t.Errorf("%q", got)
	}
}

func TestFind(t *testing.T) {
	for _, at := range []int{0, 5, 1<<20 - 3, 1 << 20, 2<<20 - 1} {
		data := strings.Repeat("x", at) + "magic" + strings.Repeat("x", 10)
		off, ok, err := tell.Find(context.Background(), archive.NewFile([]byte(data)), []byte("magic"), func(int64) (bool, error) { return true, nil })
		if off != int64(at) || !ok || err != nil {
			t.Error(at, off, ok, err)
		}
	}
	want := errors.New("enough")
	if _, ok, err := tell.Find(context.Background(), archive.NewFile([]byte("magic")), []byte("magic"), func(int64) (bool, error) { return false, want }); ok || err != want {
		t.Error(ok, err)
	}
	calls := 0
	_, ok, err := tell.Find(context.Background(), archive.NewFile([]byte(strings.Repeat("x", 1<<20-2)+"magic")), []byte("magic"), func(int64) (bool, error) { calls++; return false, nil })
	if ok || err != nil || calls != 1 {
		t.Error(ok, err, calls)
	}
}
