package mail

import (
	"regexp"
	"slices"
	"sync"
	"testing"
	"time"
)

func TestNewID(t *testing.T) {
	form := regexp.MustCompile(`^mx-1-[0-9a-v]{18}$`)
	const makers, each = 8, 20_000
	made := make([][]string, makers)
	var wait sync.WaitGroup
	for i := range made {
		wait.Go(func() {
			for range each {
				made[i] = append(made[i], NewID("MX-1.example.org"))
			}
		})
	}
	wait.Wait()
	seen := make(map[string]bool, makers*each)
	for _, ids := range made {
		if !slices.IsSorted(ids) {
			t.Error("ids of one goroutine do not ascend")
		}
		for _, id := range ids {
			if !form.MatchString(id) {
				t.Fatalf("id %q", id)
			}
			if seen[id] {
				t.Fatalf("%q was given twice", id)
			}
			seen[id] = true
		}
	}
}

// Ids sort by the time they hold, also across digits and after the clock was set.
func TestNextID(t *testing.T) {
	idClock.Lock()
	last := idClock.ms
	idClock.Unlock()
	ms, low := nextID(last + 10)
	if ms != last+10 || low >= 1<<39 {
		t.Errorf("a new millisecond: %d, %x", ms-last, low)
	}
	for _, now := range []int64{last + 10, last + 9, last} {
		again, next := nextID(now)
		if again != ms || next <= low || next-low > 1<<24 {
			t.Errorf("clock at %+d: %+d, %x after %x", now-last, again-last, next, low)
		}
		low = next
	}
	if back, _ := nextID(last - 3_600_000); back != last-3_600_000 {
		t.Errorf("a clock set back by an hour is not followed: %+d", back-last)
	}
	for range 1 << 18 { // twice as many as a millisecond holds on average, with whatever steps are drawn
		nextID(last - 3_600_000)
	}
	if ms, _ := nextID(last - 3_600_000); ms <= last-3_600_000 {
		t.Error("a full millisecond does not pass on to the next")
	}
	nextID(time.Now().UnixMilli())
}

func TestNodeName(t *testing.T) {
	for in, want := range map[string]string{
		"mx1.example.org":                        "mx1",
		"MX-A.example.org":                       "mx-a",
		"mx1":                                    "mx1",
		"":                                       "node",
		".example":                               "node",
		"[192.0.2.1]":                            "192",
		"-a_b/c\r\n-.x":                          "abc",
		"../../etc/passwd":                       "node",
		"a/../b":                                 "a",
		"ünïcode.example":                        "ncode",
		"a23456789-123456789-123456789-1-3-tail": "a23456789-123456789-123456789-1",
	} {
		got := NodeName(in)
		if got != want {
			t.Errorf("NodeName(%q) = %q, want %q", in, got, want)
		}
		if again := NodeName(got); again != got {
			t.Errorf("NodeName(%q) = %q", got, again)
		}
	}
}
