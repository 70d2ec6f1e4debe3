package dns_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postern-mail/postern/internal/dns"
	"github.com/postern-mail/postern/internal/dns/zone"
)

// outcome words how a look-up for TXT ended.
func outcome(got []string, err error) string {
	var de *net.DNSError
	switch {
	case err == nil:
		return strings.Join(got, "|")
	case !errors.As(err, &de):
		return "not a DNSError"
	case errors.Is(err, dns.ErrNXDomain) && de.IsNotFound:
		return "no name"
	case errors.Is(err, dns.ErrNoData) && de.IsNotFound:
		return "no record"
	case de.IsTimeout && de.IsTemporary:
		return "timeout"
	case de.IsTemporary:
		return "temporary"
	}
	return "neither found nor temporary"
}

// TestBadServers: whatever a server does instead of answering, the outcome is a temporary error, in bounded time, and
// what it does besides answering does no harm.
func TestBadServers(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("long", 1000)
	s := serve(t, `
truncated.example TRUNCATED
truncated.example TXT over tcp
noisy.example     NOISY
noisy.example     TXT through the noise
noedns.example    NOEDNS
noedns.example    TXT without edns
slow.example      DELAY 100ms
slow.example      TXT slow
long.example      TXT `+long+`
late.example      DELAY 5s
late.example      TXT late
wrongid.example   WRONGID
wrongname.example WRONGNAME
strange.example   STRANGE
looping.example   LOOPING
garbage.example   GARBAGE
refused.example   REFUSED
broken.example    SERVFAIL
mute.example      SILENT
lame.example      LAME
c1.example        CNAME c2.example
c2.example        CNAME c1.example
empty.example     A 192.0.2.1
`)
	for asked, want := range map[string]string{
		"truncated.example": "over tcp",
		"noisy.example":     "through the noise",
		"noedns.example":    "without edns",
		"slow.example":      "slow",
		"long.example":      long,
		"late.example":      "timeout",
		"wrongid.example":   "timeout",
		"wrongname.example": "timeout",
		"mute.example":      "timeout",
		"strange.example":   "temporary",
		"looping.example":   "temporary",
		"garbage.example":   "temporary",
		"refused.example":   "temporary",
		"broken.example":    "temporary",
		"lame.example":      "temporary",
		"c1.example":        "temporary",
		"empty.example":     "no record",
		"nobody.example":    "no name",
	} {
		t.Run(asked, func(t *testing.T) {
			r := resolver(t, s.Addr())
			if want == "timeout" {
				r = hasty(t, s.Addr())
			}
			began := time.Now()
			if got := outcome(r.LookupTXT(t.Context(), asked)); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			// Two attempts of 300 ms or a minute each, and a loaded machine: whoever waits for ever, or does so in vain, is told from those.
			if d := time.Since(began); d > 30*time.Second {
				t.Errorf("took %s", d)
			}
		})
	}
}

// TestNames are asked for octet by octet, or not at all.
func TestNames(t *testing.T) {
	label := strings.Repeat("l", 63)
	full := strings.Join([]string{label, label, label, label[:61]}, ".")
	there := []string{
		"a b.example", `back\slash.example`, "quo\"te'.example", "ctl\x00\x01\x7f.example", "\xff\xfe.example", "at@(x);.example",
		"tab\t.example", "192.0.2.1", `\046.example`, label + ".example", full, "example", "_spf.example", "1/2.example",
	}
	var records []zone.Record
	for _, n := range there {
		records = append(records, zone.Record{Name: n, Type: "TXT", Text: []string{"text of " + n}})
	}
	s, err := zone.ServeRecords(records)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r := resolver(t, s.Addr())
	o := new(observed)
	r.Observe(o)
	for _, n := range there {
		for _, asked := range []string{n, n + ".", upper(n)} {
			if got := outcome(r.LookupTXT(t.Context(), asked)); got != "text of "+n {
				t.Errorf("%q: %q", asked, got)
			}
		}
	}
	if len(o.queries) != len(there) {
		t.Errorf("%d questions for %d names", len(o.queries), len(there))
	}
	before := len(o.queries)
	for _, n := range []string{"", "..", ".a", "a..b", label + "l.example", full + "x", strings.Repeat("a.", 200), "a.b.."} {
		if got := outcome(r.LookupTXT(t.Context(), n)); got != "no name" {
			t.Errorf("%q: %q", n, got)
		}
		if _, err := r.LookupIPAddr(t.Context(), n); !errors.Is(err, dns.ErrNXDomain) {
			t.Errorf("%q: %v", n, err)
		}
	}
	for _, a := range []string{"", "x", "192.0.2.256", "mail.example"} {
		if got := outcome(r.LookupAddr(t.Context(), a)); got != "no name" {
			t.Errorf("address %q: %q", a, got)
		}
	}
	if len(o.queries) != before {
		t.Errorf("what can't be asked was asked: %v", o.queries[before:])
	}
}

