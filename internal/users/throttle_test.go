package users

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

var began = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// guess makes attempts with a wrong password until one is turned away, waits as it is told, and gives how many there were
// and the time they took.
func guess(th *throttle, name, client string, trusted bool, at time.Time, most int) (n int, end time.Time) {
	for n < most {
		a, wait, ok := th.begin(name, netip.MustParseAddr(client), trusted, at)
		if !ok {
			return n, at
		}
		at = at.Add(wait)
		th.failed(a, at)
		n++
	}
	return n, at
}

func TestThrottleNetwork(t *testing.T) {
	var th throttle
	n, at := guess(&th, "ann", "192.0.2.1", false, began, 1000)
	if n < ofNetwork.free || n > 15 || at.Sub(began) > time.Minute {
		t.Errorf("%d guesses in %v before it is turned away", n, at.Sub(began))
	}
	// Names do not help, nor does another address of the same network of IPv6.
	if n, _ := guess(&th, "bob", "192.0.2.1", false, at, 10); n != 0 {
		t.Errorf("%d more guesses with another name", n)
	}
	_, at6 := guess(&th, "n1", "2001:db8:1:2::1", false, began, 1000)
	if n, _ := guess(&th, "n2", "2001:db8:1:2:ffff::1", false, at6, 10); n != 0 {
		t.Errorf("%d more guesses from the same /64", n)
	}
	if n, _ := guess(&th, "n3", "::ffff:192.0.2.1", false, at, 10); n != 0 {
		t.Errorf("%d more guesses from the mapped address", n)
	}
	// Neighbours are not touched, for other names.
	if n, _ := guess(&th, "carol", "192.0.2.2", false, at, 1); n != 1 {
		t.Error("a neighbour is turned away")
	}
	// In a day it comes to few.
	day, all := at.Add(24*time.Hour), 0
	for at.Before(day) {
		n, _ := guess(&th, "ann", "192.0.2.1", false, at, 1000)
		all += n
		at = at.Add(time.Minute)
	}
	if all > 24*4+10 {
		t.Errorf("%d guesses in a day from one network", all)
	}
	// It is forgotten.
	if n, _ := guess(&th, "ann", "192.0.2.1", false, at.Add(2*time.Hour), ofNetwork.free); n != ofNetwork.free {
		t.Errorf("%d attempts after two quiet hours", n)
	}
}

// Whoever guesses for one name from ever other networks is slowed down, and never keeps out who is at home somewhere.
func TestThrottleName(t *testing.T) {
	var th throttle
	client := func(i int) string { return fmt.Sprintf("198.51.%d.%d", i/250, i%250+1) }
	a, _, _ := th.begin("ann", netip.MustParseAddr("192.0.2.1"), false, began)
	th.succeeded(a, began)
	at, all := began, 0
	for i := range 20 * 60 {
		n, _ := guess(&th, "ann", client(i), false, at, 1)
		all += n
		at = at.Add(time.Second)
		// Ann, from her home's next address, and with it the one or other wrong password.
		a, wait, ok := th.begin("ann", netip.MustParseAddr("192.0.2.77"), false, at)
		if !ok || wait > 0 {
			t.Fatalf("Ann is kept out of her own network after %v", at.Sub(began))
		}
		th.succeeded(a, at)
	}
	if all > ofName.free+30 {
		t.Errorf("%d guesses in 20 minutes from a thousand networks", all)
	}
	// From elsewhere she waits with everybody.
	if _, wait, ok := th.begin("ann", netip.MustParseAddr("203.0.113.9"), false, at); ok && wait == 0 {
		t.Error("an unknown network does not wait")
	}
}

