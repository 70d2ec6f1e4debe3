//go:build !race

package pattern

import (
	"runtime"
	"syscall"
	"testing"
	"time"
)

// BenchmarkStockLoad compiles all stock patterns and makes the sets, one for each class of text.
func BenchmarkStockLoad(b *testing.B) {
	s := loadStock(b, manyMessages)
	begin := cpuTime(b)
	for b.Loop() {
		stockSets(b, s)
	}
	b.ReportMetric(float64(cpuTime(b)-begin)/float64(b.N)/1e6, "cpu-ms/op")
}

// BenchmarkStockScan scans messages for all stock patterns, one a turn: those that the tables have grown with (seen), and
// others (unseen: the sets are made anew before a message comes again). live-MB is the heap that patterns, sets and tables hold in the end.
func BenchmarkStockScan(b *testing.B) {
	s := loadStock(b, manyMessages)
	half := len(s.Seen) / 2
	before := live()
	sets := stockSets(b, s)
	scanAll := func(m seen) (hits int) {
		for _, c := range sets {
			if err := c.set.Scan(nil, m.Classes[c.class], func(int, int) { hits++ }); err != nil {
				b.Fatal(err)
			}
		}
		return hits
	}
	grow := func() {
		sets = stockSets(b, s)
		for _, m := range s.Seen[:half] {
			scanAll(m)
		}
	}
	for _, part := range []struct {
		name string
		seen []seen
	}{{"unseen", s.Seen[half:]}, {"seen", s.Seen[:half]}} {
		b.Run(part.name, func(b *testing.B) {
			b.ReportAllocs()
			grow()
			i, begin := 0, cpuTime(b)
			for b.Loop() {
				if i++; i%len(part.seen) == 0 && part.name == "unseen" {
					b.StopTimer()
					stopped := cpuTime(b)
					grow()
					begin += cpuTime(b) - stopped
					b.StartTimer()
				}
				scanAll(part.seen[i%len(part.seen)])
			}
			b.ReportMetric(float64(cpuTime(b)-begin)/float64(b.N)/1e3, "cpu-µs/op")
			b.ReportMetric(float64(live()-before)/(1<<20), "live-MB")
		})
	}
}

// cpuTime is what the process has used of a processor: on a machine that others use too it tells more than the clock.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func live() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
