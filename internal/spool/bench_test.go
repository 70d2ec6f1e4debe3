package spool

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postern-mail/postern/mail"
)

// BenchmarkPut takes messages of 16 KB from 1, 20 and 100 sessions at a time on the disk of the temporary folder:
//
//	go test ./internal/spool -run - -bench Put -benchtime 3s
func BenchmarkPut(b *testing.B) {
	for _, sessions := range []int{1, 20, 100} {
		b.Run(fmt.Sprintf("%d sessions", sessions), func(b *testing.B) {
			s, err := Open(b.TempDir(), Options{MinFree: 1 << 20})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			x := sampleOf("n", 16<<10)
			blob := mail.NewBlob(x.original)
			defer blob.Release()
			whole := mail.NewMessage(blob)
			defer whole.Release()
			m := whole.Prepend([]byte("Received: from here\r\n\tby there\r\n"))
			defer m.Release()
			e := x.entry
			e.Groups = e.Groups[:1]
			var left atomic.Int64
			left.Store(int64(b.N))
			b.ReportAllocs()
			b.ResetTimer()
			start := time.Now()
			var wg sync.WaitGroup
			for range sessions {
				wg.Go(func() {
					for e := e; left.Add(-1) >= 0; {
						e.ID = mail.NewID("bench")
						if err := s.Put(b.Context(), e, blob, []*mail.Message{m}); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "messages/s")
			b.StopTimer()
		})
	}
}
