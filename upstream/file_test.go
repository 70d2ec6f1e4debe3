package upstream

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/postern-mail/postern/internal/lines"
)

func lookup(t *testing.T, f *File, s string) Known {
	t.Helper()
	k, err := f.Lookup(t.Context(), address(t, s))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func writeList(t *testing.T, path, text string, modified time.Time) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, modified, modified); err != nil {
		t.Fatal(err)
	}
}

func TestFileLookup(t *testing.T) {
	path := filepath.Join(t.TempDir(), "recipients")
	writeList(t, path, "\ufeff# ours\r\n\r\nBob@Example.org  # the first\n\t alice#1@example.org\n"+
		`"odd one"@example.org`+"\nuser%foreign@example.org\n@wild.test\n@bücher.test", time.Now())
	f, err := NewFile(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for s, want := range map[string]Known{
		"bob@example.org": Yes, "BOB@example.org": Yes, `"bob"@example.org`: Yes, "carl@example.org": No,
		"alice#1@example.org": Yes, "alice@example.org": No, `"odd one"@example.org`: Yes, `"odd two"@example.org`: No,
		"user%foreign@example.org": Yes, "user%other@example.org": No,
		"any@wild.test": Yes, "any%foreign@wild.test": No, `"any@foreign"@wild.test`: No, "any@x.wild.test": No, `""@wild.test`: No,
		"a@xn--bcher-kva.test": Yes, "a@unknown.test": No,
	} {
		if got := lookup(t, f, s); got != want {
			t.Errorf("%s: %v", s, got)
		}
	}
}

func TestFileErrors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "recipients")
	for _, c := range []struct{ name, text, want string }{
		{"no address", "a@b.test\n\nnot an address\n", path + ":3: "},
		{"second column", "a@b.test OK\n", path + ":1: "},
		{"no domain", "a@b.test\npostmaster\n", path + ":2: "},
		{"bad domain", "@\n", path + ":1: "},
		{"long line", "a@b.test\n" + strings.Repeat("x", lines.MaxLine+1), path + ":2: line longer"},
		{"empty", "", "no address in it"},
		{"comments only", "# a@b.test\n", "no address in it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			writeList(t, path, c.text, time.Now())
			if _, err := NewFile(path, nil); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v", err)
			}
		})
	}
	if _, err := NewFile(path+".missing", nil); err == nil {
		t.Error("a missing file")
	}
}

// TestFileChanges runs in a bubble, whose clock stands at the year 2000 and moves when told to.
func TestFileChanges(t *testing.T) {
	path := filepath.Join(t.TempDir(), "recipients")
	synctest.Test(t, func(t *testing.T) {
		old := time.Now().Add(-time.Hour)
		writeList(t, path, "bob@x.test\n", old)
		var reports []string
		f, err := NewFile(path, func(err error) { reports = append(reports, fmt.Sprint(err)) })
		if err != nil {
			t.Fatal(err)
		}
		check := func(what string, bob, carl Known, good bool, told int) {
			t.Helper()
			if b, c := lookup(t, f, "bob@x.test"), lookup(t, f, "carl@x.test"); b != bob || c != carl {
				t.Errorf("%s: bob %v, carl %v", what, b, c)
			}
			if (f.Err() == nil) != good || len(reports) != told {
				t.Errorf("%s: error %v, reports %q", what, f.Err(), reports)
			}
		}
		check("at first", Yes, No, true, 0)
		writeList(t, path, "carl@x.test\n", old.Add(time.Minute))
		check("too soon", Yes, No, true, 0)
		time.Sleep(lines.CheckEvery)
		check("changed", No, Yes, true, 0)

		writeList(t, path, "carl@x.test\nbroken\n", old)
		time.Sleep(lines.CheckEvery)
		check("broken", No, Yes, false, 1)
		time.Sleep(lines.CheckEvery)
		check("still broken", No, Yes, false, 1)
		writeList(t, path, "", old.Add(time.Second))
		time.Sleep(lines.CheckEvery)
		check("empty", No, Yes, false, 2)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		time.Sleep(lines.CheckEvery)
		check("missing", No, Yes, false, 3)
		writeList(t, path, "bob@x.test\n", old.Add(time.Second))
		time.Sleep(lines.CheckEvery)
		check("mended", Yes, No, true, 4)

		time.Sleep(lines.CheckEvery)
		writeList(t, path, "bob@x.test\ncarl@x.test\n", time.Now().Add(-lines.Settle/2))
		check("not settled", Yes, No, true, 4)
		time.Sleep(lines.CheckEvery)
		check("settled", Yes, Yes, true, 4)

		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		writeList(t, path+".new", "rob@x.test\ncarl@x.test\n", info.ModTime())
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
		time.Sleep(lines.CheckEvery)
		check("another file of the same time and size", No, Yes, true, 4)

		writeList(t, path, "carl@x.test\nrob@x.test", time.Now())
		if err := f.Renew(); err != nil {
			t.Error(err)
		}
		check("renewed", No, Yes, true, 4)
	})
}

