package app

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// writes remembers each write.
type writes struct {
	mu  sync.Mutex
	all []string
	err error
}

func (w *writes) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, string(p))
	return len(p), w.err
}

func (w *writes) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.all, "|")
}

func TestLogWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &writes{}
		l := newLogWriter(w)
		write := func(s string) {
			if _, err := l.Write([]byte(s)); err != nil {
				t.Error(err)
			}
		}
		write("1\n")
		synctest.Wait()
		write("2\n")
		write("3\n")
		synctest.Wait()
		if got := w.String(); got != "1\n" {
			t.Errorf("at once: %q", got)
		}
		time.Sleep(logPause)
		synctest.Wait()
		if got := w.String(); got != "1\n|2\n3\n" {
			t.Errorf("after the pause: %q", got)
		}
		write(strings.Repeat("x", logBatch) + "\n")
		if got := w.String(); strings.Count(got, "|") != 2 {
			t.Errorf("a full batch waits: %d writes", 1+strings.Count(got, "|"))
		}
		write("5\n")
		l.Close()
		if got := w.String(); !strings.HasSuffix(got, "|5\n") {
			t.Errorf("at the end: %q", got[len(got)-10:])
		}
		w.err = errors.New("disk full")
		l.lines = append(l.lines, "6\n"...)
		l.flush()
		if _, err := l.Write([]byte("7\n")); err == nil {
			t.Error("no word of the error")
		}
	})
}
