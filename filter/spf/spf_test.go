package spf

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/postern-mail/postern/filter"
	"github.com/postern-mail/postern/filter/auth"
	"github.com/postern-mail/postern/internal/dns"
	"github.com/postern-mail/postern/internal/dns/zone"
	"github.com/postern-mail/postern/mail"
)

// build makes the filter with a configuration in YAML.
func build(t testing.TB, r filter.Resolver, settings string) (filter.Spec, filter.Filter) {
	t.Helper()
	env := filter.Env{Name: "spf", Hostname: "mx.example.org", DNS: r, Log: slog.New(slog.DiscardHandler)}
	spec, f, err := Factory.New(env, func(into any) error {
		return decodeYAML(settings, into)
	})
	if err != nil {
		t.Fatal(err)
	}
	return spec, f
}

func decodeYAML(settings string, into any) error {
	if settings == "" {
		return nil
	}
	return yaml.UnmarshalWithOptions([]byte(settings), into, yaml.Strict())
}

// TestCases runs testdata/*.txtar: "session" says who sends, "dns" what is published, "config" how the filter is
// configured, "want" what is found. What was found of the HELO name stands there unless it is "none".
func TestCases(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) < 40 {
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
	r.SetTimeout(time.Minute)
	if strings.Contains(part["dns"], "SILENT") {
		r.SetTimeout(2 * time.Second) // also for those that answer
	}
	spec, f := build(t, r, part["config"])

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
	got := map[string]string{}
	put := func(key, value string) {
		if value != "" {
			got[key] = value
		}
	}
	var found []string
	for _, f := range r.Findings {
		if f.Unknown != strings.HasSuffix(f.Symbol, "_TEMPERROR") {
			t.Errorf("%s: unknown %t", f.Symbol, f.Unknown)
		}
		if !slices.ContainsFunc(spec.Symbols, func(s filter.Symbol) bool { return s.Name == f.Symbol }) {
			t.Errorf("%s is not declared", f.Symbol)
		}
		found = append(found, f.Symbol)
	}
	put("symbol", strings.Join(found, " "))
	if fact, ok := auth.SPF.Among(r.Facts); ok {
		put("result", string(fact.Result))
		put("domain", fact.Domain)
		put("identity", fact.Identity)
		put("sender", fact.Sender)
		put("reason", fact.Reason)
		if fact.LocalPart {
			put("local-part", "true")
		}
		put("mechanism", fact.Mechanism)
		put("explanation", fact.Explanation)
		put("received", strings.ReplaceAll(fact.Received, "\r\n\t", " | "))
	}
	if fact, ok := auth.HeloSPF.Among(r.Facts); ok && fact.Result != auth.None {
		put("helo", string(fact.Result)+" "+fact.Domain+": "+fact.Reason)
		put("helo-received", strings.ReplaceAll(fact.Received, "\r\n\t", " | "))
	}
	if r.Propose != filter.Continue {
		put("propose", r.Propose.String())
		put("hold", strconv.FormatBool(r.Hold))
	}
	if r.Reply != nil {
		put("reply", r.Reply.String())
	}
	return got
}

func TestDeadContextIsAnError(t *testing.T) {
	_, f := build(t, fakeDNS{txt: map[string][]string{"example.org": {"v=spf1 -all"}}}, "")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	got, err := f.Check(ctx, input(t, "user@example.org"))
	if !errors.Is(err, context.Canceled) || len(got.Findings) > 0 || len(got.Facts) > 0 {
		t.Errorf("got %+v, %v; want only an error", got, err)
	}
}

func input(t testing.TB, from string) *filter.Input {
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
type slowDNS struct{ fakeDNS }

func (slowDNS) LookupTXT(ctx context.Context, name string) ([]string, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestSlowDomainIsItsOwnFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, f := build(t, slowDNS{}, "")
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
		if d := time.Since(began); d != 20*time.Second-margin {
			t.Errorf("took %s, want the stage's time less %s", d, margin)
		}
	})
}

func TestUnknownKeyIsRefused(t *testing.T) {
	bad := errors.New("unknown key")
	if _, _, err := Factory.New(filter.Env{}, func(any) error { return bad }); !errors.Is(err, bad) {
		t.Errorf("got %v", err)
	}
}
