// Package telltest runs the readers of container formats in tests. It is no part of the gateway.
package telltest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/postern-mail/postern/internal/archive"
)

// Entry is an entry with its content in memory.
type Entry struct {
	archive.Entry
	Content []byte // nil where there was no File
}

// Found is a visitor that keeps what it is told.
type Found struct {
	Entries []Entry
	Signs   []archive.Sign
	Octets  int64
	Bare    bool // don't keep contents
}

// File implements archive.Visitor.
func (f *Found) File(e *archive.Entry) error {
	kept := Entry{Entry: *e}
	if e.File != nil {
		f.Octets += e.File.Size()
		if !f.Bare {
			b, err := io.ReadAll(e.File.Reader())
			if err != nil {
				return err
			}
			kept.Content = append([]byte{}, b...)
		}
	}
	kept.File = nil
	f.Entries = append(f.Entries, kept)
	return nil
}

// Sign implements archive.Visitor.
func (f *Found) Sign(s archive.Sign) error {
	f.Signs = append(f.Signs, s)
	return nil
}

// Kinds counts the signs of a kind.
func (f *Found) Kinds(k archive.Kind) (n int) {
	for _, s := range f.Signs {
		if s.Kind == k {
			n++
		}
	}
	return n
}

// Has reports whether there is a sign of a kind that says why.
func (f *Found) Has(k archive.Kind, why string) bool {
	return slices.ContainsFunc(f.Signs, func(s archive.Sign) bool { return s.Kind == k && strings.Contains(s.Why, why) })
}

// Names gives the names of each entry.
func (f *Found) Names() (names [][]string) {
	for _, e := range f.Entries {
		names = append(names, e.Names)
	}
	return names
}

// Contents gives the content of each entry, "-" for none.
func (f *Found) Contents() (contents []string) {
	for _, e := range f.Entries {
		c := "-"
		if e.Content != nil {
			c = string(e.Content)
		}
		contents = append(contents, c)
	}
	return contents
}

// Named gives the contents of all entries with that name among their names.
func (f *Found) Named(name string) (contents []string) {
	for i, c := range f.Contents() {
		if slices.Contains(f.Entries[i].Names, name) {
			contents = append(contents, c)
		}
	}
	return contents
}

// Folders counts the folders.
func (f *Found) Folders() (n int) {
	for _, e := range f.Entries {
		if e.Folder {
			n++
		}
	}
	return n
}

// Content gives the content of the entry with that name among its names.
func (f *Found) Content(name string) []byte {
	for _, e := range f.Entries {
		for _, n := range e.Names {
			if n == name {
				return e.Content
			}
		}
	}
	return nil
}

// String gives what was found, for people.
func (f *Found) String() string {
	var b strings.Builder
	for _, e := range f.Entries {
		fmt.Fprintf(&b, "%q folder=%v link=%q size=%d content=%d\n", e.Names, e.Folder, e.Link, e.Size, len(e.Content))
	}
	for _, s := range f.Signs {
		fmt.Fprintf(&b, "sign %s\n", s)
	}
	return b.String()
}

// Walk walks a container and fails the test for an error.
func Walk(t testing.TB, walk archive.Walk, data []byte) *Found {
	t.Helper()
	return WalkLimited(t, walk, data, archive.Limits{})
}

// WalkLimited walks a container within limits.
func WalkLimited(t testing.TB, walk archive.Walk, data []byte, l archive.Limits) *Found {
	t.Helper()
	f := &Found{}
	if err := walk(context.Background(), archive.NewFile(data), archive.NewBudget(l, int64(len(data))), f); err != nil {
		t.Fatalf("walk: %v", err)
	}
	return f
}

// Fuzz gives octets to a walk: it must neither panic nor fail, keep to the budget, and not go on after it.
func Fuzz(f *testing.F, walk archive.Walk, seeds ...[]byte) {
	for _, s := range seeds {
		f.Add(s)
	}
	const limit = 4 << 20
	f.Fuzz(func(t *testing.T, data []byte) {
		found := &Found{Bare: true}
		b := archive.NewBudget(archive.Limits{Files: 500, Octets: limit}, int64(len(data)))
		if err := walk(context.Background(), archive.NewFile(data), b, found); err != nil {
			t.Fatalf("walk: %v", err)
		}
		if len(found.Entries) > 500 || found.Octets > limit || len(found.Signs) > 60 {
			t.Fatalf("%d entries of %d octets, %d signs", len(found.Entries), found.Octets, len(found.Signs))
		}
		if b.Err() != nil && found.Kinds(archive.Bomb) == 0 {
			t.Fatal("the budget has run out, and nobody said so")
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		err := walk(ctx, archive.NewFile(data), archive.NewBudget(archive.Limits{}, 1), found)
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Fatalf("cancelled: %v", err)
		}
	})
}
