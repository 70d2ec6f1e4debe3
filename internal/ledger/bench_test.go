package ledger

import (
	"runtime"
	"testing"
	"time"

	"github.com/postern-mail/postern/filter"
)

// million fills a table, and gives some of its keys.
func million(b *testing.B) (filter.Table, []filter.Digest) {
	b.Helper()
	tab := New().Table("x", filter.TableOptions{Most: 2_000_000})
	var keys []filter.Digest
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range 1_000_000 {
		k := key(i)
		if i%64 == 0 {
			keys = append(keys, k)
		}
		_, _ = tab.Update(k, count(time.Hour))
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.Logf("%.0f MB for a million records", float64(after.HeapAlloc-before.HeapAlloc)/1e6)
	return tab, keys
}

func BenchmarkGet(b *testing.B) {
	tab, keys := million(b)
	b.Run("one", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			tab.Get(keys[i%len(keys)])
		}
	})
	b.Run("many", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			for i := 0; pb.Next(); i++ {
				tab.Get(keys[i%len(keys)])
			}
		})
	})
}

func BenchmarkUpdate(b *testing.B) {
	tab, keys := million(b)
	change := count(time.Hour)
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; b.Loop(); i++ {
		_, _ = tab.Update(keys[i%len(keys)], change)
	}
}

func BenchmarkDigest(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		filter.DigestOf("192.0.2.0/24", "somebody@example.org", "somebody.else@example.com")
	}
}
