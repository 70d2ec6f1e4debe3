package app

import (
	"runtime"
	"slices"
	"testing"
	"time"
)

func TestRoomFor(t *testing.T) {
	for _, c := range []struct {
		live uint64
		want int
	}{
		{0, 300},
		{1, 300},
		{4 << 20, 300},
		{8 << 20, 150},
		{12 << 20, 100},
		{24 << 20, 50},
		{1 << 40, 50},
	} {
		if got := roomFor(c.live); got != c.want {
			t.Errorf("%d octets: %d %%, want %d", c.live, got, c.want)
		}
	}
}

// TestTendCollector: each run of the collector is followed by a look at what lives, and what is set follows that.
func TestTendCollector(t *testing.T) {
	lives := make(chan uint64)
	sets := make(chan int, 10)
	c := &collector{percent: 100, living: func() uint64 { return <-lives }, set: func(percent int) { sets <- percent }}
	go c.tend()
	looks := func(live uint64) {
		t.Helper()
		for end := time.After(2 * time.Minute); ; {
			runtime.GC()
			select {
			case lives <- live:
				return
			case <-end:
				t.Fatal("the collector ran, and nobody looked")
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
	for _, live := range []uint64{1 << 20, 100 << 20, 101 << 20, 15 << 20, 1 << 20} {
		looks(live)
	}
	c.stopped.Store(true)
	close(lives)
	var got []int
	for range 4 {
		select {
		case percent := <-sets:
			got = append(got, percent)
		case <-time.After(2 * time.Minute):
			t.Fatalf("set %v, and no more", got)
		}
	}
	if want := []int{300, 50, 80, 300}; !slices.Equal(got, want) {
		t.Errorf("set %v, want %v", got, want)
	}
}
