package edge

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/internal/users"
	"github.com/postern-mail/postern/pipeline"
)

// relayDoor is a door with a way to everywhere, which ends in d.second.
func relayDoor(t *testing.T, filters []string, change func(*door, *ListenerConfig)) *door {
	return newDoor(t, filters, func(d *door, cfg *ListenerConfig) {
		d.gw.Router = outward(t)
		if change != nil {
			change(d, cfg)
		}
	})
}

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

const oneOutward = `
	C: MAIL FROM:<a@ours.example>
	S: 250
	C: RCPT TO:<b@foreign.example>
	S: 250
	C: DATA
	S: 354
	raw: "From: a@ours.example\r\n\r\nx\r\n.\r\n"
	S: 250 2\.0\.0 Ok: queued`

// waysOut are recipients that would leave the site, in every form that some server reads so.
var waysOut = []string{
	"<x@foreign.example>", "<X@FOREIGN.EXAMPLE>", "<x@foreign.example.>", "x@foreign.example",
	"<@ours.example:x@foreign.example>", "<@ours.example,@foreign.example:x@foreign.example>", "<@foreign.example:x@foreign.example>",
	"<x%foreign.example@ours.example>", "<x%foreign.example%ours.example@ours.example>", "<foreign.example!x@ours.example>",
	"<ours.example!foreign.example!x@ours.example>", "<@ours.example:x%foreign.example@ours.example>",
	`<"x@foreign.example"@ours.example>`, `<"x@foreign.example> "@ours.example>`, `<"x%foreign.example"@ours.example>`,
	`<"x\@foreign.example"@ours.example>`, `<"foreign.example!x"@ours.example>`, `<"x@foreign.example"@file.example>`,
	"<x%foreign.example@file.example>", "<x@ours.example@foreign.example>", "<x@foreign.example@ours.example>",
	"<x@ours.example.foreign.example>", "<x@notours.example>", "<x@mx.example.org>", "<x@localhost>",
	"<x@[192.0.2.1]>", "<x@[127.0.0.1]>", "<x@[IPv6:2001:db8::1]>", "<x@[IPv6:::1]>",
	"<postmaster@foreign.example>", "<abuse@foreign.example>", "<postmaster%foreign.example@ours.example>",
	"<abuse%foreign.example@ours.example>", `<"postmaster@foreign.example"@ours.example>`, "<postmaster%foreign.example>",
	"<x@*>", "<*@*>", "<*>", "<x>", "<x@>", "<>", "<x%foreign.example>",
	"<x@foreign.example> ORCPT=rfc822;x@ours.example", "<x@foreign.example\x00@ours.example>", "<x@ours.example\r@foreign.example>",
}

// Nobody relays who may not, whatever he calls the recipient, and whatever else he is let off.
func TestNoOpenRelay(t *testing.T) {
	for name, change := range map[string]func(*door, *ListenerConfig){
		"plain": nil,
		"exempt networks, no others may relay": func(d *door, cfg *ListenerConfig) {
			d.gw.ExemptNetworks = loopback
			cfg.Relay.Networks = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")}
		},
		"observe": func(d *door, _ *ListenerConfig) { d.gw.Observe = true },
	} {
		t.Run(name, func(t *testing.T) {
			d := relayDoor(t, nil, func(d *door, cfg *ListenerConfig) {
				cfg.Limits.Errors = 1000
				if change != nil {
					change(d, cfg)
				}
			})
			c := begin(t, d)
			c.steps("C: MAIL FROM:<a@ours.example>\nS: 250")
			for _, to := range waysOut {
				c.where = to
				c.send("RCPT TO:" + to + "\r\n")
				if r := c.reply(); r[0] != '5' && r[0] != '4' {
					c.fatal("taken: %s", r)
				}
			}
			c.steps("C: DATA\nS: 503")
			// What one reply said must not open the way for the next: from here on to ours, and nothing went out.
			c.steps("C: RCPT TO:<b@ours.example>\nS: 250\nC: RCPT TO:<x@foreign.example>\nS: 554 5\\.7\\.1")
			c.steps("C: DATA\nS: 354\nraw: \"\\r\\nx\\r\\n.\\r\\n\"\nS: 250")
			if n := len(d.second.all()); n != 0 {
				t.Errorf("%d went out", n)
			}
			for _, m := range d.relay.all() {
				if len(m.env.To) != 1 || m.env.To[0].String() != "b@ours.example" {
					t.Errorf("delivered to %v", m.env.To)
				}
			}
		})
	}
}

