package limits

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"
)

var (
	start = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	usual = Rules{Client: 20, Network: 100, Rate: 60, Total: 6000, Wide: 250}
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// enter counts n connections of ever the same or ever new addresses in, and gives how many it could.
func enter(t *Table, now time.Time, r Rules, n int, of func(i int) netip.Addr, known bool) (all []Visit, why Reason) {
	for i := range n {
		v, no, _ := t.Enter(now, of(i), r, known)
		if no != Fine {
			return all, no
		}
		all = append(all, v)
	}
	return all, Fine
}

func same(s string) func(int) netip.Addr { return func(int) netip.Addr { return addr(s) } }

// in4 and in6 give the i-th client of a network.
func in4(i int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}) }

func in6(bits int) func(i int) netip.Addr {
	return func(i int) netip.Addr {
		b := addr("2001:db8::1").As16()
		n := binary.BigEndian.Uint64(b[:8]) + uint64(i)<<(64-bits)
		binary.BigEndian.PutUint64(b[:8], n)
		return netip.AddrFrom16(b)
	}
}

func TestAtOnce(t *testing.T) {
	for _, tt := range []struct {
		name  string
		of    func(int) netip.Addr
		known bool
		most  int
		why   Reason
	}{
		{"one address", same("192.0.2.1"), false, 20, ClientOpen},
		{"one mapped address", same("::ffff:192.0.2.1"), false, 20, ClientOpen},
		{"one known address", same("192.0.2.1"), true, 200, ClientOpen},
		{"a /24", in4, false, 100, NetworkOpen},
		{"a /64", func(i int) netip.Addr { return addr(fmt.Sprintf("2001:db8::%x", i+1)) }, false, 20, ClientOpen},
		{"a /48", in6(64), false, 100, NetworkOpen},
		{"a /32", in6(48), false, 250, NetworkOpen},
		{"a known /32", in6(48), true, 2500, NetworkOpen},
		{"ever new /24", func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1}) }, false, 5000, Fine},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := usual
			r.Rate, r.Total = 0, 0
			table := NewTable()
			visits, why := enter(table, start, r, 5000, tt.of, tt.known)
			if len(visits) != tt.most || why != tt.why {
				t.Errorf("%d came in, then %d", len(visits), why)
			}
			for _, v := range visits {
				table.Leave(start, v, r, 1000)
			}
			if n := size(table); n != 0 {
				t.Errorf("%d entries are left", n)
			}
			if again, _ := enter(table, start, r, 5000, tt.of, tt.known); len(again) != tt.most {
				t.Errorf("%d came in when the others had gone", len(again))
			}
		})
	}
}

func size(t *Table) (n int) {
	for i := range t.shards {
		t.shards[i].mu.Lock()
		n += len(t.shards[i].entries)
		t.shards[i].mu.Unlock()
	}
	return n
}

func TestRate(t *testing.T) {
	for _, tt := range []struct {
		name              string
		accepted, refused int
		known             bool
		most              int // in one go
		wait              int // connections that may come every minute after it
	}{
		{"nothing said", 0, 0, false, 60, 60},
		{"good mail", 1, 0, false, 600, 600},
		{"much good mail", 50, 0, false, 600, 600},
		{"one refusal", 0, 1, false, 30, 30},
		{"harvester", 0, 10, false, 6, 6},
		{"mixed", 1, 4, false, 120, 120},
		{"known, nothing said", 0, 0, true, 600, 600},
		{"known, good mail", 1, 0, true, 6000, 6000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := usual
			r.Client, r.Network, r.Total = 0, 0, 0
			table, now := NewTable(), start
			burst := func() (n int, why Reason) {
				for {
					v, no, _ := table.Enter(now, addr("192.0.2.1"), r, tt.known)
					if no != Fine {
						return n, no
					}
					n++
					table.Leave(now, v, r, Cost(tt.accepted, tt.refused))
				}
			}
			about := func(what string, n, want int) {
				if n < want*9/10 || n > want*11/10+2 {
					t.Errorf("%s: %d came in, want %d", what, n, want)
				}
			}
			n, why := burst()
			about("at first", n, tt.most)
			if why != ClientRate {
				t.Errorf("reason %d", why)
			}
			now = now.Add(30 * time.Second)
			n, _ = burst()
			about("half a minute later", n, tt.wait/2)
			now = now.Add(3 * time.Minute)
			n, _ = burst()
			about("later", n, tt.most)
		})
	}
}

