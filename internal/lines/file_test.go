package lines

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// What keeps a file from being opened is for whoever opens it: Report is about files that are in force.
func TestOpenReportsNothing(t *testing.T) {
	_, err := Open(filepath.Join(t.TempDir(), "none"), Source[int]{
		Parse:  func(string, io.Reader) (int, error) { return 0, nil },
		Report: func(err error) { t.Errorf("told of %v", err) },
	})
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

// TestLongRead: a list that takes long to read keeps nobody waiting: what was in force serves on until it has been read.
func TestLongRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list")
	synctest.Test(t, func(t *testing.T) {
		at := time.Now().Add(-time.Hour)
		write := func(text string) {
			t.Helper()
			at = at.Add(time.Minute)
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(path, at, at); err != nil {
				t.Fatal(err)
			}
		}
		takes := time.Duration(0)
		parses := 0
		write("one\n")
		f, err := Open(path, Source[string]{Parse: func(_ string, r io.Reader) (string, error) {
			time.Sleep(takes)
			parses++
			b, err := io.ReadAll(r)
			if string(b) == "panic\n" {
				panic("what it says")
			}
			return string(b), err
		}})
		if err != nil {
			t.Fatal(err)
		}
		check := func(what, want string, waits time.Duration) {
			t.Helper()
			began := time.Now()
			if got := f.Get(); got != want || time.Since(began) != waits {
				t.Errorf("%s: %q after %s", what, got, time.Since(began))
			}
		}
		write("two\n")
		time.Sleep(CheckEvery)
		check("quick", "two\n", 0)
		takes = time.Minute
		write("three\n")
		time.Sleep(CheckEvery)
		check("the one that finds it out", "two\n", Patience)
		for range 5 {
			check("others", "two\n", 0)
			time.Sleep(CheckEvery)
		}
		if !Idle(time.Minute) {
			t.Error("it is still being read")
		}
		check("when it has been read", "three\n", 0)
		if parses != 3 {
			t.Errorf("parsed %d times", parses)
		}
		takes = Patience - time.Millisecond
		write("four\n")
		time.Sleep(CheckEvery)
		check("just in time", "four\n", takes)
		write("panic\n")
		time.Sleep(CheckEvery)
		check("one that panics", "four\n", takes)
		if err := f.Err(); err == nil || err.Error() != path+": reading it panicked: what it says" {
			t.Errorf("%v", err)
		}
		write("five\n")
		time.Sleep(CheckEvery)
		check("mended", "five\n", takes)
		if err := f.Err(); err != nil {
			t.Error(err)
		}
	})
}

// TestIdle: the end of the process waits for what is being read, and not for ever.
func TestIdle(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list")
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		elapsed := func(want time.Duration) {
			t.Helper()
			if took := time.Since(began).Truncate(10 * time.Millisecond); took != want { // it looks every millisecond
				t.Errorf("%s, not %s", took, want)
			}
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		takes := time.Duration(0)
		f, err := Open(path, Source[int]{Parse: func(string, io.Reader) (int, error) { time.Sleep(takes); return 0, nil }})
		if err != nil {
			t.Fatal(err)
		}
		if !Idle(0) {
			t.Error("nothing is being read")
		}
		elapsed(0)
		if err := os.WriteFile(path, []byte("x\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, began.Add(-time.Hour), began.Add(-time.Hour)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(CheckEvery)
		began = time.Now()
		takes = 10 * time.Second
		f.Get()
		elapsed(Patience)
		if Idle(time.Second) {
			t.Error("it is being read")
		}
		elapsed(Patience + time.Second)
		if !Idle(time.Minute) {
			t.Error("it should have been read")
		}
		elapsed(takes)
	})
}