// Who may relay goes out by the route "*", as he is; RSET, EHLO, another message do not change that.
func TestRelayByNetwork(t *testing.T) {
	d := relayDoor(t, nil, func(_ *door, cfg *ListenerConfig) { cfg.Relay.Networks = loopback })
	c := begin(t, d)
	c.steps(oneOutward)
	c.steps("C: RSET\nS: 250" + oneOutward + "\nC: EHLO again.example\nS: 250" + oneOutward)
	c.steps("C: STARTTLS\nS: 220\nstarttls:\nC: EHLO again.example\nS: 250" + oneOutward)
	got := d.second.all()
	if len(got) != 4 || got[0].env.To[0].String() != "b@foreign.example" {
		t.Fatalf("went out: %+v", got)
	}
	// RFC 3848: without AUTH there is no A.
	if !strings.Contains(got[0].content, " with ESMTP id ") || !strings.Contains(got[3].content, " with ESMTPS id ") {
		t.Errorf("%s\n%s", got[0].content, got[3].content)
	}
	// Elsewhere a local part may mean what it likes, and leaves as it came.
	c.steps(`C: MAIL FROM:<>
		S: 250
		C: RCPT TO:<"a b"@foreign.example>
		S: 250
		C: RCPT TO:<x%y@foreign.example>
		S: 250
		C: RCPT TO:<x%foreign.example@ours.example>
		S: 550
		C: DATA
		S: 354
		raw: "From: a@ours.example\r\n\r\nx\r\n.\r\n"
		S: 250`)
	if got := d.second.all()[4].env.To; len(got) != 2 || got[0].String() != `"a b"@foreign.example` || got[1].String() != "x%y@foreign.example" {
		t.Errorf("to %v", got)
	}
}

// An IPv6 socket shows IPv4 clients in another form, which must neither open nor close anything.
func TestRelayMappedAddresses(t *testing.T) {
	mapped := &net.TCPAddr{IP: net.ParseIP("::ffff:192.0.2.1"), Port: 25}
	if len(mapped.IP) != net.IPv6len {
		t.Fatal("not the form that an IPv6 socket shows")
	}
	for network, may := range map[string]bool{
		"192.0.2.0/24": true, "192.0.2.1/32": true, "::/16": false, "::ffff:0:0/96": false, "::1/128": false, "198.51.100.0/24": false,
	} {
		r := Relay{Networks: []netip.Prefix{netip.MustParsePrefix(network)}}
		if got := r.allows(addrPort(mapped).Addr(), nil); got != may {
			t.Errorf("%s: may relay: %v", network, got)
		}
	}
	scoped := &net.TCPAddr{IP: net.ParseIP("fe80::1"), Zone: "eth0", Port: 25}
	if r := (Relay{Networks: []netip.Prefix{netip.MustParsePrefix("fe80::/64")}}); !r.allows(addrPort(scoped).Addr(), nil) {
		t.Error("a link-local client with a zone")
	}
	if r := (Relay{Networks: loopback}); r.allows(addrPort(&net.UnixAddr{Name: "x"}).Addr(), nil) {
		t.Error("a client without an address may relay")
	}
}

