package dmarc

import (
	"bytes"
	"crypto/ed25519"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/arc"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/filter/dkim"
	"github.com/postern-mail/postern/filter/heuristics"
	"github.com/postern-mail/postern/filter/spf"
	signing "github.com/postern-mail/postern/internal/dkim"
	"github.com/postern-mail/postern/internal/dns"
	"github.com/postern-mail/postern/internal/dns/zone"
	"github.com/postern-mail/postern/mail"
	"github.com/postern-mail/postern/pipeline"
)

// chain is the plan of the filters that say who sent a message, with a DNS server of its own, and the usual policy.
type chain struct {
	plan   *pipeline.Plan
	policy *pipeline.Policy
}

func newChain(t testing.TB, zones, options string) *chain {
	t.Helper()
	s, err := zone.Serve(zones)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	r, err := dns.New([]netip.AddrPort{netip.MustParseAddrPort(s.Addr())})
	if err != nil {
		t.Fatal(err)
	}
	r.SetTimeout(time.Minute)
	var stages []pipeline.Stage
	for _, f := range []filter.Factory{spf.Factory, dkim.Factory, arc.Factory, heuristics.Factory} {
		spec, made, err := f.New(filter.Env{
			Name: f.Kind, Hostname: "mx.example.org", DNS: r, Log: slog.New(slog.DiscardHandler),
			Ours: func(domain string) bool { return domain == "ours.example" },
		}, func(any) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		spec.Name = f.Kind
		stages = append(stages, pipeline.Stage{Spec: spec, Filter: made})
	}
	spec, made := build(t, r, options)
	stages = append(stages, pipeline.Stage{Spec: spec, Filter: made})
	c := &chain{}
	if c.plan, err = pipeline.Compile(stages); err != nil {
		t.Fatal(err)
	}
	tag, reject := 5.0, 15.0
	c.policy = &pipeline.Policy{Tag: &tag, Reject: &reject, Weights: map[string]float64{}}
	for name, s := range c.plan.Symbols() {
		c.policy.Weights[name] = s.Weight
	}
	return c
}

// run lets a message through, and gives the verdict and what DMARC says.
func (c *chain) run(t testing.TB, client, helo string, from mail.Address, text string) (pipeline.Verdict, auth.DMARCResult) {
	t.Helper()
	to, err := mail.ParseAddress("someone@ours.example")
	if err != nil {
		t.Fatal(err)
	}
	ctx := dns.WithBudget(t.Context(), dns.MessageBudget()) // as the gateway has it
	in := &filter.Input{Session: &filter.Session{Client: netip.AddrPortFrom(netip.MustParseAddr(client), 4321), Helo: helo, ESMTP: true}}
	reports := c.plan.Run(ctx, filter.Connect, in)
	reports = append(reports, c.plan.Run(ctx, filter.Helo, in)...)
	in.Transaction = &filter.Transaction{ID: "x", From: from, Recipients: []mail.Address{to}, Began: time.Now()}
	reports = append(reports, c.plan.Run(ctx, filter.Mail, in)...)
	in.Content = content(t, text)
	reports = append(reports, c.plan.Run(ctx, filter.Data, in)...)
	for _, r := range reports {
		if r.Err != nil {
			t.Errorf("%s: %v", r.Stage, r.Err)
		}
	}
	fact, ok := auth.DMARC.From(in)
	if !ok {
		t.Fatal("no result of DMARC")
	}
	return c.policy.Decide(reports), fact
}

// testKey signs for every domain of the cases.
var testKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{9}, ed25519.SeedSize))

func testRecord(t testing.TB) string {
	t.Helper()
	s, err := signing.Record(testKey.Public())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// signature makes a DKIM-Signature field for a message with LF line ends.
func signature(t testing.TB, domain, text string) string {
	t.Helper()
	text = strings.ReplaceAll(text, "\n", "\r\n")
	h := content(t, text).Header()
	s := &signing.Signer{Domain: domain, Selector: "test", Key: testKey}
	all, err := signing.Sign(signing.NewFields(h.Fields()), bytes.NewReader([]byte(text[h.Octets():])), s)
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(all[0], "\r\n", "\n")
}

// TestChain runs testdata/*.txtar: what was sent is signed by its author's domain, and arrives as the list or
// forwarder has left it, with SIGNATURE in place of that signature and LIST for one of the list's own.
func TestChain(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d cases, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			ar, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			part := map[string]string{}
			for _, f := range ar.Files {
				part[f.Name] = string(f.Data)
			}
			set := map[string]string{}
			for line := range strings.Lines(part["session"]) {
				k, v, _ := strings.Cut(line, ":")
				set[k] = strings.TrimSpace(v)
			}
			zones := part["dns"]
			for _, domain := range []string{set["author"], set["list"]} {
				if domain != "" {
					zones += "\ntest._domainkey." + domain + " TXT " + testRecord(t) + "\n"
				}
			}
			text := strings.ReplaceAll(part["arrives"], "SIGNATURE\n", signature(t, set["author"], part["sent"]))
			if strings.HasPrefix(text, "LIST\n") {
				text = signature(t, set["list"], text[len("LIST\n"):]) + text[len("LIST\n"):]
			}
			from, err := mail.ParsePath("<" + set["from"] + ">")
			if err != nil {
				t.Fatal(err)
			}
			v, fact := newChain(t, zones, part["options"]).run(t, set["client"], set["helo"], from, text)
			got := "result: " + string(fact.Result) + "\naction: " + v.Action.String() + "\n"
			if fact.Override != "" {
				got += "override: " + fact.Override + "\n"
			}
			if v.Reply.Code != 0 {
				got += "reply: " + v.Reply.String() + "\n"
			}
			var symbols []string
			for _, f := range v.Findings {
				if f.Stage == "dmarc" || f.Stage == "spf" || f.Stage == "dkim" {
					symbols = append(symbols, f.Symbol)
				}
			}
			slices.Sort(symbols)
			got += "symbols: " + strings.Join(slices.Compact(symbols), " ") + "\n"
			if diff := cmp.Diff(part["want"], got); diff != "" {
				t.Errorf("-want +got\n%s\n%s", diff, v.Because)
			}
		})
	}
}
