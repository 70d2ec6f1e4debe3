package dns

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"pgregory.net/rapid"

	"github.com/postern-mail/postern/internal/dns/zone"
)

var start = time.Unix(1_700_000_000, 0)

func txtOf(name string) question { return question{name, dns.TypeTXT} }

func TestCacheKeepsForItsTime(t *testing.T) {
	c := newCache(1<<20, 100)
	for _, tt := range []struct {
		name string
		a    *answer
		kept time.Duration
	}{
		{"records", &answer{rcode: NoError, ttl: time.Minute}, time.Minute},
		{"no record", &answer{rcode: NoData, ttl: 10 * time.Second}, 10 * time.Second},
		{"no name", &answer{rcode: NXDomain, ttl: 20 * time.Second}, 20 * time.Second},
		{"no time", &answer{rcode: NXDomain}, 0},
		{"a failure", &answer{rcode: ServFail}, firstFailure},
		{"silence", &answer{rcode: TimedOut}, firstFailure},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c.put(txtOf(tt.name), tt.a, start)
			if tt.kept == 0 {
				if c.get(txtOf(tt.name), start) != nil {
					t.Error("it was kept")
				}
				return
			}
			if c.get(txtOf(tt.name), start.Add(tt.kept-1)) != tt.a {
				t.Error("it is not there within its time")
			}
			if c.get(question{tt.name, dns.TypeMX}, start) != nil {
				t.Error("another type has it")
			}
			if c.get(txtOf(tt.name), start.Add(tt.kept)) != nil {
				t.Error("it is there after its time")
			}
		})
	}
}

// TestFailuresAreKeptLonger: each time that a name fails again, up to a bound, until it answers.
func TestFailuresAreKeptLonger(t *testing.T) {
	c := newCache(1<<20, 100)
	q, now := txtOf("lame.example"), start
	for _, want := range []time.Duration{5, 10, 20, 40, 60, 60} {
		c.put(q, &answer{rcode: ServFail}, now)
		if c.get(q, now.Add(want*time.Second-1)) == nil || c.get(q, now.Add(want*time.Second)) != nil {
			t.Fatalf("not kept for %d s", want)
		}
		now = now.Add(want*time.Second + time.Millisecond)
	}
	c.put(q, &answer{rcode: NoError, ttl: time.Second}, now)
	now = now.Add(time.Second)
	c.put(q, &answer{rcode: ServFail}, now)
	if c.get(q, now.Add(firstFailure)) != nil {
		t.Error("an answer has not ended the row of failures")
	}
	now = now.Add(firstFailure + maxFailure + time.Second)
	c.put(q, &answer{rcode: ServFail}, now)
	if c.get(q, now.Add(firstFailure)) != nil {
		t.Error("a failure long ago counts")
	}
}

// TestCacheIsBounded: whatever is put in, in whatever order, the bounds hold and the books are right.
func TestCacheIsBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := newCache(20_000, 30)
		now := start
		for range rapid.IntRange(1, 300).Draw(t, "n") {
			q := txtOf(fmt.Sprint(rapid.IntRange(0, 50).Draw(t, "name")))
			now = now.Add(time.Duration(rapid.IntRange(0, 2000).Draw(t, "ms")) * time.Millisecond)
			if rapid.Bool().Draw(t, "get") {
				c.get(q, now)
			} else {
				size := rapid.IntRange(0, 3000).Draw(t, "size")
				ttl := time.Duration(rapid.IntRange(0, 30).Draw(t, "ttl")) * time.Second
				rcode := rapid.SampledFrom([]string{NoError, NoData, ServFail}).Draw(t, "rcode")
				c.put(q, &answer{rcode: rcode, ttl: ttl, texts: []string{strings.Repeat("x", size)}}, now)
			}
			octets, n := 0, 0
			var last *entry
			for e := c.oldest; e != nil; e = e.newer {
				if c.entries[e.q] != e || e.older != last {
					t.Fatal("the list is broken")
				}
				octets, n, last = octets+e.size, n+1, e
			}
			if last != c.newest || n != len(c.entries) || octets != c.octets || octets > c.maxOctets || n > c.maxEntries {
				t.Fatalf("%d entries of %d, %d octets of %d", n, len(c.entries), octets, c.octets)
			}
			if c.hand != nil && c.entries[c.hand.q] != c.hand {
				t.Fatal("the hand is at an entry that has gone")
			}
		}
	})
}