// upper changes the letters that the DNS knows.
func upper(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'a' <= c && c <= 'z' {
			b[i] = c - 'a' + 'A'
		}
	}
	return string(b)
}

func TestLookupAddrForms(t *testing.T) {
	s := serve(t, `
1.2.0.192.in-addr.arpa PTR a.example
1.2.0.192.in-addr.arpa PTR b\.c.example
1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa PTR six.example
`)
	r := resolver(t, s.Addr())
	for _, a := range []string{"192.0.2.1", "::ffff:192.0.2.1"} {
		got, err := r.LookupAddr(t.Context(), a)
		if outcome(nil, err) != "temporary" || !slices.Equal(got, []string{"a.example."}) {
			t.Errorf("%s: %v, %v; want the good one and the error", a, got, err)
		}
	}
	if got, err := r.LookupAddr(t.Context(), "2001:db8::1%eth0"); err != nil || !slices.Equal(got, []string{"six.example."}) {
		t.Errorf("%v, %v", got, err)
	}
}

// TestExistence: "no such name" and "no such record" can be told apart, also over two families.
func TestExistence(t *testing.T) {
	// The last three are of servers that deny the name where only the one record is missing (RFC 4074 4.2).
	s := serve(t, `
a.example MX 10 b.example
c.example A 192.0.2.1
d.example A 192.0.2.1
d.example AAAA NXDOMAIN
e.example A NXDOMAIN
f.example AAAA NXDOMAIN
`)
	r := resolver(t, s.Addr())
	for asked, want := range map[string]error{
		"a.example": dns.ErrNoData, "example": dns.ErrNoData, "b.example": dns.ErrNXDomain, "c.example": nil,
		"d.example": nil, "e.example": dns.ErrNoData, "f.example": dns.ErrNoData,
	} {
		if _, err := r.LookupIPAddr(t.Context(), asked); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", asked, err, want)
		}
	}
}

func TestLookupTLSA(t *testing.T) {
	s := serve(t, `
_25._tcp.mx.example TLSA 3 1 1 00ff10
_25._tcp.mx.example SECURE
_25._tcp.no.example SECURE
_25._tcp.no.example TXT x
_25._tcp.open.example TLSA 3 1 1 00ff10
_25._tcp.bad.example SERVFAIL
`)
	r := resolver(t, s.Addr())
	got, secure, err := r.LookupTLSA(t.Context(), "_25._tcp.mx.example")
	if err != nil || !secure || len(got) != 1 || got[0].Usage != 3 || got[0].Selector != 1 || got[0].MatchingType != 1 || string(got[0].Data) != "\x00\xff\x10" {
		t.Errorf("%v, %v, %v", got, secure, err)
	}
	if _, secure, err := r.LookupTLSA(t.Context(), "_25._tcp.no.example"); !secure || !errors.Is(err, dns.ErrNoData) {
		t.Errorf("denied: %v, %v", secure, err)
	}
	if got, secure, err := r.LookupTLSA(t.Context(), "_25._tcp.open.example"); err != nil || secure || len(got) != 1 {
		t.Errorf("without DNSSEC: %v, %v, %v", got, secure, err)
	}
	if _, secure, err := r.LookupTLSA(t.Context(), "_25._tcp.bad.example"); secure || outcome(nil, err) != "temporary" {
		t.Errorf("bogus: %v, %v", secure, err)
	}
}

