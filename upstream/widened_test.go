package upstream

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/postern-mail/postern/mail"
)

// unsure is a source that can't tell.
type unsure struct{}

func (unsure) Lookup(context.Context, mail.Address) (Known, error) {
	return NoSource, errors.New("down")
}
func (unsure) Source() string { return "named" }

func TestWidened(t *testing.T) {
	path := filepath.Join(t.TempDir(), "recipients")
	writeList(t, path, "bob@example.org\na.b@example.org\nx+y@example.org\n\"+odd\"@example.org\nuser%foreign@example.org\n@wild.example\n", time.Now())
	f, err := NewFile(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	w := Widened{
		Recipients: f, Delimiters: "+-",
		Aliases:  map[string]string{"alias.example": "example.org", "other.example": "wild.example", "toall.example": "all.example"},
		CatchAll: []string{"all.example"},
	}
	for s, want := range map[string]Known{
		"bob@example.org": Yes, "BOB+tag@example.org": Yes, "bob+a+b@example.org": Yes, "bob-x@example.org": Yes, "bob-x+y@example.org": Yes,
		"bobtag@example.org": No, "carl+tag@example.org": No, "+bob@example.org": No, "x@example.org": No, "x+y+z@example.org": Yes,
		"x+z@example.org": No, "a.b+c@example.org": Yes, "a.b@example.org": Yes,
		"bob@alias.example": Yes, "bob+tag@alias.example": Yes, "carl@alias.example": No, "bob@unknown.example": No,
		"any@wild.example": Yes, "any@other.example": Yes, "any@all.example": Yes, "any@toall.example": Yes,
		// What another server might read as a route must be known as it stands.
		"user%foreign@example.org": Yes, "user%foreign@alias.example": Yes, "user%foreign+x@example.org": No, "bob+%foreign@example.org": No,
		"any%foreign@all.example": No, `"any@foreign"@all.example`: No, `"bob"@example.org`: Yes, `"bob+x"@example.org`: No,
		"bob+" + strings.Repeat("+", 150) + "@example.org": Yes,
	} {
		if got, err := w.Lookup(t.Context(), address(t, s)); err != nil || got != want {
			t.Errorf("%s: %v, %v, not %v", s, got, err, want)
		}
	}
	if s := w.Source(); s != "" {
		t.Errorf("a file is called %q", s)
	}
}

// old is a list that says of nobody that he does not exist.
type old struct{ Recipients }

var errOld = errors.New("too old")

func (o old) Lookup(ctx context.Context, a mail.Address) (Known, error) {
	if known, err := o.Recipients.Lookup(ctx, a); err != nil || known == Yes {
		return known, err
	}
	return NoSource, errOld
}

// TestWidenedOld: a list that is too old to say no still vouches for those that it has, whatever stands behind a delimiter.
func TestWidenedOld(t *testing.T) {
	path := filepath.Join(t.TempDir(), "recipients")
	writeList(t, path, "bob@example.org\n", time.Now())
	f, err := NewFile(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	w := Widened{Recipients: old{f}, Delimiters: "+", Aliases: map[string]string{"alias.example": "example.org"}}
	for s, want := range map[string]Known{
		"bob@example.org": Yes, "bob+x@example.org": Yes, "bob+x+y@alias.example": Yes, "carl@example.org": NoSource, "carl+x@example.org": NoSource,
	} {
		if got, err := w.Lookup(t.Context(), address(t, s)); got != want || (err == nil) != (want == Yes) || err != nil && !errors.Is(err, errOld) {
			t.Errorf("%s: %v, %v, not %v", s, got, err, want)
		}
	}
}

// TestWidenedUnsure: what holds without the source is known while it can't tell, and nothing else is.
func TestWidenedUnsure(t *testing.T) {
	w := Widened{Recipients: unsure{}, Delimiters: "+", CatchAll: []string{"all.example"}}
	if got, err := w.Lookup(t.Context(), address(t, "a@all.example")); err != nil || got != Yes {
		t.Errorf("catch-all: %v, %v", got, err)
	}
	if got, err := w.Lookup(t.Context(), address(t, "a+b@example.org")); err == nil || got != NoSource {
		t.Errorf("another: %v, %v", got, err)
	}
	if s := w.Source(); s != "named" {
		t.Errorf("called %q", s)
	}
}
