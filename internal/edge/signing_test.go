package edge

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"

	msgauth "github.com/emersion/go-msgauth/dkim"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/internal/dkim"
	"github.com/postern-mail/postern/internal/dkim/arc"
	"github.com/postern-mail/postern/internal/signing"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/pipeline"
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
	cfg.Relay.Networks = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
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

// What is held remembers whether its client may relay: it is signed when it is released.
func TestHeldMailRemembersRelay(t *testing.T) {
	for _, relay := range []bool{false, true} {
		d := newDoor(t, []string{"data propose quarantine"}, func(_ *door, cfg *ListenerConfig) {
			if relay {
				relaying(cfg)
			}
		})
		c := begin(t, d)
		c.steps(strings.Replace(oneMessage, "250 2\\.0\\.0 Ok: queued", "550 5\\.7\\.1", 1))
		if kept := d.quarantine.all(); len(kept) != 1 || kept[0].Relay != relay {
			t.Errorf("the client may relay: %v; kept %+v", relay, kept)
		}
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

// published is a DNS that has the records of keys.
type published map[string]string

func (p published) LookupTXT(_ context.Context, name string) ([]string, error) {
	if r, ok := p[name]; ok {
		return []string{r}, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

// What arrives at the next server verifies, by our verifier and another one, whatever was done to the message here; and
// the fields stand in their order.
func TestDeliveredSignaturesVerify(t *testing.T) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	record, err := dkim.Record(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	dns := published{"s1._domainkey.sender.example": record}
	signer, err := signing.New(signing.Options{
		Keys:     []signing.Key{{Domain: "sender.example", Selector: "s1", Private: key}},
		Oversign: []string{"Subject"},
	})
	if err != nil {
		t.Fatal(err)
	}
	const multipart = `From: a@sender.example\r\nSubject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n` +
		`--b\r\n\r\ntext  \r\n--b\r\nContent-Type: application/x-msdownload\r\n\r\n${20000xMZ 0123456789 \r\n}--b--\r\n`
	for name, c := range map[string]struct{ content, filter, has string }{
		"as it came":         {multipart, "data score CHECKED 1", "MZ 0123"},
		"a part replaced":    {multipart, "data strip 2", "removed"},
		"all replaced":       {multipart, "data strip 0", "removed"},
		"bare line ends":     {`From: a@sender.example\nSubject: x\r\n\r\none\ntwo\rthree \r\n..dot\r\n\r\n\r\n`, "data score CHECKED 1", "two three"},
		"no body":            {`From: a@sender.example\r\nSubject: x\r\n\r\n`, "data score CHECKED 1", "Subject"},
		"fields of ours":     {`X-Spam-Flag: NO\r\nFrom: a@sender.example\r\nX-Spam-Score: 1\r\nSubject: x\r\n\r\nbody\r\n`, "data score CHECKED 1", "body"},
		"a stranger's field": {`DKIM-Signature: v=1; d=sender.example\r\nFrom: a@sender.example\r\n\r\nbody\r\n`, "data score CHECKED 1", "body"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDoor(t, []string{c.filter, "data score OTHER 1"}, func(d *door, cfg *ListenerConfig) {
				d.gw.Signer = signer
				relaying(cfg)
			})
			client := begin(t, d)
			client.steps(strings.Replace(oneMessage, `raw: "\r\nx\r\n.\r\n"`, `raw: "`+c.content+`.\r\n"`, 1))
			client.steps("log: \"msg\":\"delivery\".*\"signed\":\"dkim sender.example/s1\"")
			got := d.relay.all()
			if len(got) != 1 || !strings.Contains(got[0].content, c.has) {
				t.Fatalf("delivered %+v", got)
			}
			left := got[0].content
			order := regexp.MustCompile(`\ADKIM-Signature: (?s:.*)\r\nX-Spam-Status: (?s:.*)\r\nReceived: from client\.example(?s:.*)\r\nFrom: a@sender\.example\r\n`)
			if !order.MatchString(left) {
				t.Errorf("the order of the fields:\n%s", left[:min(len(left), 2000)])
			}
			verify(t, dns, left)
		})
	}
}

// verify checks the topmost signature of a message.
func verify(t *testing.T, dns published, left string) {
	t.Helper()
	content := mail.NewContent(mail.NewBlob([]byte(left)), mail.LineFaults{}, mail.Limits{})
	defer content.Release()
	m := mail.NewMessage(content.Blob())
	defer m.Release()
	checks, err := dkim.Verify(t.Context(), dkim.NewFields(content.Header().Fields()), m.Tail(content.Header().Octets()), dkim.Options{Resolver: dns})
	if err != nil || len(checks) == 0 || checks[0].Result != dkim.Pass {
		t.Errorf("our verifier: %+v, %v", checks, err)
	}
	all, err := msgauth.VerifyWithOptions(strings.NewReader(left), &msgauth.VerifyOptions{
		LookupTXT: func(name string) ([]string, error) { return dns.LookupTXT(t.Context(), name) },
	})
	if err != nil || len(all) == 0 || all[0].Err != nil {
		t.Errorf("the other verifier: %+v, %v", all, err)
	}
}

// Mail from elsewhere is sealed as it leaves, changes and all; what stands in the seal is what our field says.
func TestDeliveredSealHolds(t *testing.T) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	record, err := dkim.Record(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	dns := published{"a1._domainkey.mx.example": record}
	signer, err := signing.New(signing.Options{Seal: &signing.Key{Domain: "mx.example", Selector: "a1", Private: key}})
	if err != nil {
		t.Fatal(err)
	}
	validate := func(content *mail.Content) *arc.Chain {
		t.Helper()
		m, err := dkim.MaterialOf(content)
		if err != nil {
			t.Fatal(err)
		}
		chain, err := arc.Validate(t.Context(), m, arc.Options{Resolver: dns})
		if err != nil {
			t.Fatal(err)
		}
		return chain
	}
	looks := pipeline.Stage{
		Spec: filter.Spec{Name: "arc", Phases: filter.In(filter.Data), Provides: []string{string(auth.ARC)}},
		Filter: filter.Func(func(_ context.Context, in *filter.Input) (filter.Result, error) {
			return filter.Result{Facts: []filter.Fact{auth.ARC.Of(auth.ARCResult{Result: auth.Result(validate(in.Content).Status)})}}, nil
		}),
	}
	plan, err := pipeline.Compile([]pipeline.Stage{looks, scripted(t, "data strip 0")})
	if err != nil {
		t.Fatal(err)
	}
	d := newDoor(t, nil, func(d *door, _ *ListenerConfig) {
		d.gw.Signer = signer
		d.gw.Policies["default"].Plan = plan
	})
	content := "From: a@sender.example\r\n\r\nbody\r\n"
	for hop := 1; hop <= 3; hop++ {
		client := begin(t, d)
		client.steps(strings.Replace(oneMessage, `raw: "\r\nx\r\n.\r\n"`, "raw: "+strconv.Quote(content+".\r\n"), 1))
		client.steps("log: \"msg\":\"delivery\".*\"signed\":\"arc mx.example/a1\"")
		got := d.relay.all()
		content = got[len(got)-1].content
		order := regexp.MustCompile(`\AARC-Seal: i?(?s:.*)\r\nARC-Message-Signature: (?s:.*)\r\nARC-Authentication-Results: i=` + strconv.Itoa(hop) +
			`; mx\.example\.org;?(?s:.*)\r\nAuthentication-Results: mx\.example\.org(?s:.*)\r\nReceived: `)
		if !order.MatchString(content) {
			t.Errorf("the order of the fields:\n%s", content)
		}
		c := mail.NewContent(mail.NewBlob([]byte(content)), mail.LineFaults{}, mail.Limits{})
		if chain := validate(c); chain.Status != arc.Pass || len(chain.Sets) != hop {
			t.Errorf("after %d: %s, %d sets: %s\n%s", hop, chain.Status, len(chain.Sets), chain.Reason, content)
		}
		c.Release()
	}
}