// TestFloodLeavesTheUsual: ten thousand names that come once do not push out those that are asked for.
func TestFloodLeavesTheUsual(t *testing.T) {
	c := newCache(1<<20, 100)
	a := &answer{rcode: NoError, ttl: time.Hour}
	for i := range 20 {
		c.put(txtOf(fmt.Sprint("usual", i)), a, start)
	}
	for i := range 10_000 {
		if c.get(txtOf(fmt.Sprint("usual", i%20)), start) == nil {
			t.Fatalf("after %d others usual%d is gone", i, i%20)
		}
		c.put(txtOf(fmt.Sprint("once", i)), a, start)
	}
}

// TestAskingIsBounded: a question for which there is no slot fails in time, and its name is not held to be bad.
func TestAskingIsBounded(t *testing.T) {
	s, err := zone.Serve("a.example TXT x\n")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r, err := New([]netip.AddrPort{netip.MustParseAddrPort(s.Addr())})
	if err != nil {
		t.Fatal(err)
	}
	r.slots = make(chan struct{}, 1)
	r.slots <- struct{}{}
	r.SetTimeout(20 * time.Millisecond)
	var de *net.DNSError
	if _, err := r.LookupTXT(t.Context(), "a.example"); !errors.As(err, &de) || !de.IsTemporary {
		t.Errorf("got %v", err)
	}
	<-r.slots
	r.SetTimeout(time.Minute)
	if got, err := r.LookupTXT(t.Context(), "a.example"); err != nil || got[0] != "x" {
		t.Errorf("got %v, %v", got, err)
	}
	if len(r.flights) != 0 || len(r.slots) > 1 {
		t.Errorf("%d flights, %d slots taken", len(r.flights), len(r.slots))
	}
}

// BenchmarkReadHostile reads as many records as are read, with the longest names there are.
func BenchmarkReadHostile(b *testing.B) {
	m := new(dns.Msg)
	label := strings.Repeat("\\001", 63)
	owner := strings.Join([]string{label, label, label}, ".") + ".a.example."
	m.SetQuestion("a.example.", dns.TypeMX)
	m.Response, m.Compress = true, true
	for range maxRecords - 1 {
		m.Answer = append(m.Answer, &dns.MX{Hdr: dns.RR_Header{Name: owner, Rrtype: dns.TypeMX, Class: dns.ClassINET, Ttl: 60}, Mx: owner})
	}
	m.Answer = append(m.Answer, &dns.MX{Hdr: dns.RR_Header{Name: "a.example.", Rrtype: dns.TypeMX, Class: dns.ClassINET, Ttl: 60}, Mx: owner})
	packed, err := m.Pack()
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(packed)))
	b.ReportAllocs()
	for range b.N {
		if a := read(packed, question{"a.example", dns.TypeMX}, false); a.rcode != NoError {
			b.Fatal(a.cause)
		}
	}
}

func BenchmarkCacheHit(b *testing.B) {
	r, err := New([]netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:9")})
	if err != nil {
		b.Fatal(err)
	}
	long := &answer{rcode: NoError, ttl: time.Hour, texts: []string{"v=spf1 include:_spf.example.com ~all"}}
	for i := range 50_000 {
		r.cache.put(txtOf(fmt.Sprintf("d%d.example.org", i)), long, time.Now())
	}
	names := make([]string, 1000)
	for i := range names {
		names[i] = fmt.Sprintf("D%d.example.org.", i*7)
	}
	b.Run("serial", func(b *testing.B) {
		b.ReportAllocs()
		for i := range b.N {
			if _, err := r.LookupTXT(b.Context(), names[i%1000]); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for i := 0; pb.Next(); i++ {
				if _, err := r.LookupTXT(b.Context(), names[i%1000]); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
}

func BenchmarkCachePut(b *testing.B) {
	c := newCache(cacheOctets, 10_000)
	a := &answer{rcode: NoError, ttl: time.Hour, texts: []string{"v=spf1 -all"}}
	names := make([]question, 40_000)
	for i := range names {
		names[i] = txtOf(fmt.Sprintf("d%d.example.org", i))
	}
	b.ReportAllocs()
	for i := range b.N {
		c.put(names[i%len(names)], a, start)
	}
}