// What connect, helo and mail hold back does not count for clients that may relay; nor what the first two say at all.
func TestRelayDropsHeld(t *testing.T) {
	for _, f := range []string{
		"connect propose reject hold", "helo propose reject hold", "mail propose reject hold",
		"connect propose reject", "helo propose defer", "connect error", "helo panic", "helo score BAD 20",
	} {
		t.Run(f, func(t *testing.T) {
			d := relayDoor(t, []string{f}, func(_ *door, cfg *ListenerConfig) { cfg.Relay.Networks = loopback })
			begin(t, d).steps(oneOutward)
			if strings.HasSuffix(f, "panic") {
				return
			}
			d = relayDoor(t, []string{f}, nil)
			c := dialDoor(t, d)
			defer c.close()
			c.steps("S: 220\nC: EHLO client.example")
			if c.reply()[0] == '2' {
				c.steps("C: MAIL FROM:<a@sender.example>\nS: 250\nC: RCPT TO:<b@ours.example>\nS: [45]")
			}
		})
	}
	// What is not held counts for everybody.
	for _, f := range []string{"mail propose reject", "rcpt propose reject", "mail error"} {
		t.Run(f, func(t *testing.T) {
			d := relayDoor(t, []string{f}, func(_ *door, cfg *ListenerConfig) { cfg.Relay.Networks = loopback })
			c := begin(t, d)
			c.steps("C: MAIL FROM:<a@sender.example>")
			if c.reply()[0] == '2' {
				c.steps("C: RCPT TO:<b@foreign.example>\nS: [45]")
			}
		})
	}
}