func TestRateOfNetworks(t *testing.T) {
	r := usual
	r.Total = 0
	r.Client, r.Network = 1<<20, 5<<20 // rates alone
	r.Wide = 1 << 30
	for _, tt := range []struct {
		name string
		of   func(int) netip.Addr
		most int
	}{
		{"a /24", in4, 300},
		{"a /48", in6(64), 300},
		{"a /32", in6(48), 3000},
	} {
		visits, why := enter(NewTable(), start, r, 10000, tt.of, false)
		if len(visits) != tt.most || why != NetworkRate {
			t.Errorf("%s: %d came in, then %d", tt.name, len(visits), why)
		}
	}
}

func TestTotalRate(t *testing.T) {
	table := NewTable()
	ever := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 1}) }
	visits, why := enter(table, start, usual, 10000, ever, false)
	if len(visits) != 6000 || why != TotalRate {
		t.Fatalf("%d came in, then %d", len(visits), why)
	}
	if _, why, news := table.Enter(start, addr("192.0.2.1"), usual, false); why != TotalRate || news {
		t.Errorf("a stranger: %d, news %v", why, news)
	}
	if n := table.Open(addr("192.0.2.1")); n != 0 {
		t.Error("a refused connection is counted")
	}
	v, why, _ := table.Enter(start, addr("192.0.2.1"), usual, true)
	if why != Fine {
		t.Errorf("a known client: %d", why)
	}
	table.Leave(start, v, usual, Cost(1, 0))
	for _, v := range visits[:1000] {
		table.Leave(start, v, usual, Cost(1, 0))
	}
	if visits, _ := enter(table, start, usual, 10000, func(i int) netip.Addr { return ever(i + 20000) }, false); len(visits) < 890 || len(visits) > 900 {
		t.Errorf("%d came in after 1000 had brought good mail", len(visits))
	}
}

// TestNews: of a client that knocks and knocks, one refusal a minute is told.
func TestNews(t *testing.T) {
	r := Rules{Client: 1}
	table := NewTable()
	table.Enter(start, addr("192.0.2.1"), r, false)
	told := 0
	for i := range 600 {
		if _, why, news := table.Enter(start.Add(time.Duration(i)*time.Second), addr("192.0.2.1"), r, false); why != ClientOpen {
			t.Fatalf("reason %d", why)
		} else if news {
			told++
		}
	}
	if told != 10 {
		t.Errorf("%d of 600 refusals in ten minutes were told", told)
	}
}

// TestBounded: nobody fills the memory, and who is refused the narrow entry is still counted by the wide one.
func TestBounded(t *testing.T) {
	r := Rules{Client: 1, Network: 1, Wide: 3000}
	table := NewTable()
	visits, why := enter(table, start, r, 100000, in6(48), false)
	if len(visits) != r.Wide || why != NetworkOpen {
		t.Errorf("a /32 got %d connections, then %d", len(visits), why)
	}
	if n := size(table); n > mostHere {
		t.Errorf("a /32 has %d entries", n)
	}
	shardOf := func(a netip.Addr) *shard {
		all, n := keys(a)
		return table.shard(all[n-1])
	}
	other := addr("192.0.2.1")
	for shardOf(other) == shardOf(in6(48)(0)) { // which is full: the seed is drawn
		b := other.As4()
		b[2]++
		other = netip.AddrFrom4(b)
	}
	if v, why, _ := table.Enter(start, other, r, false); why != Fine || v.counted != 3 {
		t.Errorf("another client: %d, %b", why, v.counted)
	}
	for _, v := range visits {
		table.Leave(start, v, r, 1000)
	}
	if n := size(table); n != 2 {
		t.Errorf("%d entries are left", n)
	}

	table = NewTable() // ever new ones, that leave debts behind
	r = Rules{Rate: 60}
	for i := range 300000 {
		a := netip.AddrFrom4([4]byte{byte(i >> 16), byte(i >> 8), byte(i), 1})
		v, _, _ := table.Enter(start, a, r, false)
		table.Leave(start, v, r, 1000)
	}
	if n := size(table); n > shards*mostHere {
		t.Errorf("%d entries", n)
	}
	v, _, _ := table.Enter(start.Add(5*time.Minute), addr("192.0.2.1"), r, false)
	if v.counted != 3 {
		t.Errorf("debts that were paid long ago leave no room: %b", v.counted)
	}
}