// TestSingleFlight: many who want to know are one question, whose end none of them decides but the last.
func TestSingleFlight(t *testing.T) {
	t.Parallel()
	s := serve(t, "slow.example DELAY 3s\nslow.example TXT x\n") // by when all have come aboard
	r := resolver(t, s.Addr())
	o := new(observed)
	r.Observe(o)
	first, cancel := context.WithCancel(t.Context())
	gone := make(chan string)
	go func() { gone <- outcome(r.LookupTXT(first, "slow.example")) }()
	for s.Asked("slow.example", "TXT") == 0 {
		time.Sleep(time.Millisecond)
	}
	var all sync.WaitGroup
	var good atomic.Int64
	for range 50 {
		all.Go(func() {
			if got, err := r.LookupTXT(t.Context(), "slow.example"); err == nil && got[0] == "x" {
				got[0] = "each has an answer of its own"
				good.Add(1)
			}
		})
	}
	for o.missed() < 51 {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(10 * time.Millisecond) // lets them come aboard: the first is the last where nobody does
	cancel()
	if got := <-gone; got != "temporary" {
		t.Errorf("the one who left: %q", got)
	}
	all.Wait()
	if n := s.Asked("slow.example", "TXT"); n != 1 || good.Load() != 50 {
		t.Errorf("asked %d times, %d answers", n, good.Load())
	}
}

// TestLastOneEndsIt: when nobody waits any more, the question ends, long before its time, and leaves no failure
// behind.
func TestLastOneEndsIt(t *testing.T) {
	s := serve(t, "late.example DELAY 30s\nlate.example TXT x\n")
	r := resolver(t, s.Addr())
	ended := make(chan dns.Query, 1)
	r.Observe(endings{ended})
	ctx, cancel := context.WithCancel(t.Context())
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() { _, _ = r.LookupTXT(ctx, "late.example") })
	}
	for s.Asked("late.example", "TXT") == 0 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	both.Wait()
	select {
	case q := <-ended:
		if q.Rcode != dns.Canceled {
			t.Errorf("%+v", q)
		}
	case <-time.After(20 * time.Second): // before there is an answer
		t.Fatal("it goes on")
	}
	if err := s.Replace("late.example TXT now"); err != nil {
		t.Fatal(err)
	}
	if got := outcome(r.LookupTXT(t.Context(), "late.example")); got != "now" {
		t.Errorf("afterwards: %q", got)
	}
}

// endings hands on each question that has ended.
type endings struct{ c chan dns.Query }

func (e endings) DNSQuery(q dns.Query) {
	select {
	case e.c <- q:
	default:
	}
}
func (endings) DNSCache(bool)    {}
func (endings) DNSBudget(string) {}

// TestCached: what was answered, denied or failed is not asked for again within its time, and asked for after.
func TestCached(t *testing.T) {
	t.Parallel()
	s := serve(t, `
example SOA ns.example. root.example. 1 2 3 4 600
a.example       TXT x
now.example   0 TXT x
short.example 1 TXT x
broken.example  SERVFAIL
other.test      A 192.0.2.1
`)
	r := resolver(t, s.Addr())
	for _, c := range []struct {
		name string
		want int // times asked, of three
	}{
		{"a.example", 1}, {"now.example", 3}, {"nobody.example", 1}, {"other.test", 3}, {"broken.example", 1},
	} {
		for range 3 {
			_, _ = r.LookupTXT(t.Context(), c.name)
		}
		if n := s.Asked(c.name, "TXT"); n != c.want {
			t.Errorf("%s was asked %d times, want %d", c.name, n, c.want)
		}
	}
	_, _ = r.LookupTXT(t.Context(), "short.example")
	time.Sleep(1100 * time.Millisecond)
	_, _ = r.LookupTXT(t.Context(), "short.example")
	if n := s.Asked("short.example", "TXT"); n != 2 {
		t.Errorf("short.example was asked %d times, want 2", n)
	}
}

// TestBudgetOfQuestions: beyond it nothing goes out, but what is known is still given.
func TestBudgetOfQuestions(t *testing.T) {
	s := serve(t, "a.example 600 TXT x\nb.example 600 A 192.0.2.1\n")
	r := resolver(t, s.Addr())
	o := new(observed)
	r.Observe(o)
	if _, err := r.LookupTXT(t.Context(), "a.example"); err != nil {
		t.Fatal(err)
	}
	ctx := dns.WithBudget(t.Context(), dns.NewBudget(3, time.Minute))
	again := dns.WithBudget(ctx, nil)
	for range 10 {
		_, _ = r.LookupIPAddr(ctx, "b.example") // two questions; AAAA is denied without SOA, and asked again
	}
	_, err := r.LookupTXT(ctx, "c.example")
	if outcome(nil, err) != "temporary" || !errors.Is(err, dns.ErrBudget) {
		t.Errorf("got %v", err)
	}
	if got := outcome(r.LookupTXT(ctx, "a.example")); got != "x" {
		t.Errorf("what is known: %q", got)
	}
	if n := s.Asked("b.example", "A") + s.Asked("b.example", "AAAA") + s.Asked("c.example", "TXT"); n != 3 {
		t.Errorf("%d questions went out", n)
	}
	if !slices.Equal(o.budgets, []string{dns.LimitQuestions}) {
		t.Errorf("told %q, want once", o.budgets)
	}
	if got := outcome(r.LookupTXT(again, "c.example")); got != "no name" {
		t.Errorf("without a budget: %q", got)
	}
}