// named makes a client's certificate for some names.
func (a *authority) named(t *testing.T, names ...string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: names, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// asking makes the listener ask for client certificates, of an authority if it is not nil.
func asking(t *testing.T, cfg *ListenerConfig, a *authority) {
	c := serverTLS(t)().Clone()
	c.ClientAuth = tls.RequestClientCert
	if a != nil {
		c.ClientCAs = a.pool()
	}
	cfg.TLS = func() *tls.Config { return c }
}

// tlsWith makes the handshake with a certificate of the client's.
func (c *client) tlsWith(certs ...tls.Certificate) {
	tc := tls.Client(c.conn, &tls.Config{InsecureSkipVerify: true, Certificates: certs}) //nolint:gosec // our own certificate
	if err := tc.HandshakeContext(context.Background()); err != nil {
		c.fatal("handshake: %v", err)
	}
	c.conn = tc
	c.r.Reset(tc)
}

func TestRelayByCertificate(t *testing.T) {
	ours, others := newAuthority(t, "ours"), newAuthority(t, "others")
	app, printer, stranger := ours.named(t, "app.ours.example"), ours.named(t, "p1.printers.ours.example"), others.named(t, "app.ours.example")
	sum := sha256.Sum256(stranger.Certificate[0])
	leaf, err := x509.ParseCertificate(stranger.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	keySum := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	for _, tt := range []struct {
		name, allowed string
		show          []tls.Certificate
		may           bool
	}{
		{"by name", "app.ours.example", []tls.Certificate{app}, true},
		{"another name", "app.ours.example", []tls.Certificate{printer}, false},
		{"below a name", "*.printers.ours.example", []tls.Certificate{printer}, true},
		{"no certificate", "app.ours.example", nil, false},
		{"by the certificate", "sha256:" + hex.EncodeToString(sum[:]), []tls.Certificate{stranger}, true},
		{"another certificate", "sha256:" + hex.EncodeToString(sum[:]), []tls.Certificate{app}, false},
		{"by its key", "key-sha256:" + hex.EncodeToString(keySum[:]), []tls.Certificate{stranger}, true},
		{"another key", "key-sha256:" + hex.EncodeToString(keySum[:]), []tls.Certificate{printer}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := relayDoor(t, nil, func(_ *door, cfg *ListenerConfig) {
				one, err := users.ParseCertificate(tt.allowed)
				if err != nil {
					t.Fatal(err)
				}
				cfg.Relay.Certificates = []users.Certificate{one}
				if asking(t, cfg, nil); one.Named() {
					asking(t, cfg, ours)
				}
			})
			c := begin(t, d)
			c.steps("C: MAIL FROM:<a@ours.example>\nS: 250\nC: RCPT TO:<b@foreign.example>\nS: 554\nC: RSET\nS: 250")
			c.steps("C: STARTTLS\nS: 220")
			c.tlsWith(tt.show...)
			c.steps("C: EHLO client.example\nS: 250")
			if tt.may {
				c.steps(oneOutward)
			} else {
				c.steps("C: MAIL FROM:<a@ours.example>\nS: 250\nC: RCPT TO:<b@foreign.example>\nS: 554")
			}
		})
	}
	t.Run("a name that nobody has verified", func(t *testing.T) {
		d := relayDoor(t, nil, func(_ *door, cfg *ListenerConfig) {
			one, _ := users.ParseCertificate("app.ours.example")
			cfg.Relay.Certificates = []users.Certificate{one}
			asking(t, cfg, nil)
		})
		c := begin(t, d)
		c.steps("C: STARTTLS\nS: 220")
		c.tlsWith(stranger)
		c.steps("C: EHLO client.example\nS: 250\nC: MAIL FROM:<a@ours.example>\nS: 250\nC: RCPT TO:<b@foreign.example>\nS: 554")
	})
}

// Filters learn of the right in every phase, from the first on.
func TestFiltersKnowWhoMayRelay(t *testing.T) {
	for _, may := range []bool{false, true} {
		told := map[filter.Phase]bool{}
		d := relayDoor(t, nil, func(d *door, cfg *ListenerConfig) {
			plan, err := pipeline.Compile([]pipeline.Stage{{
				Spec: filter.Spec{Name: "s", Phases: filter.In(filter.AllPhases()...)},
				Filter: filter.Func(func(_ context.Context, in *filter.Input) (filter.Result, error) {
					p := filter.Connect
					switch {
					case in.Content != nil:
						p = filter.Data
					case in.Recipient != nil:
						p = filter.Rcpt
					case in.Transaction != nil:
						p = filter.Mail
					}
					told[p] = in.Session.Relay
					return filter.Result{}, nil
				}),
			}})
			if err != nil {
				t.Fatal(err)
			}
			d.gw.Plan, d.gw.Policies["default"].Plan = plan, plan
			if may {
				cfg.Relay.Networks = loopback
			}
		})
		begin(t, d).steps(oneMessage)
		for p, r := range told {
			if r != may {
				t.Errorf("%s: %v, want %v", p, r, may)
			}
		}
		if len(told) != 4 {
			t.Errorf("told %v", told)
		}
	}
}

// A partner with a certificate has to show it, and not only TLS.
func TestPartnerWithCertificate(t *testing.T) {
	ours, others := newAuthority(t, "ours"), newAuthority(t, "others")
	for _, tt := range []struct {
		name, reply string
		show        []tls.Certificate
	}{
		{"its own", "250", []tls.Certificate{ours.named(t, "mx.partner.example")}},
		{"another name", "550 5\\.7\\.1", []tls.Certificate{ours.named(t, "mx.other.example")}},
		{"another authority", "550 5\\.7\\.1", []tls.Certificate{others.named(t, "mx.partner.example")}},
		{"none", "550 5\\.7\\.1", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDoor(t, nil, func(d *door, cfg *ListenerConfig) {
				one, err := users.ParseCertificate("mx.partner.example")
				if err != nil {
					t.Fatal(err)
				}
				d.gw.Partners = []Partner{{Domain: "partner.example", Certificate: &one}}
				asking(t, cfg, ours)
			})
			c := begin(t, d)
			c.steps("C: MAIL FROM:<a@partner.example>\nS: 530 5\\.7\\.0\nC: STARTTLS\nS: 220")
			c.tlsWith(tt.show...)
			c.steps("C: EHLO client.example\nS: 250\nC: MAIL FROM:<a@partner.example>\nS: " + tt.reply)
			if d.metrics.rejects["mail 530 tls"] != 1 {
				t.Errorf("rejects %v", d.metrics.rejects)
			}
		})
	}
}
