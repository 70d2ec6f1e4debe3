//go:build !race

package text

import (
	"net/netip"
	"reflect"
	"testing"
)

// What is known of a chain before all of it is read is what the whole says.
func TestNearestRelays(t *testing.T) {
	external := MustSelector("X-Postern-External-Relay")
	networks := NetworksOf(netip.MustParsePrefix("0.0.0.0/2"), netip.MustParsePrefix("193.0.0.0/8"), netip.MustParsePrefix("212.0.0.0/8"))
	hop := Client{Addr: netip.MustParseAddr("192.0.2.7"), Helo: "mx.example", By: "in.example.net"}
	later := 0
	for _, o := range []Options{{}, {Client: hop}, {Trusted: networks}, {Trusted: networks, Internal: networks[:1], MSA: networks[1:2]}} {
		for _, name := range archives {
			for _, s := range corpus(t, name, 25) {
				first, last := newMessage(s.content, o, &known{}), newMessage(s.content, o, &known{})
				near := first.near()
				all := last.Relays()
				if !reflect.DeepEqual(near.Trusted, all.Trusted) || !reflect.DeepEqual(near.Internal, all.Internal) ||
					len(near.Untrusted) != min(len(all.Untrusted), 1) || near.lastTrusted != all.lastTrusted || near.lastInternal != all.lastInternal {
					t.Errorf("%s: %+v, of %+v", s.name, near, all)
				}
				want := ""
				if len(all.External) > 0 {
					want = all.External[0].String()
				}
				if got, ok := first.Header(external); string(got) != want || !ok {
					t.Errorf("%s: %q %t, not %q", s.name, got, ok, want)
				}
				if len(near.Untrusted) > 0 && near.Untrusted[0] != all.Untrusted[0] {
					t.Errorf("%s: %+v, not %+v", s.name, near.Untrusted[0], all.Untrusted[0])
				}
				if again := first.Relays(); !reflect.DeepEqual(again, all) {
					t.Errorf("%s: %+v, not %+v", s.name, again, all)
				}
				if near != first.near() || len(near.Untrusted) > 1 {
					t.Errorf("%s: what is near has changed", s.name)
				}
				if len(all.Untrusted) > 1 {
					later++
				}
			}
		}
	}
	if later < 100 {
		t.Errorf("only %d chains go on", later)
	}
}
