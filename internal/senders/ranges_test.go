package senders

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func (s set) String() string {
	var all []string
	for _, x := range s {
		all = append(all, x.lo.String()+"-"+x.hi.String())
	}
	return strings.Join(all, " ")
}

func setOf(prefixes ...string) (all set) {
	for _, p := range prefixes {
		all = union(all, set{spanOf(netip.MustParsePrefix(p))})
	}
	return all
}

func TestSets(t *testing.T) {
	for _, c := range []struct{ name, got, want string }{
		{"one network", setOf("192.0.2.7/24").String(), "192.0.2.0-192.0.2.255"},
		{"one address", setOf("192.0.2.7/32").String(), "192.0.2.7-192.0.2.7"},
		{"IPv6", setOf("2001:db8::/29").String(), "2001:db8::-2001:dbf:ffff:ffff:ffff:ffff:ffff:ffff"},
		{"neighbours are one", setOf("192.0.2.128/25", "192.0.2.0/25").String(), "192.0.2.0-192.0.2.255"},
		{"within", setOf("192.0.2.0/24", "192.0.2.64/26").String(), "192.0.2.0-192.0.2.255"},
		{"apart, in order", setOf("198.51.100.0/24", "2001:db8::/32", "192.0.2.0/24").String(), "192.0.2.0-192.0.2.255 198.51.100.0-198.51.100.255 2001:db8::-2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"},
		{"the families do not touch", setOf("255.255.255.255/32", "::/128").String(), "255.255.255.255-255.255.255.255 ::-::"},
		{"both ends", setOf("0.0.0.0/1", "128.0.0.0/1").String(), "0.0.0.0-255.255.255.255"},
		{"minus the middle", minus(setOf("192.0.2.0/24"), setOf("192.0.2.64/26")).String(), "192.0.2.0-192.0.2.63 192.0.2.128-192.0.2.255"},
		{"minus both ends", minus(setOf("192.0.2.0/24"), setOf("192.0.2.0/32", "192.0.2.255/32")).String(), "192.0.2.1-192.0.2.254"},
		{"minus all", minus(setOf("0.0.0.0/0", "::/0"), setOf("0.0.0.0/0", "::/0")).String(), ""},
		{"minus nothing", minus(setOf("192.0.2.0/24"), nil).String(), "192.0.2.0-192.0.2.255"},
	} {
		if c.got != c.want {
			t.Errorf("%s: %s, want %s", c.name, c.got, c.want)
		}
	}
}

// TestSetsAreSets: on a few addresses of both families, sets do what sets of single addresses do.
func TestSetsAreSets(t *testing.T) {
	var universe []netip.Addr
	for i := range 32 {
		universe = append(universe, netip.AddrFrom4([4]byte{255, 255, 255, byte(224 + i)}), netip.AddrFrom16([16]byte{15: byte(i)}))
	}
	draw := rapid.Custom(func(t *rapid.T) []netip.Prefix {
		var all []netip.Prefix
		for range rapid.IntRange(0, 6).Draw(t, "n") {
			a := rapid.SampledFrom(universe).Draw(t, "address")
			all = append(all, netip.PrefixFrom(a, a.BitLen()-rapid.IntRange(0, 5).Draw(t, "bits")))
		}
		return all
	})
	holds := func(all []netip.Prefix, a netip.Addr) bool {
		for _, p := range all {
			if p.Contains(a) {
				return true
			}
		}
		return false
	}
	made := func(all []netip.Prefix) (s set) {
		for _, p := range all {
			s = union(s, set{spanOf(p)})
		}
		return s
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := draw.Draw(t, "a"), draw.Draw(t, "b")
		x := newIndex([]string{"a", "b", "both", "a without b"}, []set{made(a), made(b)})
		sets := map[string]*index{
			"union": newIndex([]string{"x"}, []set{union(made(a), made(b))}),
			"minus": newIndex([]string{"x"}, []set{minus(made(a), made(b))}),
		}
		for name, i := range sets {
			for k := 1; k < len(i.spans); k++ {
				if meets(i.spans[k-1], i.spans[k]) {
					t.Fatalf("%s: %s", name, set(i.spans))
				}
			}
		}
		for _, addr := range universe {
			inA, inB := holds(a, addr), holds(b, addr)
			want := ""
			if inB {
				want = "b"
			}
			if inA {
				want = "a"
			}
			if got := x.of(addr); got != want {
				t.Fatalf("%s is of %q, want %q", addr, got, want)
			}
			if got := sets["union"].of(addr) != ""; got != (inA || inB) {
				t.Fatalf("%s in the union: %v", addr, got)
			}
			if got := sets["minus"].of(addr) != ""; got != (inA && !inB) {
				t.Fatalf("%s in the difference: %v", addr, got)
			}
		}
	})
}

func BenchmarkOf(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		var s set
		for i := range n {
			s = append(s, spanOf(netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(1 + i>>12), byte(i >> 4), byte(i << 4), 0}), 21)))
		}
		x := newIndex([]string{"a"}, []set{union(nil, s)})
		b.Run(fmt.Sprint(len(x.spans)), func(b *testing.B) {
			b.ReportAllocs()
			a := netip.MustParseAddr("3.17.32.7")
			for b.Loop() {
				x.of(a)
			}
		})
	}
}
