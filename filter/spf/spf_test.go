package spf

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/internal/dns"
	"github.com/postern-mail/postern/internal/dns/zone"
	"github.com/postern-mail/postern/mail"
)

func build(t *testing.T, r filter.Resolver) (filter.Spec, filter.Filter) {
	t.Helper()
	env := filter.Env{Name: "spf", Hostname: "mx.example.org", DNS: r, Log: slog.New(slog.DiscardHandler)}
	spec, f, err := Factory.New(env, func(any) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	return spec, f
}

// TestCases runs testdata/*.txtar: "session" says who sends, "dns" what is published, "want" what is found.
func TestCases(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) < 8 {
		t.Fatalf("%d cases, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) { runFile(t, file) })
	}
}

func runFile(t *testing.T, file string) {
	ar, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	part := map[string]string{}
	for _, f := range ar.Files {
		part[f.Name] = string(f.Data)
	}
	s, err := zone.Serve(part["dns"])
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r, err := dns.New([]netip.AddrPort{netip.MustParseAddrPort(s.Addr())})
	if err != nil {
		t.Fatal(err)
	}
	r.SetTimeout(200 * time.Millisecond)
	spec, f := build(t, r)

	set := settings(part["session"])
	in := &filter.Input{
		Session: &filter.Session{
			Client: netip.AddrPortFrom(netip.MustParseAddr(set["client"]), 4321),
			Helo:   set["helo"], Relay: set["relay"] == "true",
		},
		Transaction: &filter.Transaction{},
	}
	if set["from"] != "" {
		if in.Transaction.From, err = mail.ParseAddress(set["from"]); err != nil {
			t.Fatal(err)
		}
	}
	got, err := f.Check(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(settings(part["want"]), flatten(t, spec, got)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func settings(text string) map[string]string {
	set := map[string]string{}
	for line := range strings.Lines(text) {
		if k, v, ok := strings.Cut(line, ":"); ok {
			set[k] = strings.TrimSpace(v)
		}
	}
	return set
}

// flatten puts a result into the words of a case; a result that says nothing is no words.
func flatten(t *testing.T, spec filter.Spec, r filter.Result) map[string]string {
	t.Helper()
	if r.Propose != filter.Continue || r.Reply != nil || len(r.Edits) > 0 {
		t.Errorf("the filter proposes: %+v", r)
	}
	got := map[string]string{}
	if len(r.Findings) == 0 && len(r.Facts) == 0 {
		return got
	}
	fact, ok := auth.SPF.Among(r.Facts)
	if !ok || len(r.Facts) != 1 || len(r.Findings) != 1 {
		t.Fatalf("want one fact and one finding, got %+v", r)
	}
	declared := false
	for _, s := range spec.Symbols {
		declared = declared || s.Name == r.Findings[0].Symbol
	}
	if !declared {
		t.Errorf("%s is not declared", r.Findings[0].Symbol)
	}
	got["result"] = string(fact.Result)
	got["domain"] = fact.Domain
	got["identity"] = fact.Identity
	got["sender"] = fact.Sender
	got["reason"] = fact.Reason
	got["symbol"] = r.Findings[0].Symbol
	return got
}

func TestDeadContextIsAnError(t *testing.T) {
	_, f := build(t, newSuiteDNS(map[string][]any{"example.org": {map[string]any{"TXT": "v=spf1 -all"}}}))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	got, err := f.Check(ctx, input(t, "user@example.org"))
	if !errors.Is(err, context.Canceled) || len(got.Findings) > 0 || len(got.Facts) > 0 {
		t.Errorf("got %+v, %v; want only an error", got, err)
	}
}

func input(t *testing.T, from string) *filter.Input {
	t.Helper()
	a, err := mail.ParseAddress(from)
	if err != nil {
		t.Fatal(err)
	}
	return &filter.Input{
		Session:     &filter.Session{Client: netip.MustParseAddrPort("192.0.2.1:4321"), Helo: "mail.example.org"},
		Transaction: &filter.Transaction{From: a},
	}
}

// slowDNS answers nothing before its context ends.
type slowDNS struct{ *suiteDNS }

func (slowDNS) LookupTXT(ctx context.Context, name string) ([]string, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestSlowDomainIsItsOwnFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, f := build(t, slowDNS{})
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // as a stage has
		defer cancel()
		began := time.Now()
		got, err := f.Check(ctx, input(t, "user@slow.example"))
		if err != nil {
			t.Fatal(err)
		}
		if fact, _ := auth.SPF.Among(got.Facts); fact.Result != auth.TempError {
			t.Errorf("got %+v, want temperror", fact)
		}
		if d := time.Since(began); d != budget {
			t.Errorf("took %s, want %s", d, budget)
		}
	})
}

func TestUnknownKeyIsRefused(t *testing.T) {
	bad := errors.New("unknown key")
	if _, _, err := Factory.New(filter.Env{}, func(any) error { return bad }); !errors.Is(err, bad) {
		t.Errorf("got %v", err)
	}
}

func TestReasonsAreBounded(t *testing.T) {
	long := strings.Repeat("é", 500)
	if got := explain(errors.New(long)); len(got) > reasonLimit+len("…") {
		t.Errorf("%d octets", len(got))
	}
}
