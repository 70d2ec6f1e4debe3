package upstream

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// nameServer is a resolver of one name.
type nameServer struct {
	mu    sync.Mutex
	addrs []netip.Addr
	err   error
	asked int
}

func (a *nameServer) set(err error, addrs ...string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.addrs, a.err = nil, err
	for _, s := range addrs {
		a.addrs = append(a.addrs, netip.MustParseAddr(s))
	}
}

func (a *nameServer) resolve(_ context.Context, name string) ([]netip.Addr, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked++
	if name != "mail.test" {
		return nil, errors.New("no such host")
	}
	return a.addrs, a.err
}

func TestUsable(t *testing.T) {
	for name, c := range map[string]struct{ given, want []string }{
		"none":         {},
		"one":          {[]string{"192.0.2.1"}, []string{"192.0.2.1"}},
		"in turn":      {[]string{"2001:db8::1", "2001:db8::2", "2001:db8::3", "192.0.2.1", "192.0.2.2"}, []string{"2001:db8::1", "192.0.2.1", "2001:db8::2", "192.0.2.2", "2001:db8::3"}},
		"IPv4 first":   {[]string{"192.0.2.1", "2001:db8::1"}, []string{"192.0.2.1", "2001:db8::1"}},
		"twice":        {[]string{"192.0.2.1", "::ffff:192.0.2.1", "192.0.2.1"}, []string{"192.0.2.1"}},
		"more than 8 ": {[]string{"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5", "192.0.2.6", "192.0.2.7", "192.0.2.8", "192.0.2.9"}, []string{"192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5", "192.0.2.6", "192.0.2.7", "192.0.2.8"}},
	} {
		var given []netip.Addr
		for _, s := range c.given {
			given = append(given, netip.MustParseAddr(s))
		}
		var got []string
		for _, a := range usable(given) {
			got = append(got, a.String())
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: -want +got:\n%s", name, diff)
		}
	}
}

// TestAddressesInTurn: the first address that answers counts, and what costs time is not the first the next time.
func TestAddressesInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "192.0.2.1:25", "192.0.2.2:25", "[2001:db8::1]:25")
		f.servers["[2001:db8::1]:25"].set(fleetHole)
		f.servers["192.0.2.1:25"].set(fleetRefuses)
		names := &nameServer{}
		names.set(nil, "2001:db8::1", "192.0.2.1", "192.0.2.2")
		p := pool(t, Config{Servers: []string{"mail.test:25"}, Dial: f.dial, Resolve: names.resolve, MaxIdle: -1})
		if o, took := deliver(t, p); o.Kind != Delivered || took < attemptDelay || took > attemptDelay+atOnce {
			t.Errorf("%+v after %v", o, took)
		}
		if o, took := deliver(t, p); o.Kind != Delivered || took > atOnce {
			t.Errorf("the next time: %+v after %v", o, took)
		}
		if dials, _ := f.servers["[2001:db8::1]:25"].count(); dials != 1 || names.asked != 1 {
			t.Errorf("the hole was tried %d times, the name looked up %d times", dials, names.asked)
		}
		f.servers["192.0.2.2:25"].set(fleetRefuses)
		o, took := deliver(t, p)
		if o.Kind != Unreachable || o.Stage != StageDial || took != 10*time.Second {
			t.Errorf("none answers: %+v after %v", o, took)
		}
	})
}

// TestNameUnknown: without any address a server can't be reached, and with those of before it can.
func TestNameUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "192.0.2.1:25")
		names := &nameServer{}
		p := pool(t, Config{Servers: []string{"mail.test:25"}, Dial: f.dial, Resolve: names.resolve, MaxIdle: -1})
		for _, err := range []error{nil, errors.New("no answer")} {
			names.set(err)
			if o, _ := deliver(t, p); o.Kind != Unreachable || o.Stage != StageDial || o.ClientReply("ID", false).Code != 451 {
				t.Errorf("%+v", o)
			}
		}
		names.set(nil, "192.0.2.1")
		for range 3 {
			if o, _ := deliver(t, p); o.Kind != Delivered {
				t.Errorf("%+v", o)
			}
			names.set(errors.New("no answer"))
			time.Sleep(time.Hour)
		}
	})
}

// TestAddressChanges: new connections go to a changed address, and those with the old one are let go.
func TestAddressChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, "192.0.2.1:25", "192.0.2.2:25")
		one, two := f.servers["192.0.2.1:25"], f.servers["192.0.2.2:25"]
		names := &nameServer{}
		names.set(nil, "192.0.2.1")
		p := pool(t, Config{Servers: []string{"mail.test:25"}, Dial: f.dial, Resolve: names.resolve, IdleTimeout: time.Hour})
		p.Watch()
		var wg sync.WaitGroup
		one.slow(&one.pause, 2*nameFor)
		wg.Go(func() { deliver(t, p) })
		time.Sleep(time.Second)
		one.slow(&one.pause, 0)
		deliver(t, p)
		names.set(nil, "192.0.2.2")
		time.Sleep(nameFor)
		synctest.Wait()
		s := p.servers[0]
		s.mu.Lock()
		if len(s.idle) != 0 || s.open != 1 {
			t.Errorf("%d idle of %d open, not the one that is used still", len(s.idle), s.open)
		}
		s.mu.Unlock()
		wg.Wait()
		if o, _ := deliver(t, p); o.Kind != Delivered {
			t.Errorf("%+v", o)
		}
		_, first := one.count()
		_, second := two.count()
		s.mu.Lock()
		defer s.mu.Unlock()
		if first != 2 || second != 1 || s.open != 1 {
			t.Errorf("%d and %d messages, %d connections open", first, second, s.open)
		}
		if names.asked < 3 || names.asked > 5 {
			t.Errorf("looked up %d times", names.asked)
		}
	})
}

// TestSource: connections come from the address of the server's family.
func TestSource(t *testing.T) {
	dial := dialFrom([]netip.Addr{netip.MustParseAddr("::1"), netip.MustParseAddr("127.0.0.2")})
	for _, on := range []struct{ listen, want string }{{"127.0.0.1:0", "127.0.0.2"}, {"[::1]:0", "::1"}} {
		l, err := net.Listen("tcp", on.listen)
		if err != nil {
			t.Logf("%s: %v", on.listen, err) // no IPv6 here
			continue
		}
		nc, err := dial(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if got := nc.LocalAddr().(*net.TCPAddr).IP.String(); got != on.want {
			t.Errorf("%s: from %s", on.listen, got)
		}
		_, _ = nc.Close(), l.Close()
	}
	if _, err := dialFrom([]netip.Addr{netip.MustParseAddr("192.0.2.1")})(t.Context(), "tcp", "127.0.0.1:9"); err == nil {
		t.Error("from an address that this host does not have")
	}
}

// TestHostOf: only names are looked up.
func TestHostOf(t *testing.T) {
	c := Config{Resolve: new(nameServer).resolve}
	var named []string
	for _, s := range []string{"mail.test:25", "192.0.2.1:25", "[2001:db8::1]:25", "[fe80::1%eth0]:25", "unix:/run/lmtp", "localhost:25"} {
		if c.hostOf(s) != nil {
			named = append(named, s)
		}
	}
	if want := []string{"mail.test:25", "localhost:25"}; !slices.Equal(named, want) {
		t.Errorf("looked up: %v", named)
	}
}
