package mailbox

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func read(t *testing.T, text string) (all []string) {
	t.Helper()
	total := int64(0)
	err := ReadFrom(strings.NewReader(text), "m", func(m Message) error {
		all = append(all, m.Name+"|"+string(m.Octets))
		total = m.Read
		return nil
	}, func(err error) error {
		all = append(all, err.Error())
		return nil
	})
	if err != nil || len(all) > 0 && total != int64(len(text)) {
		t.Errorf("%v, %d octets of %d", err, total, len(text))
	}
	return all
}

func TestStreams(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"nothing":             {"", nil},
		"one message":         {"Subject: a\n\nb\n", []string{"m|Subject: a\n\nb\n"}},
		"an mbox of one":      {"From x y\nSubject: a\n\nb\n", []string{"m:1|Subject: a\n\nb\n"}},
		"of two":              {"From x\nA: a\n\nb\n\nFrom y\nC: c\n\nd\n\n", []string{"m:1|A: a\n\nb\n", "m:2|C: c\n\nd\n"}},
		"with CRLF":           {"From x\r\nA: a\r\n\r\nb\r\n\r\nFrom y\r\nC: c\r\n", []string{"m:1|A: a\r\n\r\nb\r\n", "m:2|C: c\r\n"}},
		"a line that is none": {"From x\nA: a\n\nb\nFrom here on\n", []string{"m:1|A: a\n\nb\nFrom here on\n"}},
		"escaped":             {"From x\nA: a\n\n>From b\n>>From c\n> From d\n", []string{"m:1|A: a\n\nFrom b\n>From c\n> From d\n"}},
		"no end of a line":    {"From x\nA: a", []string{"m:1|A: a"}},
		"an empty one":        {"From x\n\nFrom y\nA: a\n", []string{"mailbox: m:1: no message: no header field stands before its first empty line", "m:2|A: a\n"}},
		"long lines": {
			"From " + strings.Repeat("x", 200_000) + "\nA: " + strings.Repeat("y", 200_000) + "From \n\nb\n",
			[]string{"m:1|A: " + strings.Repeat("y", 200_000) + "From \n\nb\n"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := read(t, c.text); !slices.Equal(got, c.want) {
				t.Errorf("%.300q", got)
			}
		})
	}
}

func TestFolders(t *testing.T) {
	dir := t.TempDir()
	put := func(path, text string) {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("maildir/cur/1:2,S", "one:")
	put("maildir/new/2", "two:")
	put("maildir/tmp/3", "not whole")
	put("maildir/dovecot.index", "no message")
	put("maildir/.Junk/cur/4", "four:")
	put("maildir/.Junk/new/5", "five:")
	put("plain/b.eml", "From x\nA: a\n\nFrom y\nB: b\n")
	put("plain/a.eml", "a:")
	put("plain/.hidden", "no message")
	put("plain/sub/c.eml", "c:")
	for path, want := range map[string]string{
		"maildir":     "four: five: one: two:",
		"plain":       "a: A: a\n B: b\n c:",
		"plain/a.eml": "a:",
	} {
		var got []string
		err := Read(filepath.Join(dir, path), func(m Message) error { got = append(got, string(m.Octets)); return nil }, nil)
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
	if n := Size(filepath.Join(dir, "plain")); n != 39 {
		t.Errorf("%d octets", n)
	}
	if err := Read(filepath.Join(dir, "nowhere"), nil, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
	enough := errors.New("enough")
	if err := Read(dir, func(Message) error { return enough }, func(error) error { return nil }); !errors.Is(err, enough) {
		t.Errorf("%v", err)
	}
}

// TestLinksAreFollowed to files, and what leads nowhere is told.
func TestLinksAreFollowed(t *testing.T) {
	dir := t.TempDir()
	for link, to := range map[string]string{"spam/a": "../one", "spam/b": "../nowhere", "spam/c": "..", "spam/d": "."} {
		if err := errors.Join(os.MkdirAll(filepath.Join(dir, "spam"), 0o700), os.Symlink(to, filepath.Join(dir, link))); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "one"), []byte("A: one"), 0o600); err != nil {
		t.Fatal(err)
	}
	var got []string
	var skipped []error
	err := Read(filepath.Join(dir, "spam"), func(m Message) error { got = append(got, string(m.Octets)); return nil },
		func(err error) error { skipped = append(skipped, err); return nil })
	if err != nil || !slices.Equal(got, []string{"A: one"}) || len(skipped) != 1 || !errors.Is(skipped[0], os.ErrNotExist) {
		t.Errorf("%q, %v, %v", got, skipped, err)
	}
}

func FuzzMbox(f *testing.F) {
	f.Add([]byte("From x\nA: a\n\n>From b\n\nFrom y\r\n\r\n"))
	f.Add([]byte("A: a\n\nb"))
	f.Add([]byte("From \n\nFrom \n\n\nFrom"))
	f.Add(packed(f, []byte("From x\nA: a\n\nb\n")))
	f.Fuzz(func(t *testing.T, b []byte) {
		total, last, none := 0, int64(0), 0
		err := ReadFrom(bytes.NewReader(b), "m", func(m Message) error {
			total += len(m.Octets)
			if m.Read < last || m.Read > int64(len(b)) {
				return fmt.Errorf("%d octets read of %d, %d before", m.Read, len(b), last)
			}
			if whyNone(m.Octets) != "" {
				return fmt.Errorf("%q is a message", m.Octets)
			}
			last = m.Read
			return nil
		}, func(err error) error {
			if !errors.As(err, new(*NoMessageError)) {
				return err
			}
			none++
			return nil
		})
		if bytes.HasPrefix(b, gzipMagic) || bytes.HasPrefix(b, bzip2Magic) {
			return
		}
		if err != nil && !errors.As(err, new(*NoMessageError)) || total > len(b) || total > 0 && none == 0 && last != int64(len(b)) {
			t.Fatalf("%v, %d octets of %d", err, total, len(b))
		}
	})
}