// TestFileInParts: what looks like a part of a list is not taken until it is whole, or an administrator says so.
func TestFileInParts(t *testing.T) {
	users := func(n int) string {
		var text strings.Builder
		for i := range n {
			fmt.Fprintf(&text, "u%d@x.test\n", i)
		}
		return text.String()
	}
	path := filepath.Join(t.TempDir(), "recipients")
	synctest.Test(t, func(t *testing.T) {
		writeList(t, path, users(50), time.Now())
		told := 0
		f, err := NewFile(path, func(error) { told++ })
		if err != nil {
			t.Fatal(err)
		}
		// want is the number of entries in force, part of what Err says, and how often it was told.
		check := func(what string, want int, part string, times int) {
			t.Helper()
			_ = lookup(t, f, "u0@x.test")
			if n := f.list.Get().Len(); n != want {
				t.Errorf("%s: %d entries", what, n)
			}
			if err := f.Err(); (err == nil) != (part == "") || err != nil && !strings.Contains(err.Error(), part) {
				t.Errorf("%s: error %v", what, err)
			}
			if told != times {
				t.Errorf("%s: told %d times", what, told)
			}
		}
		half := strings.TrimSuffix(users(51), "@x.test\n") + "@x.te"
		writeList(t, path, half, time.Now())
		time.Sleep(lines.CheckEvery)
		check("no end", 50, "last line has no end", 1)
		time.Sleep(lines.Rest / 2)
		check("still no end", 50, "last line has no end", 1)
		writeList(t, path, users(51), time.Now().Add(-lines.CheckEvery))
		time.Sleep(lines.CheckEvery)
		check("whole", 51, "", 2)
		writeList(t, path, strings.TrimSpace(users(50)), time.Now())
		time.Sleep(lines.Rest - time.Second)
		check("no end again", 51, "last line has no end", 3)
		time.Sleep(lines.CheckEvery)
		check("it has rested", 50, "", 4)

		writeList(t, path, users(39), time.Now().Add(-lines.Rest))
		time.Sleep(lines.CheckEvery)
		check("over a fifth fewer", 50, "39 entries, 50 are in force", 5)
		time.Sleep(time.Hour)
		check("still fewer", 50, "39 entries", 5)
		writeList(t, path, users(40), time.Now().Add(-lines.Rest))
		time.Sleep(lines.CheckEvery)
		check("a fifth fewer", 40, "", 6)
		few := time.Now().Add(-lines.Rest)
		writeList(t, path, users(1), few)
		if err := f.Renew(); err == nil {
			t.Error("a renewal took too few")
		}
		check("renewed", 40, "1 entries, 40 are in force: over 20 % fewer; if that is right: touch "+path+TakeSuffix, 7)
		writeList(t, path+TakeSuffix, "", few.Add(-time.Second))
		time.Sleep(lines.CheckEvery)
		check("the word is older than the list", 40, "1 entries", 7)
		writeList(t, path+TakeSuffix, "", few)
		time.Sleep(lines.CheckEvery)
		check("the word was given", 1, "", 8)
		writeList(t, path, users(20), few.Add(time.Second))
		time.Sleep(lines.CheckEvery)
		check("more", 20, "", 8)
		writeList(t, path, users(2), few.Add(2*time.Second))
		time.Sleep(lines.CheckEvery)
		check("the word was about another state", 20, "2 entries", 9)
		writeList(t, path, users(0), few.Add(3*time.Second))
		writeList(t, path+TakeSuffix, "", few.Add(time.Minute))
		time.Sleep(lines.CheckEvery)
		check("empty is never taken", 20, "no address", 10)
	})
}

// memory is a Keeper.
type memory struct {
	list  *Mailboxes
	at    time.Time
	saved int
}

func (m *memory) Load() (*Mailboxes, time.Time) { return m.list, m.at }

func (m *memory) Save(l *Mailboxes) {
	m.list, m.at = l, time.Now()
	m.saved++
}

// numbered gives a list of n.
func numbered(n int) string {
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, "u%d@x.test\n", i)
	}
	return text.String()
}

