package upstream

import (
	"math/bits"
	"net/netip"
	"strings"
	"testing"

	"github.com/postern-mail/postern/mail"
)

// FuzzXForward: whatever a client calls itself, the commands are lines of printable ASCII, no longer than a command may
// be, with each attribute once.
func FuzzXForward(f *testing.F) {
	f.Add("client.x.test", "mx.x.test", "ID", uint8(0x7f))
	f.Add("a+b=c\r\nMAIL FROM:<>", "x\r\ny", "", uint8(0x7f))
	f.Add(strings.Repeat("+", 85), strings.Repeat("n.", 120)+"n", strings.Repeat("i", 255), uint8(0x7f))
	f.Add("größe\x00\xff", "1.2.3.4", "x y", uint8(0x13))
	f.Add("", "", "", uint8(0))
	f.Fuzz(func(t *testing.T, helo, name, id string, set uint8) {
		c := &mail.Client{Addr: netip.MustParseAddrPort("[2001:db8::1%eth0]:25"), Name: name, Helo: helo}
		buf, n := appendXForward([]byte("BEFORE\r\n"), attributes(set), c, id)
		lines := strings.Split(string(buf), "\r\n")[1:]
		if len(lines) != n+1 || lines[n] != "" {
			t.Fatalf("%d commands: %q", n, buf)
		}
		seen := attributes(0)
		for _, line := range lines[:n] {
			words := strings.Split(line, " ")
			if len(line) > maxCommand || words[0] != "XFORWARD" || len(words) < 2 || strings.Trim(line, printableASCII()) != "" {
				t.Fatalf("%q", line)
			}
			for _, w := range words[1:] {
				key, value, _ := strings.Cut(w, "=")
				one := parseAttributes(key, attributeNames[:])
				if value == "" || len(value) > maxAttribute || strings.Contains(value, "=") || one == 0 || seen&one != 0 {
					t.Fatalf("%q in %q", w, line)
				}
				seen |= one
			}
		}
		if seen != attributes(set)&0x7f {
			t.Fatalf("%b said of %b", seen, set)
		}
	})
}

// FuzzXClient: as FuzzXForward; the login and the address are in the last command.
func FuzzXClient(f *testing.F) {
	f.Add("client.x.test", "mx.x.test", "bob", uint16(0x1ff))
	f.Add("a+b=c\r\nMAIL FROM:<>", "x\r\ny", "b\x00b", uint16(0x1ff))
	f.Add(strings.Repeat("+", 85), strings.Repeat("n.", 120)+"n", strings.Repeat("l", 255), uint16(0x1ff))
	f.Add("größe\x00\xff", "1.2.3.4", "", uint16(0x0d3))
	f.Add("", "", "", uint16(0))
	f.Fuzz(func(t *testing.T, helo, name, login string, set uint16) {
		c := &mail.Client{Addr: netip.MustParseAddrPort("[2001:db8::1%eth0]:25"), Name: name, Reverse: name, Helo: helo, Login: login}
		buf, n := appendXClient([]byte("BEFORE\r\n"), attributes(set), c)
		lines := strings.Split(string(buf), "\r\n")[1:]
		if len(lines) != n+1 || lines[n] != "" {
			t.Fatalf("%d commands: %q", n, buf)
		}
		if last := set >> inLast & 7; n > 0 && last != 0 && bits.OnesCount16(last) != strings.Count(lines[n-1], " LOGIN=")+strings.Count(lines[n-1], " ADDR=")+strings.Count(lines[n-1], " PORT=") {
			t.Fatalf("apart: %q", lines)
		}
		seen := attributes(0)
		for _, line := range lines[:n] {
			words := strings.Split(line, " ")
			if len(line) > maxCommand || words[0] != "XCLIENT" || len(words) < 2 || strings.Trim(line, printableASCII()) != "" {
				t.Fatalf("%q", line)
			}
			for _, w := range words[1:] {
				key, value, _ := strings.Cut(w, "=")
				one := parseAttributes(key, xclientNames[:])
				if value == "" || len(value) > maxAttribute || strings.Contains(value, "=") || one == 0 || seen&one != 0 {
					t.Fatalf("%q in %q", w, line)
				}
				seen |= one
			}
		}
		if seen != attributes(set)&0x1ff {
			t.Fatalf("%b said of %b", seen, set)
		}
		if h := helloOf(c); strings.Trim(h, printableASCII()) != "" || strings.Contains(h, " ") || len(h) > maxAttribute {
			t.Fatalf("EHLO %q", h)
		}
	})
}

// TestProxyHeader writes headers as the specification of the PROXY protocol has them.
func TestProxyHeader(t *testing.T) {
	const v4, v6 = "192.0.2.1:4711", "[2001:db8::1%eth0]:4711"
	for name, c := range map[string]struct{ from, to, want string }{
		"IPv4":        {v4, "192.0.2.25:25", "\x21\x11\x00\x0c\xc0\x00\x02\x01\xc0\x00\x02\x19\x12\x67\x00\x19"},
		"mapped":      {"[::ffff:192.0.2.1]:4711", "[::ffff:192.0.2.25]:25", "\x21\x11\x00\x0c\xc0\x00\x02\x01\xc0\x00\x02\x19\x12\x67\x00\x19"},
		"IPv4 to v6":  {v4, "[2001:db8::2]:25", "\x21\x11\x00\x0c\xc0\x00\x02\x01\x00\x00\x00\x00\x12\x67\x00\x19"},
		"IPv4 to any": {v4, "", "\x21\x11\x00\x0c\xc0\x00\x02\x01\x00\x00\x00\x00\x12\x67\x00\x00"},
		"IPv6": {v6, "[2001:db8::2]:25", "\x21\x21\x00\x24\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01" +
			"\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x12\x67\x00\x19"},
		"unknown": {"", "192.0.2.25:25", "\x20\x00\x00\x00"},
	} {
		t.Run(name, func(t *testing.T) {
			client := &mail.Client{}
			client.Addr, _ = netip.ParseAddrPort(c.from)
			client.Server, _ = netip.ParseAddrPort(c.to)
			if got, want := string(proxyHeader(client)), "\r\n\r\n\x00\r\nQUIT\n"+c.want; got != want {
				t.Errorf("got  %x\nwant %x", got, want)
			}
		})
	}
	if got := string(proxyHeader(nil)); !strings.HasSuffix(got, "QUIT\n\x20\x00\x00\x00") {
		t.Errorf("of nobody: %x", got)
	}
}

func printableASCII() string {
	var b strings.Builder
	for c := byte(' '); c <= '~'; c++ {
		b.WriteByte(c)
	}
	return b.String()
}