func TestNoAddress(t *testing.T) {
	table := NewTable()
	for range 10 {
		if v, why, _ := table.Enter(start, netip.Addr{}, Rules{Client: 1}, false); why != Fine || v != (Visit{}) {
			t.Fatalf("%v, %d", v, why)
		}
	}
	table.Leave(start, Visit{}, usual, 1000)
}

func TestClient(t *testing.T) {
	for in, want := range map[string]string{
		"2001:db8::1": "2001:db8::/64", "192.0.2.1": "192.0.2.1/32", "::ffff:192.0.2.1": "192.0.2.1/32", "fe80::1%eth0": "fe80::/64",
	} {
		if got := Client(addr(in)); got != netip.MustParsePrefix(want) {
			t.Errorf("%s is counted by %v", in, got)
		}
	}
	if Client(netip.Addr{}).IsValid() {
		t.Error("a client without an address")
	}
}

func TestCost(t *testing.T) {
	for _, tt := range []struct{ accepted, refused, want int }{
		{0, 0, 1000},
		{1, 0, 100},
		{100, 0, 100},
		{0, 1, 2000},
		{0, 9, 10000},
		{0, 1000, 10000},
		{1, 1, 200},
		{1, 9, 1000},
		{10, 3, 100},
	} {
		if got := Cost(tt.accepted, tt.refused); got != tt.want {
			t.Errorf("%d accepted, %d refused: %d", tt.accepted, tt.refused, got)
		}
	}
}

func TestConcurrent(t *testing.T) {
	table := NewTable()
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 2000 {
				a := in4((g + i) % 7)
				if i%2 == 0 {
					a = in6(64)((g + i) % 7)
				}
				if v, why, _ := table.Enter(start, a, Rules{Client: 5, Network: 12}, g%2 == 0); why == Fine {
					table.Leave(start, v, Rules{Client: 5, Network: 12}, 1000)
				}
			}
		})
	}
	wg.Wait()
	if n := size(table); n != 0 {
		t.Errorf("%d entries are left", n)
	}
}

func BenchmarkEnterLeave(b *testing.B) {
	for _, n := range []int{1, 1000, 60000} {
		b.Run(fmt.Sprintf("clients=%d", n), func(b *testing.B) {
			table := NewTable()
			r := Rules{Client: 1 << 30, Network: 1 << 30, Wide: 1 << 30, Rate: 1 << 30, Total: 1 << 30}
			now := time.Now()
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					j := i % n
					a := netip.AddrFrom4([4]byte{10, byte(j >> 8), byte(j), byte(j >> 3)})
					v, _, _ := table.Enter(now, a, r, false)
					table.Leave(now, v, r, 1000)
				}
			})
		})
	}
}

// BenchmarkFlood is what a refused connection costs of a /32 that comes from ever new networks.
func BenchmarkFlood(b *testing.B) {
	table, of := NewTable(), in6(48)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		table.Enter(start.Add(time.Duration(i)*time.Microsecond), of(i), usual, false)
	}
}
