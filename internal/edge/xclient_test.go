package edge

import (
	"net/netip"
	"strings"
	"testing"
)

// TestXclientGivesNoRight: what the host in front may do, its clients may not; and each of them has limits of his own.
func TestXclientGivesNoRight(t *testing.T) {
	d := relayDoor(t, nil, func(d *door, cfg *ListenerConfig) {
		cfg.Relay.Networks, cfg.Fronts = loopback, loopback
		cfg.Limits.Rate = 1
	})
	c := begin(t, d)
	c.steps(oneOutward)
	c.steps(`C: XCLIENT ADDR=192.0.2.7 LOGIN=boss
		S: 220
		C: EHLO client.example
		S: 250
		C: MAIL FROM:<a@ours.example>
		S: 250
		C: RCPT TO:<b@foreign.example>
		S: 554 5\.7\.1
		C: RSET
		S: 250`)
	for range 50 {
		c.steps("C: XCLIENT ADDR=192.0.2.7")
		if strings.HasPrefix(c.reply(), "421 4.7.0") {
			c.steps("EOF:")
			return
		}
	}
	t.Error("one client may come as often as he likes")
}

func TestSpokenFor(t *testing.T) {
	at := netip.MustParseAddrPort
	client, local := at("10.0.0.1:1"), at("10.0.0.2:25")
	for arg, want := range map[string][2]netip.AddrPort{
		"ADDR=192.0.2.1":                               {at("192.0.2.1:1"), local},
		"addr=::ffff:192.0.2.1 port=7":                 {at("192.0.2.1:7"), local},
		"ADDR=IPv6:2001:db8::1":                        {at("[2001:db8::1]:1"), local},
		"DESTADDR=192.0.2.9 DESTPORT=587":              {client, at("192.0.2.9:587")},
		"ADDR=[UNAVAILABLE] NAME=[TEMPUNAVAIL]":        {client, local},
		"NAME=a+3Db.example HELO=x PROTO=SMTP LOGIN=u": {client, local},
	} {
		c, l, _, ok := spokenFor(arg, client, local)
		if !ok || c != want[0] || l != want[1] {
			t.Errorf("%s: %v, %v, %v", arg, c, l, ok)
		}
	}
	for _, arg := range []string{"", "ADDR", "ADDR=", "ADDR=x", "ADDR=192.0.2.1%eth0 x", "PORT=-1", "PORT=65536", "OTHER=1", "ADDR=192.0.2.1+0"} {
		if c, _, _, ok := spokenFor(arg, client, local); ok {
			t.Errorf("%q was taken: %v", arg, c)
		}
	}
}
