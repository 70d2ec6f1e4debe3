//go:build !race

package spool

import (
	"bytes"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/postern-mail/postern/mail"
)

// Logs of megabytes, which one goroutine reads and writes line by line: TestAccountOfFailures, with the race detector, goes the same ways.

// TestLargeLog: what marks come to stays the same when their log is written anew.
func TestLargeLog(t *testing.T) {
	f := disk()
	s := openOn(t, f, Options{})
	x := sampleOf("n-1", 100)
	x.keep(t, s)
	held := true
	reply := mail.NewReply(451, 4, 3, 0, strings.Repeat("later ", 300))
	var before Entry
	shrunk := 0
	for i := range 1500 {
		m := Mark{Group: i % 2, To: []int{0}, Tried: true, Time: began.Add(time.Duration(i) * time.Minute), Reply: reply, Server: "s:25", Next: began.Add(time.Duration(i) * time.Hour)}
		switch i {
		case 100:
			m = Mark{Group: 0, To: []int{1}, State: Failed, Reply: reply}
		case 200:
			m = Mark{Group: 1, Held: &held, Warned: true}
		}
		size := len(f.Files()[dir+"/n-1.log"])
		if size > largeLog-4000 || i == 1499 {
			var err error
			if before, err = s.Load("n-1"); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Mark("n-1", m); err != nil {
			t.Fatal(err)
		}
		if now := len(f.Files()[dir+"/n-1.log"]); now < size {
			shrunk++
			want := before
			(&note{Mark: m}).applyTo(&want)
			got, err := s.Load("n-1")
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, got, equalEntry); d != "" {
				t.Fatalf("-want +got: %s", d)
			}
		}
	}
	if e, err := s.Load("n-1"); err != nil || e.Groups[0].Attempts+e.Groups[1].Attempts != 1498 || shrunk == 0 {
		t.Errorf("%d and %d attempts, shrunk %d times, %v", e.Groups[0].Attempts, e.Groups[1].Attempts, shrunk, err)
	}
	if err := s.Remove("n-1"); err != nil || s.Usage() != (Usage{}) {
		t.Errorf("%+v, %v", s.Usage(), err)
	}
}

// TestFullLog: a log that no line can be added to is written anew; the entry is as readable as before.
func TestFullLog(t *testing.T) {
	f := disk()
	s := openOn(t, f, Options{})
	x := sampleOf("n-1", 100)
	x.keep(t, s)
	line := sealLine(`1 {"group":0,"to":[0],"cause":"` + strings.Repeat("x", 500_000) + `"}`)
	full := bytes.Repeat(line, (maxLog-10)/len(line))
	full = append(full, bytes.Repeat([]byte("\n"), maxLog-10-len(full))...)
	f.Put(dir+"/n-1.log", full)
	s.setShrunk("n-1", int64(len(full))) // in vain: there was no room
	yes := true
	if err := s.Mark("n-1", Mark{Group: 1, Held: &yes}); err != nil {
		t.Fatal(err)
	}
	e, err := s.Load("n-1")
	if err != nil || !e.Groups[1].Held || !strings.HasPrefix(e.Groups[0].To[0].Cause, "xxx") {
		t.Fatalf("%v, held %v", err, e.Groups)
	}
	if n := len(f.Files()[dir+"/n-1.log"]); n > maxLine {
		t.Errorf("the log has %d octets", n)
	}
	f.Put(dir+"/n-1.log", full)
	f.Fill(0)
	if err := s.Mark("n-1", Mark{Group: 1, Held: &yes}); !errors.Is(err, syscall.ENOSPC) {
		t.Error(err)
	}
	f.Fill(-1)
	if _, err := s.Load("n-1"); err != nil {
		t.Error(err)
	}
}
