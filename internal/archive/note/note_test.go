package note

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/postern-mail/postern/internal/archive"
)

type recorder struct{ got []string }

func (r *recorder) File(e *archive.Entry) error {
	r.got = append(r.got, fmt.Sprint(e.Names))
	return nil
}

func (r *recorder) Sign(s archive.Sign) error {
	r.got = append(r.got, s.String())
	return nil
}

func TestSigns(t *testing.T) {
	var r recorder
	n := New(archive.NewBudget(archive.Limits{Octets: 3}, 1), &r)
	for i := range 100 {
		if n.Sign(archive.Unreadable, "%d", i/2) != nil || n.Problem("x", nil) != nil {
			t.Fatal()
		}
	}
	more, err := n.Entry(context.Background(), &archive.Entry{Names: []string{"a"}}, strings.NewReader("four"))
	if more || err != nil || len(r.got) != most+2 || r.got[most] != "[a]" || !strings.HasPrefix(r.got[most+1], "bomb: ") {
		t.Fatal(more, err, r.got)
	}
	r = recorder{}
	n = New(archive.NewBudget(archive.Limits{}, 1), &r)
	if err := n.Problem("what", errors.New("bad")); err != nil {
		t.Fatal(err)
	}
	more, err = n.Entry(context.Background(), &archive.Entry{}, nil)
	if diff := cmp.Diff([]string{"unreadable: what: bad", "[]"}, r.got); diff != "" || !more || err != nil {
		t.Fatal(diff, more, err)
	}
}

func TestNames(t *testing.T) {
	for _, c := range []struct {
		raw  string
		want []string
	}{
		{"", nil},
		{" \x00x", nil},
		{"a.exe\x00junk", []string{"a.exe"}},
		{"ä", []string{"ä"}},
		{"\xe4", []string{"ä", "Σ"}},
	} {
		if diff := cmp.Diff(c.want, Add(nil, []byte(c.raw))); diff != "" {
			t.Errorf("%q: %s", c.raw, diff)
		}
	}
	if got := UTF16([]byte("a\x00\xac\x20\x00\x00b\x00c")); got != "a€" {
		t.Errorf("%q", got)
	}
}
