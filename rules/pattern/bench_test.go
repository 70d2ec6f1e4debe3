package pattern

import (
	"runtime"
	"testing"
)

// BenchmarkStockLoad compiles all stock patterns and makes the sets, one for each class of text.
func BenchmarkStockLoad(b *testing.B) {
	s := loadStock(b)
	for b.Loop() {
		stockSets(b, s)
	}
}

// BenchmarkStockScan scans messages for all stock patterns, one a turn: those that the tables have grown with (seen), and
// others (unseen, for the first turns). live-MB is the heap that patterns, sets and tables hold in the end.
func BenchmarkStockScan(b *testing.B) {
	s := loadStock(b)
	half := len(s.Seen) / 2
	before := live()
	sets := stockSets(b, s)
	scanAll := func(m seen) (hits int) {
		for _, c := range sets {
			if err := c.set.Scan(m.Classes[c.class], func(int, int) { hits++ }); err != nil {
				b.Fatal(err)
			}
		}
		return hits
	}
	for _, m := range s.Seen[:half] {
		scanAll(m)
	}
	for _, part := range []struct {
		name string
		seen []seen
	}{{"unseen", s.Seen[half:]}, {"seen", s.Seen[half:]}} {
		b.Run(part.name, func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				scanAll(part.seen[i%len(part.seen)])
				i++
			}
			b.ReportMetric(float64(live()-before)/(1<<20), "live-MB")
		})
	}
}

func live() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