// TestBudgetOfTime: however many look-ups are made of silent names, one after the other and at once, in whatever
// contexts, together they take no longer than the budget.
func TestBudgetOfTime(t *testing.T) {
	t.Parallel()
	r := resolver(t, silentServer(t))
	r.SetTimeout(10 * time.Second)
	o := new(observed)
	r.Observe(o)
	b := dns.NewBudget(1000, 400*time.Millisecond)
	began := time.Now()
	for phase := range 3 {
		ctx, cancel := context.WithCancel(dns.WithBudget(t.Context(), b))
		var all sync.WaitGroup
		for i := range 5 {
			all.Go(func() {
				for j := range 5 {
					name := fmt.Sprintf("x%d-%d-%d.example", phase, i, j)
					if _, err := r.LookupIPAddr(ctx, name); outcome(nil, err) != "temporary" && outcome(nil, err) != "timeout" {
						t.Errorf("%s: %v", name, err)
					}
				}
			})
		}
		all.Wait()
		cancel()
	}
	if d := time.Since(began); d < 300*time.Millisecond || d > 30*time.Second { // 75 look-ups of 20 s, five at once
		t.Errorf("took %s, with a budget of 400 ms", d)
	}
	if !slices.Equal(o.budgets, []string{dns.LimitTime}) {
		t.Errorf("told %q, want once", o.budgets)
	}
	// Time in which nobody waits is not taken off.
	b = dns.NewBudget(10, 2*time.Second)
	good := resolver(t, serve(t, "a.example TXT x\n").Addr())
	for range 2 {
		if got := outcome(good.LookupTXT(dns.WithBudget(t.Context(), b), "a.example")); got != "x" {
			t.Error(got)
		}
		time.Sleep(1100 * time.Millisecond)
	}
	if got := outcome(good.LookupTXT(dns.WithBudget(t.Context(), b), "b.example")); got != "no name" {
		t.Errorf("after a pause: %q", got)
	}
}

// silentServer gives an address where everything is taken and nothing answered.
func silentServer(t *testing.T) string {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c.LocalAddr().String()
}

// bothProtocols listens on one port for TCP and UDP.
func bothProtocols(t *testing.T) (net.Listener, net.PacketConn) {
	t.Helper()
	for range 16 { // a port that is free for the one may be taken for the other
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if c, err := net.ListenPacket("udp", l.Addr().String()); err == nil {
			return l, c
		}
		_ = l.Close()
	}
	t.Fatal("no port is free for both protocols")
	return nil, nil
}

// TestGuessing: whoever floods a question with datagrams that do not fit makes it go over TCP.
func TestGuessing(t *testing.T) {
	l, c := bothProtocols(t)
	var served sync.WaitGroup
	served.Go(func() {
		b := make([]byte, 512)
		n, from, err := c.ReadFrom(b)
		if err != nil {
			return
		}
		for i := range 100 { // all ids but the right one
			lie := slices.Clone(b[:n])
			binary.BigEndian.PutUint16(lie, binary.BigEndian.Uint16(lie)+1+uint16(i))
			lie[2] |= 0x80
			_, _ = c.WriteTo(lie, from)
		}
	})
	served.Go(func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		b := make([]byte, 512)
		n, err := conn.Read(b)
		if err != nil {
			return
		}
		b[4], b[5] = b[4]|0x80, 0x80|3 // QR; RA, NXDOMAIN
		_, _ = conn.Write(b[:n])
	})
	r := resolver(t, c.LocalAddr().String())
	if got := outcome(r.LookupTXT(t.Context(), "a.example")); got != "no name" {
		t.Errorf("got %q, want what TCP said", got)
	}
	_, _ = l.Close(), c.Close()
	served.Wait()
}
