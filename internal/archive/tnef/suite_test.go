package tnef

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/postern-mail/postern/internal/archive"
	"github.com/postern-mail/postern/internal/peertest"
)

// content is the size of an entry, under each of its names, or the one that tools give to a body.
type content struct {
	name string
	size int64
}

type seen struct {
	names []string // all names of all entries
	kinds map[string]int
	has   map[content]bool
	signs []archive.Sign
}

func (s *seen) File(e *archive.Entry) error {
	s.names = append(s.names, e.Names...)
	s.kinds[e.Type]++
	names := e.Names
	if sub, ok := strings.CutPrefix(e.Type, "text/"); ok && len(names) == 0 {
		names = []string{"message." + sub}
	}
	for _, n := range names {
		if e.File != nil {
			s.has[content{plain(n), e.File.Size()}] = true
		}
	}
	return nil
}

func (s *seen) Sign(sign archive.Sign) error {
	s.signs = append(s.signs, sign)
	return nil
}

func walked(t testing.TB, in []byte) *seen {
	t.Helper()
	s := &seen{kinds: map[string]int{}, has: map[content]bool{}}
	if err := Walk(context.Background(), archive.NewFile(in), archive.NewBudget(archive.Limits{}, int64(len(in))), s); err != nil {
		t.Fatal(err)
	}
	return s
}

// The files of the suite, with the attachments and bodies in them; only those that are damaged show a sign.
func TestSuite(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(peertest.Shared(t, "suites", "attachments", "tnef-tnefparse"), "*.tnef"))
	if err != nil || len(files) != 19 {
		t.Fatal(files, err)
	}
	total, signs := map[string]int{}, 0
	for _, name := range files {
		in, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		s := walked(t, in)
		t.Logf("%s: %q %v %v", filepath.Base(name), s.names, s.kinds, s.signs)
		for k, n := range s.kinds {
			total[k] += n
		}
		signs += len(s.signs)
	}
	t.Log(total, signs)
	attached := total[""] + total[Type] + total["application/octet-stream"] + total["audio/mp3"] + total["image/jpeg"] + total["image/png"]
	if attached != 30 || total["text/rtf"] != 11 || total["text/html"] != 3 || total["text/plain"] != 1 || signs != 2 {
		t.Errorf("%d attachments, %v, %d signs", attached, total, signs)
	}
}

// What the readers of Debian list is told of, with contents of the same size.
func TestReaders(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(peertest.Shared(t, "suites", "attachments", "tnef-tnefparse"), "*.tnef"))
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for tool, args := range map[string][]string{"tnef": {"--ignore-checksum", "--save-body", "-C"}, "ytnef": {"-f"}} {
		for _, name := range files {
			in, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			_ = peertest.Command(t, tool, append(append([]string{}, args...), dir, name)...).Run()
			made, err := os.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			s := walked(t, in)
			for _, m := range made {
				info, err := m.Info()
				if err != nil {
					t.Fatal(err)
				}
				// They make names where there is none, and calendars of properties; objects keep the identifier.
				compared++
				given := plain(m.Name())
				if !s.has[content{given, info.Size()}] && !s.has[content{given, info.Size() - 16}] && given != "tneftmp" && given != "calendar.ics" {
					t.Errorf("%s: %s has %q of %d octets, we %v", filepath.Base(name), tool, m.Name(), info.Size(), s.has)
				}
			}
		}
	}
	if compared == 0 {
		t.Error("the tools gave nothing")
	}
	t.Logf("%d files compared", compared)
}

// plain is a name without all that tools replace.
func plain(name string) string {
	return strings.Map(func(r rune) rune {
		if r > 0x7e || r == utf8.RuneError || r == ' ' || r == '_' || r == '=' || r == '-' {
			return -1
		}
		return r
	}, name)
}
