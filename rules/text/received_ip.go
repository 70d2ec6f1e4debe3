package text

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
)

// matchIP gives the end of an IP address that stands at at, -1 where there is none: IPv4, IPv6, or the two mixed, with or
// without "IPv6:" before it. No digit of another number, and of IPv6 no colon, may stand before or behind it.
func matchIP(b []byte, at int) int {
	if at >= len(b) {
		return -1
	}
	if isDigit(b[at]) && (at == 0 || !isWordOctet(b[at-1]) && b[at-1] != ':') {
		if end := matchIPv4(b, at); end >= 0 && (end == len(b) || !isWordOctet(b[end])) {
			return end
		}
	}
	start := at
	if len(b)-at > 5 && bytes.EqualFold(b[at:at+5], []byte("IPv6:")) {
		start = at + 5
	} else if !isHexColon(b[at]) || at > 0 && isHexColon(b[at-1]) {
		return -1
	}
	return matchIPv6(b, start)
}

func isHexColon(c byte) bool { return c == ':' || hexValue(c) >= 0 }

// matchIPv4 gives the end of four numbers up to 255 without leading zeros.
func matchIPv4(b []byte, at int) int {
	for i := range 4 {
		if i > 0 {
			if at >= len(b) || b[at] != '.' {
				return -1
			}
			at++
		}
		n, v := 0, 0
		for at+n < len(b) && n < 3 && isDigit(b[at+n]) {
			v = v*10 + int(b[at+n]-'0')
			n++
		}
		if n == 0 || v > 255 || n > 1 && b[at] == '0' {
			return -1
		}
		if at += n; at < len(b) && isDigit(b[at]) {
			return -1
		}
	}
	return at
}

// matchIPv6 gives the end of an IPv6 address, which may end in an IPv4 one.
func matchIPv6(b []byte, at int) int {
	var (
		groups int
		gap    bool // there was "::"
		i      = at
	)
	if bytes.HasPrefix(b[i:], []byte("::")) {
		gap, i = true, i+2
	} else if i < len(b) && b[i] == ':' {
		return -1
	}
	for {
		if end := matchIPv4(b, i); end >= 0 && i > at && (end == len(b) || !isHexColon(b[end])) {
			if gap && groups <= 5 || !gap && groups == 6 {
				return end
			}
			return -1
		}
		n := 0
		for i+n < len(b) && n < 5 && hexValue(b[i+n]) >= 0 {
			n++
		}
		if n > 4 {
			return -1
		}
		if n == 0 {
			break
		}
		groups++
		i += n
		if i >= len(b) || b[i] != ':' {
			break
		}
		if i+1 < len(b) && b[i+1] == ':' {
			if gap {
				return -1
			}
			gap, i = true, i+2
			continue
		}
		if i+1 >= len(b) || hexValue(b[i+1]) < 0 {
			return -1
		}
		i++
	}
	if i < len(b) && isHexColon(b[i]) || gap && groups > 7 || !gap && groups != 8 {
		return -1
	}
	return i
}

// findIP finds the first address in b that stands by itself: no letter, digit or dot next to it.
func findIP(b []byte) []byte {
	for at := range b {
		if at > 0 && b[at-1] == '.' || !atBoundary(b, at) {
			continue
		}
		if end := matchIP(b, at); end >= 0 && atBoundary(b, end) && (end == len(b) || b[end] != '.') {
			return b[at:end:end]
		}
	}
	return nil
}

// anyIP finds the first address in b.
func anyIP(b []byte) []byte {
	for at := range b {
		if !isHexColon(b[at]) && lower(b[at]) != 'i' {
			continue
		}
		if end := matchIP(b, at); end >= 0 {
			return b[at:end:end]
		}
	}
	return nil
}

// reverseIP gives the labels of an address in the order of in-addr.arpa or ip6.arpa (RFC 5782 2.1, 2.4), nil if it is none.
func reverseIP(ip []byte) []byte {
	a, err := netip.ParseAddr(string(ip))
	if err != nil || a.Zone() != "" {
		return nil
	}
	var out []byte
	if a.Is4() {
		o := a.As4()
		for i := 3; i >= 0; i-- {
			out = strconv.AppendInt(out, int64(o[i]), 10)
			out = append(out, '.')
		}
		return out[:len(out)-1]
	}
	const hex = "0123456789abcdef"
	o := a.As16()
	for i := 15; i >= 0; i-- {
		out = append(out, hex[o[i]&15], '.', hex[o[i]>>4], '.')
	}
	return out[:len(out)-1]
}

// privateNetworks are those whose addresses are used inside organisations.
var privateNetworks = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("::1/128"),
}

// IsPrivate reports whether an address is one that is used inside organisations only: RFC 1918, RFC 6598, loopback and
// link-local ones. Unique local addresses (RFC 4193) are not among them, as in SpamAssassin.
func IsPrivate(ip netip.Addr) bool {
	ip = ip.Unmap()
	for _, n := range privateNetworks {
		if n.Contains(ip) {
			return true
		}
	}
	return false
}

func isLoopback(ip []byte) bool {
	if len(ip) > 5 && lower(ip[0]) == 'i' {
		ip = ip[5:]
	}
	a, err := netip.ParseAddr(string(ip))
	return err == nil && (a.Unmap() == netip.AddrFrom4([4]byte{127, 0, 0, 1}) || a == netip.IPv6Loopback())
}

// Reversed gives the name that a list has an address under: its octets from the last to the first (RFC 5782 2.1), of
// IPv6 its nibbles (2.4).
func Reversed(a netip.Addr) string {
	if a.Is4() {
		b := a.As4()
		return fmt.Sprintf("%d.%d.%d.%d", b[3], b[2], b[1], b[0])
	}
	const hex = "0123456789abcdef"
	octets := a.As16()
	b := make([]byte, 0, 64)
	for _, o := range slices.Backward(octets[:]) {
		b = append(b, hex[o&15], '.', hex[o>>4], '.')
	}
	return string(b[:len(b)-1])
}
