package queue

import (
	"fmt"
	"testing"
	"time"
)

// BenchmarkUsage: what a look at a queue of 100,000 messages takes, while nobody else gets at it. Metrics look each time they are asked for.
func BenchmarkUsage(b *testing.B) {
	q := &Queue{entries: map[string]*entry{}}
	d := &destination{}
	for i := range 100_000 {
		it := &item{route: fmt.Sprint("route", i%5), dest: d, state: deferred, size: 5000}
		q.entries[fmt.Sprint("mx-", i)] = &entry{taken: time.Unix(int64(i), 0), items: []*item{it}}
	}
	for b.Loop() {
		if u := q.Usage(); len(u) != 5 {
			b.Fatal(u)
		}
	}
}
