package app

import (
	"bytes"
	"context"
	"flag"
	"os"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"testing"
	"time"
)

// atOnce is how many tests run side by side at least: most of them wait, for programs that start, for servers of DNS that do not
// answer, or for a delay to pass.
const atOnce = 4

func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == strconv.Itoa(runtime.GOMAXPROCS(0)) { // as it is by default
		_ = f.Value.Set(strconv.Itoa(max(atOnce, runtime.GOMAXPROCS(0))))
	}
	os.Exit(m.Run())
}

// watchGoroutines gives a function that fails the test where a goroutine is left that it, or one of these, has begun since.
// Unlike goleak it knows those of the test from those of others beside it.
func watchGoroutines(t *testing.T) (ended func()) {
	pprof.SetGoroutineLabels(pprof.WithLabels(context.Background(), pprof.Labels("begun by", t.Name())))
	mark := strconv.Quote(t.Name())
	left := func() (all []string) {
		var b bytes.Buffer
		if err := pprof.Lookup("goroutine").WriteTo(&b, 1); err != nil {
			t.Fatal(err)
		}
		for s := range strings.SplitSeq(b.String(), "\n\n") {
			if labels := strings.Index(s, "# labels: "); labels >= 0 && strings.Contains(s[labels:], mark) {
				all = append(all, s)
			}
		}
		return all
	}
	return func() {
		t.Helper()
		if len(left()) == 0 {
			t.Error("this test itself should have been seen")
		}
		pprof.SetGoroutineLabels(context.Background())
		var all []string
		if !comesTrue(func() bool { all = left(); return len(all) == 0 }) {
			t.Errorf("goroutines are left:\n%s", strings.Join(all, "\n\n"))
		}
	}
}

// TestWatchGoroutines: what is left is seen, and what others do is not.
func TestWatchGoroutines(t *testing.T) {
	stop := make(chan struct{})
	go func() { <-stop }()
	ended := watchGoroutines(t)
	go func() { time.Sleep(50 * time.Millisecond) }()
	ended()
	close(stop)
}