// A program with an old password, in the network of others: they do not notice, and its owner waits for seconds at most.
func TestThrottleHome(t *testing.T) {
	var th throttle
	login := func(name string, at time.Time) (time.Duration, bool) {
		a, wait, ok := th.begin(name, netip.MustParseAddr("192.0.2.1"), false, at)
		if ok {
			th.succeeded(a, at.Add(wait))
		}
		return wait, ok
	}
	for _, name := range []string{"ann", "bob"} {
		login(name, began)
	}
	n, at := guess(&th, "printer", "192.0.2.1", false, began, 100)
	if n == 100 {
		t.Error("the printer is never turned away")
	}
	if wait, ok := login("bob", at); !ok || wait > 0 {
		t.Errorf("Bob waits for %v, %v, for the printer in his network", wait, ok)
	}
	// At home is who has logged in, and not his neighbour in the network.
	if _, _, ok := th.begin("printer", netip.MustParseAddr("192.0.2.1"), false, at); ok {
		t.Error("the printer is let in with the others")
	}
	// Ann's own phone has an old password.
	n, at = guess(&th, "ann", "192.0.2.1", false, at, 20)
	if n != 20 || at.Sub(began) > 20*longestWait+time.Minute {
		t.Errorf("%d attempts, in %v", n, at.Sub(began))
	}
	if wait, ok := login("ann", at.Add(longestWait)); !ok || wait > longestWait {
		t.Errorf("Ann waits for %v, %v", wait, ok)
	}
	if wait, ok := login("ann", at.Add(2*longestWait)); !ok || wait > 0 {
		t.Errorf("Ann waits for %v, %v, after a login", wait, ok)
	}
	// In the networks that may relay everybody is at home.
	if n, _ := guess(&th, "dave", "10.1.2.3", true, began, 50); n != 50 {
		t.Errorf("%d attempts from a trusted network", n)
	}
}

// Many at the same time do not all come before the failures of the others count.
func TestThrottleTogether(t *testing.T) {
	var th throttle
	_, at := guess(&th, "ann", "192.0.2.1", false, began, ofNetwork.free+3)
	begun := 0
	for range 100 {
		if _, _, ok := th.begin("ann", netip.MustParseAddr("192.0.2.1"), false, at); ok {
			begun++
		}
	}
	if begun > 6 {
		t.Errorf("%d of 100 attempts begin at once", begun)
	}
}

// Nobody fills the memory, and what he does to that end does not wash his own failures away at once.
func TestThrottleIsBounded(t *testing.T) {
	var th throttle
	_, at := guess(&th, "ann", "2001:db8::1", false, began, 1000)
	for i := range 3 * maxTracked {
		c := netip.AddrFrom16([16]byte{0x20, 0x02, byte(i >> 16), byte(i >> 8), byte(i), 1, 2, 3, 4})
		a, _, _ := th.begin(fmt.Sprint("n", i), c, false, at)
		th.failed(a, at)
		if i%2 == 0 {
			th.succeeded(a, at)
		}
		at = at.Add(time.Millisecond)
	}
	for name, n := range map[string]int{"networks": len(th.networks.records), "names": len(th.names.records), "homes": len(th.homes.records)} {
		if n > maxTracked || n < maxTracked/2 {
			t.Errorf("%s: %d", name, n)
		}
	}
}

// No attempt waits for ever, whatever came before.
func FuzzThrottle(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 0, 0, 0, 255, 7, 0, 0, 0})
	f.Fuzz(func(t *testing.T, script []byte) {
		var th throttle
		at := began
		for _, op := range script {
			name, client := fmt.Sprint("n", op&3), netip.AddrFrom4([4]byte{192, 0, 2, op >> 2 & 3})
			a, wait, ok := th.begin(name, client, op&16 != 0, at)
			switch {
			case wait < 0 || wait > longestWait || !ok && wait != 0:
				t.Fatalf("wait %v, %v", wait, ok)
			case !ok:
				at = at.Add(time.Minute)
				continue
			}
			at = at.Add(wait)
			if op&32 != 0 {
				th.succeeded(a, at)
				if _, wait, ok := th.begin(name, client, false, at); !ok || wait > 0 {
					t.Fatalf("after a login: wait %v, %v", wait, ok)
				}
			} else {
				th.failed(a, at)
			}
			at = at.Add(time.Duration(op>>6) * time.Second)
		}
	})
}
