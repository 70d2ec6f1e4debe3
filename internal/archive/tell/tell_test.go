package tell_test

import (
	"context"
	"errors"
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
	if err := teller.Sign(archive.Encrypted, "file"); err != nil {
		t.Fatal(err)
	}
	if found.Kinds(archive.Unreadable) != 8 || found.Kinds(archive.Encrypted) != 1 {
		t.Error(found)
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
		{"\x81", []string{"ü"}},
		{"\xfc", []string{"ⁿ", "ü"}},
	} {
		got := tell.Names([]byte(c.raw))
		if c.raw == "\x81" {
			got = got[:1] // in Windows-1252 it is nothing
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", c.raw, diff)
		}
	}
	if got := tell.Add([]string{"a"}, "a", "", "b\xff", "b\xff"); !cmp.Equal(got, []string{"a", "b\uFFFD"}) {
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
