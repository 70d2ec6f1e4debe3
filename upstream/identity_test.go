package upstream

import (
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
				one := parseAttributes(key)
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

func printableASCII() string {
	var b strings.Builder
	for c := byte(' '); c <= '~'; c++ {
		b.WriteByte(c)
	}
	return b.String()
}
