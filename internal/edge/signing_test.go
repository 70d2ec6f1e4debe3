package edge

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/upstream"
)

// fakeSigner remembers what it was to sign.
type fakeSigner struct {
	top, note string
	err       error
	saw       string
	relay     bool
}

func (f *fakeSigner) Sign(_ context.Context, in *filter.Input, m *mail.Message) ([]byte, string, error) {
	if f.top == "panic" {
		panic("signer is broken")
	}
	b, err := io.ReadAll(m.Open())
	f.saw, f.relay = string(b), in.Session.Relay
	return []byte(f.top), f.note, errors.Join(err, f.err)
}

// relaying makes the listener one whose clients may relay.
func relaying(cfg *ListenerConfig) {
	cfg.relay = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
}

// What is signed is what leaves, with every other change made, and the signatures stand above everything.
func TestSignaturesStandOnTop(t *testing.T) {
	for _, relay := range []bool{false, true} {
		signer := &fakeSigner{top: "X-Sig: 1\r\n", note: "dkim ours.example/s1"}
		d := newDoor(t, []string{"data score CHECKED 1", "data strip 0"}, func(d *door, cfg *ListenerConfig) {
			d.gw.Signer = signer
			if relay {
				relaying(cfg)
			}
		})
		c := begin(t, d)
		c.steps(oneMessage)
		c.steps("log: \"msg\":\"delivery\".*\"signed\":\"dkim ours.example/s1\"")
		got := d.relay.all()
		if len(got) != 1 || got[0].content != signer.top+signer.saw {
			t.Fatalf("delivered %+v; signed %q", got, signer.saw)
		}
		if !strings.HasPrefix(signer.saw, "X-Spam-Status:") || !strings.Contains(signer.saw, "\r\nReceived: from client.example") ||
			!strings.HasSuffix(signer.saw, "\r\n\r\nremoved\r\n") {
			t.Errorf("signed %q", signer.saw)
		}
		if signer.relay != relay {
			t.Errorf("the client may relay: %v", signer.relay)
		}
	}
}

// Without its signature a message does not leave, and that is no fault of the sender's: nobody gets a 5yz, and no
// original is kept of what was not changed.
func TestSigningFails(t *testing.T) {
	for name, signer := range map[string]*fakeSigner{
		"error": {top: "X-Sig: 1\r\n", err: errors.New("no entropy")},
		"panic": {top: "panic"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDoor(t, []string{"data strip 0"}, func(d *door, _ *ListenerConfig) { d.gw.Signer = signer })
			c := begin(t, d)
			c.steps(strings.Replace(oneMessage, "250 2\\.0\\.0 Ok: queued", "451 4\\.3\\.0", 1))
			c.steps("no5yz:")
			if name == "error" {
				c.steps("log: \"msg\":\"delivery\".*\"action\":\"defer\".*\"error\":\"no entropy\"")
				if d.metrics.rejects["eod 451 signing"] != 1 {
					t.Errorf("rejects %v", d.metrics.rejects)
				}
			}
			if len(d.relay.all()) != 0 || len(d.quarantine.all()) != 0 {
				t.Errorf("delivered %v, kept %v", d.relay.all(), d.quarantine.all())
			}
		})
	}
}

// Nothing of ours is left of a message that is over, however it ended.
func TestSignedMessageIsReleased(t *testing.T) {
	var kept *mail.Message
	d := newDoor(t, nil, func(d *door, _ *ListenerConfig) {
		d.gw.Signer = &fakeSigner{note: "not signed: no key"}
		d.gw.Relays = map[string]upstream.Relay{"one": relayFunc(func(m *mail.Message) { kept = m })}
	})
	c := begin(t, d)
	c.steps(oneMessage)
	c.steps("log: \"msg\":\"delivery\".*\"signed\":\"not signed: no key\"")
	if _, err := kept.WriteTo(io.Discard); !errors.Is(err, mail.ErrReleased) {
		t.Errorf("after the delivery: %v", err)
	}
}

type relayFunc func(*mail.Message)

func (f relayFunc) Deliver(_ context.Context, _ mail.Envelope, m *mail.Message) upstream.Outcome {
	f(m)
	return upstream.Outcome{Kind: upstream.Delivered, Reply: mail.NewReply(250, 2, 0, 0, "ok")}
}

func (relayFunc) Cached(mail.Address) (mail.Reply, bool) { return mail.Reply{}, false }