// TestWordIsSpent: a word takes one list, and none that comes later with an older time, as copies and backups have it.
func TestWordIsSpent(t *testing.T) {
	for _, stays := range []bool{false, true} {
		dir := t.TempDir()
		path := filepath.Join(dir, "recipients")
		synctest.Test(t, func(t *testing.T) {
			old := time.Now().Add(-time.Hour)
			writeList(t, path, numbered(10), old)
			f, err := NewFile(path, nil)
			if err != nil {
				t.Fatal(err)
			}
			give := func(at time.Time) {
				t.Helper()
				if !stays {
					writeList(t, path+TakeSuffix, "", at)
					return
				}
				// A folder with something in it can't be removed.
				if err := errors.Join(os.MkdirAll(path+TakeSuffix+"/x", 0o700), os.Chtimes(path+TakeSuffix, at, at)); err != nil {
					t.Fatal(err)
				}
			}
			check := func(what string, want int) {
				t.Helper()
				time.Sleep(lines.CheckEvery)
				if n := f.Entries(); n != want {
					t.Errorf("stays: %v, %s: %d entries, %v", stays, what, n, f.Err())
				}
			}
			writeList(t, path, numbered(5), old.Add(time.Minute))
			check("doubted", 10)
			give(time.Now().Add(time.Hour)) // by a clock that was ahead
			check("the word", 5)
			writeList(t, path, numbered(2), old)
			check("of a backup", 5)
			time.Sleep(time.Hour)
			check("and later", 5)
			give(old.Add(time.Minute))
			check("the next word", 2)
		})
	}
}

// TestKeptFile: a start has the list that was taken last to compare with, and goes on with that where the file looks like a part of one.
func TestKeptFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "recipients")
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		old := time.Now().Add(-time.Hour)
		start := func(what, text string, written time.Time, want int, fault string) *File {
			t.Helper()
			if text != "" {
				writeList(t, path, text, written)
			}
			var told error
			f, err := NewKeptFile(path, m, func(err error) { told = err })
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			for _, err := range []error{told, f.Err()} {
				if (err == nil) != (fault == "") || err != nil && !strings.Contains(err.Error(), fault) {
					t.Errorf("%s: %v", what, err)
				}
			}
			if n := f.Entries(); n != want {
				t.Errorf("%s: %d entries", what, n)
			}
			return f
		}
		start("the first", numbered(10), old, 10, "")
		start("the same", "", old, 10, "")
		if m.saved != 1 || m.list.Len() != 10 {
			t.Errorf("saved %d times, %d entries", m.saved, m.list.Len())
		}
		start("more, in the middle of a write", strings.TrimSpace(numbered(11)), time.Now().Add(-time.Second), 10, "no end")
		start("few", numbered(5), old, 10, "5 entries, 10 are in force: over 20 % fewer; if that is right: touch "+path+TakeSuffix)
		f := start("few again", "", old, 10, "5 entries")
		writeList(t, path+TakeSuffix, "", time.Now())
		time.Sleep(lines.CheckEvery)
		if n := f.Entries(); n != 5 || f.Err() != nil || m.list.Len() != 5 {
			t.Errorf("the word: %d entries, %v", n, f.Err())
		}
		start("fewer", numbered(4), old, 4, "")
		writeList(t, path+TakeSuffix, "", m.at)
		start("a word of before", numbered(1), old, 4, "1 entries")
		time.Sleep(time.Minute)
		writeList(t, path+TakeSuffix, "", time.Now())
		start("one of meanwhile", "", old, 1, "")
		writeList(t, path, "", old)
		if _, err := NewKeptFile(path, m, nil); err == nil {
			t.Error("an empty file")
		}
	})
}

func BenchmarkFile(b *testing.B) {
	var text bytes.Buffer
	for i := range 100_000 {
		fmt.Fprintf(&text, "User.%d@example.org\n", i)
	}
	path := filepath.Join(b.TempDir(), "recipients")
	if err := os.WriteFile(path, text.Bytes(), 0o600); err != nil {
		b.Fatal(err)
	}
	f, err := NewFile(path, nil)
	if err != nil {
		b.Fatal(err)
	}
	a := address(b, "user.4711@example.org")
	b.Run("lookup", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = f.Lookup(b.Context(), a)
		}
	})
	b.Run("reload100k", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_ = f.Renew()
		}
	})
}

// FuzzList: no list breaks the parser, and what it takes is found again.
func FuzzList(f *testing.F) {
	f.Add([]byte("a@b.test # c\n@d.test\n"))
	f.Add([]byte("\ufeff\"a b\"@c.test\r\n#"))
	f.Fuzz(func(t *testing.T, in []byte) {
		l, err := parseList("list", bytes.NewReader(in))
		if (l == nil) == (err == nil) {
			t.Fatalf("%v, %v", l, err)
		}
		if l == nil {
			return
		}
		for entry := range l.All() {
			domain, all := strings.CutPrefix(entry, "@")
			if !strings.Contains(entry, "@") || all && !strings.Contains(domain, "@") && (domain == "" || strings.ContainsAny(domain, " \t\r\n")) {
				t.Errorf("entry %q", entry)
			}
		}
	})
}
