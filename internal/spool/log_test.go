package spool

import (
	"bytes"
	"strings"
	"syscall"
	"testing"

	"github.com/postern-mail/postern/internal/store/storetest"
	"github.com/postern-mail/postern/mail"
)

// octetsOf gives the octets of the files of entries, none of which share one.
func octetsOf(f *storetest.FS) (n int64) {
	for path, data := range f.Files() {
		if strings.HasPrefix(path, dir+"/n-") && !strings.HasSuffix(path, tmpSuffix) {
			n += int64(len(data))
		}
	}
	return n
}

// TestAccountOfFailures: whatever fails while something is marked, and a log is written anew, the account is that of the files.
func TestAccountOfFailures(t *testing.T) {
	mark := Mark{Group: 0, To: []int{0}, Tried: true, Reply: mail.NewReply(451, 4, 3, 0, strings.Repeat("later ", 300)), Warned: true}
	for _, lines := range []int{0, largeLog / 1000} {
		for n, last := 1, false; !last; n++ {
			for _, short := range []bool{false, true} {
				f := disk()
				s := openOn(t, f, Options{})
				sampleOf("n-1", 100).keep(t, s)
				line := sealLine(`1 {"time":"2026-05-04T03:02:01Z","group":0,"to":[0],"cause":"` + strings.Repeat("x", 1000) + `"}`)
				f.Put(dir+"/n-1.log", bytes.Repeat(line, lines))
				s.Close()
				s = openOn(t, f, Options{})
				begin := f.Ops()
				f.FailAt(n, syscall.EIO, short)
				_ = s.Mark("n-1", mark)
				last = f.Ops()-begin < n
				f.FailFrom(1, 0, nil, false)
				if got, want := s.Usage().Octets, octetsOf(f); got != want {
					t.Errorf("%d lines, operation %d fails: %d octets are counted, there are %d\n%s", lines, n, got, want, strings.Join(f.Log()[begin:], "\n"))
				}
				if err := s.Mark("n-1", mark); err != nil {
					t.Error(err)
				}
				if got, want := s.Usage().Octets, octetsOf(f); got != want {
					t.Errorf("%d lines, operation %d has failed: %d octets are counted, there are %d", lines, n, got, want)
				}
				s.Close()
			}
		}
	}
}
